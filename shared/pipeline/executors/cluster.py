"""Does a task on the workers of a Dask cluster, that of an address or one that is started on this machine.

All workers must see the run folder by the same path and have the same version of this project. Dask gives a shard whose
worker is lost to another one. A scheduler that is lost is waited for; then what is missing is sent again.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from shared.errors import MatcherError
from shared.pipeline.executors import TRIES, Task

_LOGGERS = ("distributed", "tornado", "asyncio")
_QUIET = {  # what a scheduler and workers measure of themselves costs a twentieth of a core all the time
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}
CONNECT_S = 20.0  # for one try to reach a scheduler
FIRST_S = 60.0  # for a scheduler that never answered: its address may be wrong


class Cluster:
    """The executor on a Dask cluster; it connects when the first shard is to be done.

        Cluster(address="tcp://10.0.0.1:8786", workers=0, threads=1, patience_s=600)

    Args:
        address: Of the scheduler, or the path of the file that it writes; "": a cluster is started on this machine.
        workers: Number of processes of a cluster on this machine.
        threads: Threads that the libraries of each of them start with.
        patience_s: Seconds to wait for a scheduler that is gone to come back.

    Raises:
        MatcherError: Dask is not installed.
    """

    def __init__(self, address: str, workers: int, threads: int, patience_s: float) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise MatcherError(
                "--engine dask needs Dask: pip install '.[cluster]' (dask[distributed]), or use --engine processes"
            ) from error
        self._address, self._count, self._threads, self._patience_s = address, workers, threads, patience_s
        self._client: Any = None
        self._cluster: Any = None
        self._has_answered = False

    def execute(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        """Do a task for some numbers; yield each once it is done.

        Raises:
            MatcherError: One is refused, its worker died `TRIES` times, or the scheduler is gone and stays away, or
                is lost `TRIES` times in a row without a shard that is done.
        """
        missing, lost = dict.fromkeys(numbers), 0
        while missing:
            self._connect()
            try:
                for number in self._completed(task, list(missing)):
                    del missing[number]
                    lost = 0
                    yield number
            except _SchedulerLostError as error:
                self._forget()
                lost += 1
                if lost == TRIES:
                    raise MatcherError(
                        f"{task.name}: the Dask scheduler was lost {TRIES} times and no shard was done meanwhile; its "
                        "log may say why, such as a shard that needs more memory than there is; the same command goes "
                        "on"
                    ) from error
        if self._client is not None:
            with suppress(OSError, TimeoutError):
                self._client.run(task.release, on_error="ignore")

    def _completed(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        from distributed import KilledWorker, as_completed

        futures = {self._client.submit(task, number, pure=False): number for number in numbers}
        try:
            for future in as_completed(list(futures), loop=self._client.loop):  # type: ignore[no-untyped-call]
                number = futures[future]
                if future.status in ("cancelled", "lost"):
                    raise _SchedulerLostError
                try:
                    future.result(timeout=CONNECT_S)
                except MatcherError:
                    raise
                except KilledWorker:
                    raise MatcherError(
                        f"shard {number} of {task.name}: its worker died {TRIES} times; the machine may be short of "
                        "memory, and the log of the worker says more; shards that are done are kept"
                    ) from None
                except Exception as error:
                    if _is_lost_connection(error):
                        raise _SchedulerLostError from error
                    raise
                yield number
        finally:
            if self._client is not None and self._client.status == "running":
                self._client.cancel(list(futures))

    def _connect(self) -> None:
        """Connect to the scheduler, unless that is done."""
        if self._client is not None:
            return
        import dask
        from distributed import Client, LocalCluster

        for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LOGGERS]:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what a user must know is said here
        dask.config.set({"distributed.scheduler.allowed-failures": TRIES - 1, **_QUIET})
        if not self._address:
            environment = {"LOCAL_WORLD_SIZE": str(self._count), "OMP_NUM_THREADS": str(self._threads)}
            with _interrupts_later():
                self._cluster = self._cluster or LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=self._count,
                    threads_per_worker=1,
                    memory_limit=0,
                    # Its page is off; what remains of it gets a free port of this machine.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    silence_logs=logging.CRITICAL,
                    env=environment,
                )
        at = self._where()
        patience_s = self._patience_s if self._has_answered else min(FIRST_S, self._patience_s)
        until = time.monotonic() + patience_s
        while True:
            try:
                if "scheduler_file" in at and not Path(self._address).exists():
                    raise FileNotFoundError("there is no such file")
                self._client = Client(**at, timeout=min(CONNECT_S, patience_s), set_as_default=False)  # type: ignore[no-untyped-call]
                self._has_answered = True
                return
            except (OSError, ValueError, TimeoutError) as error:
                if time.monotonic() > until:
                    raise MatcherError(
                        f"no Dask scheduler answers at {self._address} ({error}); start it and run the same command "
                        "again: it does what is missing"
                    ) from error
                time.sleep(1)

    def _where(self) -> Mapping[str, Any]:
        """Return where the scheduler is, as the client is told.

        Raises:
            MatcherError: What was given is no address.
        """
        from distributed.comm.addressing import parse_address
        from distributed.comm.registry import get_backend

        if not self._address:
            return {"address": self._cluster}
        if Path(self._address).suffix == ".json":
            return {"scheduler_file": self._address}
        try:
            get_backend(parse_address(self._address)[0])
        except (ImportError, ValueError) as error:
            raise MatcherError(
                f"--cluster {self._address} is no address of a Dask scheduler ({error}), such as tcp://10.0.0.1:8786"
            ) from error
        return {"address": self._address}

    def _forget(self) -> None:
        """Drop the connection to a scheduler that is gone."""
        client, self._client = self._client, None
        client.close(timeout=1)

    def close(self) -> None:
        """Disconnect; end the workers of a cluster that was started here."""
        if self._client is not None:
            self._client.close(timeout=CONNECT_S)
        if self._cluster is not None:
            self._cluster.close(timeout=CONNECT_S)
        self._client = self._cluster = None


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done; processes and threads that start in it never see one.

    So what starts is whole before it is closed, and this process alone ends its processes. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _SchedulerLostError(Exception):
    """The scheduler, and all it knew, is gone."""


def _is_lost_connection(error: Exception) -> bool:
    from concurrent.futures import CancelledError

    from distributed.comm.core import CommClosedError

    return isinstance(error, CancelledError | CommClosedError) or type(error).__name__ == "FutureCancelledError"
