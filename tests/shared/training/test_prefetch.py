import threading
import time
from typing import Any

import pytest

from shared.training.prefetch import prefetched


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_the_order_of_the_jobs(workers):
    def slow_first(job: int) -> int:
        time.sleep(0.02 if job % 3 == 0 else 0)
        return job * job

    assert list(prefetched(slow_first, range(20), workers)) == [(job, job * job) for job in range(20)]


def test_an_error_is_raised_at_its_turn():
    def fails_at_two(job: int) -> int:
        if job == 2:
            raise OSError("no picture")
        return job

    results = prefetched(fails_at_two, range(5), 2)
    assert [next(results)[0], next(results)[0]] == [0, 1]
    with pytest.raises(OSError, match="no picture"):
        next(results)


def test_it_looks_ahead_only_so_far_and_ends_its_threads():
    taken = []

    def jobs():
        for job in range(1000):
            taken.append(job)
            yield job

    results: Any = prefetched(lambda job: job, jobs(), workers=2, ahead=3)
    next(results)
    assert len(taken) <= 8
    before = threading.active_count()
    results.close()
    assert threading.active_count() < before
