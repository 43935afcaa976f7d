"""Bounds on time that a slow or busy machine keeps, and work that grows too fast does not."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GROWTH = 10  # more than that of linear work, 4, on a busy machine, and less than that of quadratic work, 16
TRIES = 4


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail where the body takes more CPU seconds; give at least ten times what it needs.

    Args:
        seconds: What the fault would exceed by far on any machine.
    """
    start = time.process_time()
    yield
    took = time.process_time() - start
    assert took < seconds, f"took {took:.2f} s of {seconds}"


def assert_linear(prepare: Callable[[int], Callable[[], object]], size: int) -> None:
    """Fail where work of a size takes more than ten times as long as work of a quarter of it.

    Args:
        prepare: Returns the work of a size; what it does itself is not measured.
        size: Large enough that the fault would take most of the time.
    """
    quarter, whole = prepare(size // 4), prepare(size)
    ratios = []
    least = min(_seconds(quarter) for _ in range(2))
    for _ in range(TRIES):
        ratios.append(_seconds(whole) / least)
        if ratios[-1] < GROWTH:
            return
        least = max(least, _seconds(quarter))  # the machine may have become slower meanwhile
    raise AssertionError(f"four times as much took {min(ratios):.1f} times as long")


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()  # it looks at all objects again and again, the more often the larger the work is
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()
