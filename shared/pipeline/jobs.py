"""Jobs that share a run in a common folder, as a scheduler such as slurm or Kubernetes starts them: `--shard i/n`.

All n jobs run the same command. Job 1 leads: it holds the run, does what is not cut into shards, and joins. The other
jobs hold nothing: they watch what job 1 says in `.lock.job1`, and of each stage that is cut they do the shards whose
number falls to them (number mod n). Job 1 waits for these by looking into the folder. A job that died and is started
again goes on. A job that waits for another one says so, and gives up when that has given no sign of life for long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.artifacts import digest, read_json
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.engine import stage_key
from shared.pipeline.executors import Executor, Task
from shared.pipeline.executors.signs import DONE, FAILED, WORKS, Sign, Watch
from shared.pipeline.run import WORK, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.shards import PLAN, SHARDS, ShardTask
from shared.pipeline.stage import Graph, Stage

POLL_S = 0.2
PATIENT_S = 30.0  # after this long a job says what it waits for


class JobDoneError(Exception):
    """A job other than the first has done its part: the command ends here."""


def sign_path(run: Path, job: int) -> Path:
    """Return the file in which a job of a run says what it does.

    Examples:
        >>> sign_path(Path("runs/mine"), 2).name
        '.lock.job2'
    """
    return run / f".lock.job{job}"


def shares(numbers: Iterable[int], job: int, jobs: int) -> list[int]:
    """Return the numbers of shards, from 1, that fall to a job.

    Examples:
        >>> shares(range(1, 8), job=2, jobs=3)
        [2, 5]
    """
    return [number for number in numbers if (number - 1) % jobs == job - 1]


class Leader:
    """The executor of job 1: does its own shards and waits for those of the others.

    Args:
        run: The run folder; held by this process.
        jobs: Number of jobs, n.
        inner: Does its own shards.
        patience_s: Seconds without a sign of life after which another job is not waited for any more.
    """

    def __init__(self, run: RunFolder, jobs: int, inner: Executor, patience_s: float) -> None:
        self._run, self._jobs, self.inner, self._patience_s = run, jobs, inner, patience_s
        paths = {job: sign_path(run.folder, job) for job in range(2, jobs + 1)}
        for path in paths.values():
            path.unlink(missing_ok=True)  # of an earlier command; a job that is alive writes it again
        self._others = {job: Watch(path) for job, path in paths.items()}
        self._sign = Sign(sign_path(run.folder, 1))

    def execute(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        """Do the shards that fall to this job, then wait for those of the others; yield each once it is done.

        Raises:
            MatcherError: A shard is refused, here or by another job, or a job gives no sign of life.
        """
        assert isinstance(task, ShardTask)
        self._sign.tell(stage=task.name, key=task.key)
        yield from self.inner.execute(task, shares(numbers, 1, self._jobs))
        for job, watch in self._others.items():
            missing, patience = shares(numbers, job, self._jobs), _Patience(self._run, self._patience_s)
            while missing:
                there = [number for number in missing if task.is_there(number)]
                yield from there
                missing = [number for number in missing if number not in there]
                if missing and not there:
                    listed = f"{', '.join(map(str, missing[:9]))}{' …' if len(missing) > 9 else ''}"
                    seen = watch.look()
                    if seen.get("state") == FAILED:
                        raise _error_of(seen)
                    patience.wait(watch, f"job {job} of {self._jobs}, for shards {listed} of {task.name}")

    def end(self) -> Executor:
        """Let the other jobs end; return what does the work from now on."""
        self._sign.end(DONE)
        return self.inner

    def fail(self, error: MatcherError) -> None:
        """Let the other jobs end with the same error."""
        self._sign.end(FAILED, message=str(error), exit_code=error.exit_code)

    def close(self) -> None:
        """End all workers."""
        self.inner.close()


class Follower:
    """The executor of another job: does its shards of each stage that job 1 is at, until job 1 is done.

    Args:
        run: The run folder; held by job 1.
        job: Number of this job, from 2.
        jobs: Number of jobs, n.
        inner: Does its shards.
        patience_s: Seconds without a sign of life after which job 1 is not waited for any more.
    """

    def __init__(self, run: RunFolder, job: int, jobs: int, inner: Executor, patience_s: float) -> None:
        self._run, self._job, self._jobs, self._inner, self._patience_s = run, job, jobs, inner, patience_s
        self._sign, self._leader = Sign(sign_path(run.folder, job)), Watch(sign_path(run.folder, 1))
        self._session, self._doubt_since = "", 0.0
        self._shared: ShardTask | None = None  # the last task, whose inputs are not checked again

    def follow(self, settings: Settings, graph: Graph, targets: Iterable[str]) -> None:
        """Do the shards of this job until job 1 has brought all stages up to date.

        Args:
            settings: Of the run.
            graph: Its stages.
            targets: Names of the stages that the command brings up to date.

        Raises:
            JobDoneError: Job 1 is done, or there is nothing to do.
            MatcherError: A shard is refused, job 1 ended with an error, or gives no sign of life.
        """
        patience, needed, looked = _Patience(self._run, self._patience_s), graph.up_to(targets), float("-inf")
        while True:
            seen = self._leader.look()
            if seen.get("state") == WORKS:
                self._session = seen["session"]
                if self._share(settings, graph, seen):
                    continue
            elif seen and seen["session"] == self._session:
                if seen["state"] == FAILED:
                    raise _error_of(seen)
                raise JobDoneError
            elif seen.get("state") == DONE and time.monotonic() - looked > PATIENT_S:  # seldom: it looks at all images
                if _is_current(self._run, settings, needed):
                    self._run.say("nothing is left to do for this job")
                    raise JobDoneError
                looked = time.monotonic()
            patience.wait(self._leader, f"job 1 of {self._jobs}")

    def _share(self, settings: Settings, graph: Graph, seen: Mapping[str, Any]) -> bool:
        """Do the shards of this job that are missing of the stage that job 1 is at; return whether there were any."""
        task = self._task(settings, graph.get(seen.get("stage", "")), seen.get("key"))
        missing = [] if task is None else self._missing(task)
        if task is None or not missing or not (task.folder / PLAN).exists():  # no plan: all are there and being joined
            return False
        began, stage = time.monotonic(), task.name
        try:
            for _ in self._inner.execute(task, missing):
                pass
        except (OSError, MatcherError):
            if (task.folder / PLAN).exists():
                raise
            return False  # a command without --shard has done and joined them meanwhile
        numbers = f"{', '.join(map(str, missing[:9]))}{' …' if len(missing) > 9 else ''} of {len(task.shards)}"
        self._run.line(stage, f"shards {numbers}", time.monotonic() - began)
        return True

    def _missing(self, task: ShardTask) -> list[int]:
        numbers = shares(range(1, len(task.shards) + 1), self._job, self._jobs)
        return [number for number in numbers if not task.is_there(number)]

    def _task(self, settings: Settings, stage: Stage | None, key: str | None) -> ShardTask | None:
        """Return the shards of a stage that job 1 is at; None while there are none.

        Raises:
            MatcherError: The stage is another one here.
        """
        if stage is None or stage.shards is None or key is None:
            return None
        folder = (self._run.folder / f"{stage.name}{WORK}" / SHARDS).absolute()
        try:
            plan = read_json(folder / PLAN)
            last, told = self._shared, (folder, plan["key"], plan["shards"], plan["versions"])
            if last and plan["key"] == key and (last.folder, last.key, last.shards, last.versions) == told:
                return last
            run = RunFolder(self._run.folder)
            own = digest(stage_key(run, settings, stage)) if plan["key"] == key else None
        except (ArtifactError, OSError, KeyError):  # of another moment, as a network share may show it
            return None
        if own == key:
            self._doubt_since = 0.0
            self._shared = ShardTask(run, settings, stage, key, folder, plan["shards"], plan["versions"])
            return self._shared
        self._doubt_since = self._doubt_since or time.monotonic()
        if own is not None and time.monotonic() - self._doubt_since > PATIENT_S:
            raise MatcherError(
                f"{stage.name} has other settings, other inputs or other code in this job than in job 1: all jobs must "
                "run the same command with the same version of the project"
            )
        return None

    def execute(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        """Do nothing: this job brings no stage up to date by itself."""
        raise MatcherError("only job 1 does this; run the command without --shard")

    def end(self) -> None:
        """Say that this job is done."""
        self._sign.end(DONE)

    def fail(self, error: MatcherError) -> None:
        """Let job 1 end with the same error."""
        self._sign.end(FAILED, message=str(error), exit_code=error.exit_code)

    def close(self) -> None:
        """End all workers."""
        self._inner.close()


def follow(run: RunFolder, settings: Settings, graph: Graph, targets: Iterable[str]) -> None:
    """Do what falls to this job, if it is one that follows job 1; then the command ends; see `Follower.follow`.

    Examples:
        >>> follow(RunFolder(Path("runs/mine")), Settings({}, {}), Graph([]), [])  # no job
    """
    if isinstance(run.executor, Follower):
        run.executor.follow(settings, graph, targets)


def let_go(run: RunFolder) -> None:
    """Let the other jobs end, if this is job 1: what comes now, it does alone.

    Examples:
        >>> let_go(RunFolder(Path("runs/mine")))  # no job
    """
    if isinstance(run.executor, Leader):
        run.executor = run.executor.end()


class _Patience:
    """Waits for another job: says so once, and gives up when the job has given no sign of life for long."""

    def __init__(self, run: RunFolder, patience_s: float) -> None:
        self._run, self._patience_s, self._began, self._said = run, patience_s, time.monotonic(), False

    def wait(self, watch: Watch, what: str) -> None:
        """Wait a moment.

        Raises:
            MatcherError: The job has given no sign of life for long.
        """
        watch.look()
        if watch.silent_s > self._patience_s:
            raise MatcherError(
                f"waited for {what}, which has given no sign of life for {self._patience_s / 60:g} minutes; start it "
                "again (or run the command without --shard): what is done is kept. --patience waits longer"
            )
        if not self._said and watch.silent_s > PATIENT_S:
            self._said = True
            self._run.say(f"waits for {what}")
        time.sleep(POLL_S)


def _error_of(seen: Mapping[str, Any]) -> MatcherError:
    """Return the error that another job ended with."""
    kind = ArtifactError if seen.get("exit_code") == ArtifactError.exit_code else MatcherError
    return kind(str(seen.get("message")))


def _is_current(run: RunFolder, settings: Settings, stages: Iterable[Stage]) -> bool:
    """Return whether some stages of a run are up to date, by their keys."""
    manifests = ((stage, run.manifest(stage.name)) for stage in stages)
    try:
        return all(made and digest(made["key"]) == digest(stage_key(run, settings, of)) for of, made in manifests)
    except (ArtifactError, OSError):
        return False
