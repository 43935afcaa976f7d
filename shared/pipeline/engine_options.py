"""Options that say what does the shards of a command: `--engine`, `--workers`, `--cluster`, `--shard`, `--patience`.

They belong to one call. No run remembers them and no key depends on them, since they change no result.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.exits import end_of
from shared.pipeline.executors import Executor
from shared.pipeline.executors.processes import Processes
from shared.pipeline.executors.serial import Serial
from shared.pipeline.jobs import Follower, JobDoneError, Leader
from shared.pipeline.locks import LOCK, locked
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings

ENGINE_OPTIONS = ("engine", "workers", "cluster", "shard", "patience")
ENGINES = ("serial", "processes", "dask")
PATIENCE_MINUTES = 60.0
_SHARD = re.compile(r"([1-9]\d*)/([1-9]\d*)")


def add_engine_options(parser: argparse.ArgumentParser, *, jobs: bool) -> None:
    """Add the options to those of a command.

    Args:
        parser: Of the command.
        jobs: Whether jobs may share its work, by `--shard`.

    Examples:
        >>> parser = argparse.ArgumentParser()
        >>> add_engine_options(parser, jobs=True)
        >>> parser.parse_args(["--engine", "processes", "--workers=4"]).workers
        4
    """
    group = parser.add_argument_group("more than one process or machine (see shared/README.md)")
    engine = "what does the shards of a stage: this process (default), several on this machine, or a Dask cluster"
    group.add_argument("--engine", choices=ENGINES, default="serial", help=engine)
    group.add_argument("--workers", type=int, metavar="N", help="worker processes on this machine (default: its cores)")
    cluster = "with --engine dask: address of the scheduler, or its file *.json; without it a cluster starts here"
    group.add_argument("--cluster", default="", metavar="ADDRESS", help=cluster)
    shard = "this is job I of N that run the same command on the same run folder; job 1 does what is not in shards"
    if jobs:
        group.add_argument("--shard", default="", metavar="I/N", help=shard)
    patience = f"minutes without a sign of life until a job or a scheduler is given up (default: {PATIENCE_MINUTES:g})"
    group.add_argument("--patience", type=float, default=PATIENCE_MINUTES, metavar="MINUTES", help=patience)


@contextmanager
def held(run: RunFolder, settings: Settings, arguments: argparse.Namespace) -> Iterator[None]:
    """Hold a run folder and give it the executor that the options name; end its workers afterwards.

        with held(run, settings, arguments):
            bring_up_to_date(run, settings, graph, targets)

    Args:
        run: The run folder.
        settings: Of the run.
        arguments: With the options that `add_engine_options` adds.

    Raises:
        MatcherError: The options contradict each other, Dask is missing, or another process holds the run.
    """
    job, jobs = _shard(arguments)
    inner = _executor(settings, arguments)
    try:
        if jobs == 1:
            with run.locked():
                run.executor = inner
                yield
        else:
            with locked(run.folder, LOCK if job == 1 else f"{LOCK}.held{job}", tidy=False):
                yield from _as_job(run, job, jobs, inner, 60 * arguments.patience)
    finally:
        inner.close()
        run.executor = Serial()


def _as_job(run: RunFolder, job: int, jobs: int, inner: Executor, patience_s: float) -> Iterator[None]:
    """Yield once, the run having the executor of a job; tell the other jobs how it ends."""
    executor = Leader(run, jobs, inner, patience_s) if job == 1 else Follower(run, job, jobs, inner, patience_s)
    run.executor = executor
    try:
        yield
    except JobDoneError:
        executor.end()
    except Exception as error:  # the others would wait for this job; one that is interrupted may be started again
        with suppress(OSError):
            executor.fail(error if isinstance(error, MatcherError) else _as_told(error, job))
        raise


def _as_told(error: Exception, job: int) -> MatcherError:
    """Return the error that ends the other jobs where this one ends with another kind of error."""
    end = end_of(error)
    said = f"an error in this program ({error!r})" if end is None else end.message.removeprefix("error: ")
    return MatcherError(f"job {job} ended: {said}")


def _shard(arguments: argparse.Namespace) -> tuple[int, int]:
    """Return the number of the job and the number of jobs.

    Raises:
        MatcherError: `--shard` is not of the form I/N, or other options do not go with it.
    """
    shard = getattr(arguments, "shard", "")
    if not shard:
        return 1, 1
    match = _SHARD.fullmatch(shard)
    job, jobs = map(int, match.groups()) if match else (0, 0)
    if not 1 <= job <= jobs:
        raise MatcherError(f"--shard {shard}: I/N is needed, the first of three jobs being 1/3")
    if arguments.force:
        raise MatcherError("--force and --shard cannot be used together: jobs could not tell what was done again")
    if arguments.engine == "dask":
        raise MatcherError("--shard and --engine dask cannot be used together: the cluster shares the work already")
    return job, jobs


def _executor(settings: Settings, arguments: argparse.Namespace) -> Executor:
    if arguments.engine == "serial":
        if arguments.workers is not None or arguments.cluster:
            option = "--cluster" if arguments.cluster else "--workers"
            raise MatcherError(f"{option} needs an engine: --engine {'dask' if arguments.cluster else 'processes'}")
        return Serial()
    cores = ComputeConfig(threads=0).cpu_threads
    workers = cores if arguments.workers is None else arguments.workers
    if workers < 1:
        raise MatcherError(f"--workers {workers}: at least 1 is needed")
    threads = settings[ComputeConfig].threads or max(1, cores // workers)
    if arguments.engine == "processes":
        if arguments.cluster:
            raise MatcherError("--cluster needs --engine dask")
        return Processes(workers, threads)
    from shared.pipeline.executors.cluster import Cluster

    return Cluster(arguments.cluster, workers, threads, 60 * arguments.patience)
