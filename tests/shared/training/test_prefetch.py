import threading
import time
from typing import Any

import pytest

from shared.training.prefetch import prefetch


@pytest.mark.parametrize("workers", [1, 4])
def test_prefetch_keeps_order(workers):
    def slow_first(job: int) -> int:
        time.sleep(0.02 if job % 3 == 0 else 0)
        return job * job

    assert list(prefetch(slow_first, range(20), workers)) == [(job, job * job) for job in range(20)]


def test_prefetch_raises_in_order():
    def fails_at_two(job: int) -> int:
        if job == 2:
            raise OSError("no image")
        return job

    results = prefetch(fails_at_two, range(5), 2)
    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(OSError, match="no image"):
        next(results)


def test_prefetch_looks_ahead_limited_and_ends_threads():
    taken = []

    def jobs():
        for job in range(1000):
            taken.append(job)
            yield job

    results: Any = prefetch(lambda job: job, jobs(), workers=2, ahead=3)
    next(results)
    assert len(taken) <= 8
    before = threading.active_count()
    results.close()
    assert threading.active_count() < before
