"""Prepare the next inputs in other threads while the present ones are used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def prefetch(
    prepare: Callable[[Job], Result], jobs: Iterable[Job], workers: int, ahead: int = 2
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result, in the order of the jobs whatever the number of workers.

    Threads, not processes: decoding and resizing release the interpreter's lock, nothing is copied, and no worker
    process can be killed unnoticed for lack of memory.

    Args:
        prepare: Function of a job; called in another thread. What it raises is raised here, at its job's turn.
        jobs: Taken lazily.
        workers: Number of threads, at least 1.
        ahead: Number of results held ready for each worker, which bounds the memory.

    Examples:
        >>> list(prefetch(str.upper, ["a", "b", "c"], workers=2))
        [('a', 'A'), ('b', 'B'), ('c', 'C')]
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[Job, Future[Result]]] = deque()
        try:
            for job in jobs:
                waiting.append((job, pool.submit(prepare, job)))
                if len(waiting) > workers * ahead:
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
