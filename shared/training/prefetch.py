"""Prepare what comes next while the present is worked on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def prefetched(
    prepare: Callable[[Job], Result], jobs: Iterable[Job], workers: int, ahead: int = 2
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, in the order of the jobs whatever the number of workers.

    Threads, not processes: decoding and resizing release the interpreter's lock, nothing is copied, and there is no
    worker that the kernel could kill behind our back.

    Args:
        prepare: Called in another thread; what it raises is raised here, at its job's turn.
        jobs: Taken lazily.
        workers: Threads, at least 1.
        ahead: Results held ready for each worker, which bounds the memory.
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
