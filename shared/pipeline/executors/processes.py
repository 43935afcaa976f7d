"""Does a task in several processes on this machine.

Each worker is a process of its own with a pipe to this one, so that a worker that is killed costs its shard alone: the
others go on, and a new one takes its place. Workers end with the process that started them, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import cast

from tqdm import tqdm

from shared.errors import MatcherError
from shared.pipeline.executors import TRIES, Task

END_S = 5.0  # for an idle worker to end by itself
_SAID = 4000  # characters of what a worker printed that are told when it dies


class Processes:
    """The executor with worker processes; they start when the first shard is to be done, and stay.

        Processes(workers=4, threads=2)

    Args:
        workers: Number of processes.
        threads: Threads that the libraries of each start with.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self._count, self._threads = workers, threads
        self._workers: list[_Worker] = []

    def execute(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        """Do a task for some numbers; yield each once it is done.

        What a worker printed meanwhile is printed here.

        Raises:
            MatcherError: One is refused, or its worker died `TRIES` times.
        """
        queue, tries = deque(numbers), Counter[int]()
        try:
            while queue or any(worker.number for worker in self._workers):
                self._hand_out(task, queue)
                for worker in self._ready():
                    number = worker.number
                    try:
                        error = worker.end()
                    except (EOFError, OSError):
                        self._replace(worker)
                        tries[number] += 1
                        if tries[number] >= TRIES:
                            raise MatcherError(_died(task, number, worker)) from None
                        queue.appendleft(number)
                        continue
                    sys.stderr.write(worker.said())
                    if error is not None:
                        raise error
                    yield number
            for worker in self._workers:
                worker.start(task, 0)
        except BaseException:  # the shards that others are at are not waited for
            self.close()
            raise

    def _hand_out(self, task: Task, queue: deque[int]) -> None:
        """Give a number to each worker that has none, as long as there are numbers."""
        idle = [worker for worker in self._workers if not worker.number]
        while queue and (idle or len(self._workers) < self._count):
            if not idle:
                idle.append(_Worker(self._count, self._threads))
                self._workers.append(idle[-1])
            idle.pop().start(task, queue.popleft())

    def _ready(self) -> list[_Worker]:
        """Return the workers that have done their number or died, as soon as there is one."""
        busy = {worker.connection: worker for worker in self._workers if worker.number}
        return [busy[cast(Connection, connection)] for connection in wait(list(busy))]  # on Windows of another type

    def _replace(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.kill()

    def close(self) -> None:
        """End all workers, whatever they are at."""
        for worker in self._workers:
            if not worker.number:
                worker.connection.close()  # which lets it end by itself
        for worker in self._workers:
            worker.process.join(0 if worker.number else END_S)
            worker.kill()
        self._workers = []


class _Worker:
    """A process, the pipe to it, and the file that it prints to."""

    def __init__(self, count: int, threads: int) -> None:
        context: SpawnContext = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        descriptor, name = tempfile.mkstemp(prefix="worker-", suffix=".log")
        os.close(descriptor)
        self.number, self._log, self._read = 0, Path(name), 0
        self.process = context.Process(target=_serve, args=(theirs, count, threads, name), daemon=True)
        with _interrupts_held_back():
            self.process.start()
        theirs.close()

    def start(self, task: Task, number: int) -> None:
        """Let the worker do a number; 0: drop what it has loaded for the task."""
        self.number = number
        try:
            self.connection.send((task, number))
        except OSError:  # it has died, as `end` will say
            return

    def end(self) -> BaseException | None:
        """Return what the work on the number ended with; None: it is done.

        Raises:
            EOFError, OSError: The process has died.
        """
        error: BaseException | None = self.connection.recv()
        self.number = 0
        return error

    def said(self) -> str:
        """Return what the worker has printed since this was last asked."""
        with self._log.open("rb") as file:
            file.seek(self._read)
            said = file.read()
        self._read += len(said)
        return said.decode(errors="replace")

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.last_words = self.said()[-_SAID:].strip()
        self._log.unlink(missing_ok=True)


def _died(task: Task, number: int, worker: _Worker) -> str:
    code = worker.process.exitcode or 0
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    said = f"; it printed:\n{worker.last_words}" if worker.last_words else ""
    return (
        f"shard {number} of {task.name}: its worker {how}, {TRIES} times; the system may be short of memory, then "
        f"fewer --workers help; shards that are done are kept{said}"
    )


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let processes that start meanwhile never see Ctrl-C, and this one see it afterwards."""
    if os.name == "nt":
        yield
        return
    resource_tracker.ensure_running()  # which lets interrupts pass again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the process of a worker --------------------------------------------------------------------------------------


def _serve(connection: Connection, count: int, threads: int, log: str) -> None:
    """Do the numbers that come, until nobody sends any more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    tqdm.set_lock(threading.RLock())  # not one of several processes, which a worker that is killed would leave behind
    os.environ |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": str(threads)}
    while True:
        try:
            task, number = connection.recv()
        except (EOFError, OSError):
            return
        if not number:
            task.release()
            continue
        error: BaseException | None = None
        try:
            task(number)
        except BaseException as raised:
            error = _sendable(raised)
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _sendable(error: BaseException) -> BaseException:
    """Return an error as it can be sent; one of this program says where in the worker it was raised."""
    if not isinstance(error, MatcherError):
        error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
