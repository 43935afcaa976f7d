"""The shards of a stage: each is written once beside its place, renamed, and never written again.

    image/embeddings/catalog.work/shards/plan.json      the shards, and the stage's key
    image/embeddings/catalog.work/shards/3/             the files of the third shard
    image/embeddings/catalog.work/shards/3/manifest.json    their checksums, and the key of the shard

A shard whose manifest fits the key of the stage, with the files as it lists them, is kept: a run that was killed
repeats the others only. When all are there, the stage joins them, and they are removed.
"""

from __future__ import annotations

import platform
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from shared.artifacts import PARTIAL, damage, digest, file_digest, folder_to_disk, read_json, write_json
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.exits import is_out_of_memory, out_of_memory
from shared.pipeline.run import MANIFEST, WORK, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.pipeline.versions import require_same, worker_versions

SHARDS, PLAN = "shards", "plan.json"  # folder in the work folder of a stage, and the list of its shards in it
PREPARED = 0  # number of what all shards need, which is written as they are
REMOVALS = 3  # tries to remove the shards that are joined
VISIBLE_S = 30.0  # until then, a shard that another machine has written must be seen here
_opened: dict[str, Callable[[Any, Path], object]] = {}  # key of the last task that this process did → its function
_opening = threading.Lock()


@dataclass(frozen=True)
class ShardTask:
    """The shards of a stage as a task for an executor; its numbers are those of the shards, from 1.

    All that is sent to a worker is in it: the paths of the run, the stage as a value (functions by their names), the
    settings and the list of shards.

    Args:
        run: The run folder, with what the stage reads.
        settings: Of the run.
        stage: The stage.
        key: Digest of the stage's key.
        folder: Where the shards are written.
        shards: The shards, JSON-able.
        versions: Of the process that leads, which a worker must have as well; see `worker_versions`.
    """

    run: RunFolder
    settings: Settings
    stage: Stage
    key: str
    folder: Path
    shards: Sequence[Any]
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the name of the stage."""
        return self.stage.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Return the parameters of the stage, and where the prepared files are, if there are any."""
        prepares = self.stage.shards is not None and self.stage.shards.prepare is not None
        return {**self.stage.parameters, **({"prepared": self.folder / str(PREPARED)} if prepares else {})}

    def __call__(self, number: int) -> None:
        """Write one shard, unless it is there; errors as of the stage.

        Raises:
            MatcherError: This process is a worker that has other versions, or does not see the run folder.
        """
        require_same(self.versions, self.name)
        if self.is_there(number):
            return
        if not self.folder.is_dir():
            raise MatcherError(
                f"{self.name}: {platform.node()} has no folder {self.folder}; the run folder must be the same folder "
                "for all workers, by the same path"
            )
        partial = self.folder / f"{number}.{uuid.uuid4().hex[:8]}{PARTIAL}"
        threads = self.settings[ComputeConfig].cpu_threads if ComputeConfig in self.settings.sections.values() else None
        try:
            with refusing(self.stage.name), threadpool_limits(threads):
                partial.mkdir()
                if number == PREPARED:
                    self._prepare(partial)
                else:
                    self._open()(self.shards[number - 1], partial)
            files = sorted(path for path in partial.rglob("*") if path.is_file())
            outputs = {path.relative_to(partial).as_posix(): file_digest(path) for path in files}
            write_json(partial / MANIFEST, {"key": self._key_of(number), "outputs": outputs})
            folder_to_disk(partial)
            self._take_place(partial, number)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def release(self) -> None:
        """Drop what this process has loaded for the shards."""
        _opened.clear()

    def _prepare(self, out: Path) -> None:
        """Write what all shards need, if there is anything."""
        assert self.stage.shards is not None
        if self.stage.shards.prepare is not None:
            inputs, config = Inputs(self.run, self.stage), StageConfig(self.settings, self.stage)
            self.stage.shards.prepare(inputs, config, out, **self.stage.parameters)

    def _open(self) -> Callable[[Any, Path], object]:
        """Return the function that does a shard; what it needs is loaded once in a process."""
        shards = self.stage.shards
        assert shards is not None
        with _opening:
            if self.key not in _opened:
                _opened.clear()
                inputs, config = Inputs(self.run, self.stage), StageConfig(self.settings, self.stage)
                _opened[self.key] = shards.open(inputs, config, **self.parameters)
            return _opened[self.key]

    def _take_place(self, partial: Path, number: int) -> None:
        try:
            partial.rename(self.folder / str(number))
        except OSError:
            if not self.is_there(number):  # else another worker was faster
                raise

    def _key_of(self, number: int) -> str:
        return digest([self.key, number, self.shards[number - 1] if number else None])

    def _outputs(self, number: int) -> Mapping[str, str] | None:
        """Return the files that the manifest of a shard lists, if it is one of this task."""
        try:
            manifest = read_json(self.folder / str(number) / MANIFEST)
        except ArtifactError:
            return None
        outputs = manifest.get("outputs")
        return outputs if manifest.get("key") == self._key_of(number) and isinstance(outputs, dict) else None

    def is_there(self, number: int) -> bool:
        """Return whether a shard has its manifest; its files are not read."""
        try:
            return self._outputs(number) is not None
        except OSError:  # of a network share that is away for a moment
            return False

    def is_sound(self, number: int) -> bool:
        """Return whether a shard is there with its files as they were written; one that is not is removed."""
        outputs, folder = self._outputs(number), self.folder / str(number)
        if outputs is not None and damage(folder, outputs) is None:
            return True
        shutil.rmtree(folder, ignore_errors=True)
        return False


def join_shards(
    run: RunFolder, settings: Settings, stage: Stage, key: str, work: Path, shards: Sequence[Any]
) -> Mapping[str, Any]:
    """Do the shards of a stage that are missing, join all, and return the metrics of the stage.

        join_shards(run, settings, stage, digest(stage_key(run, settings, stage)), work, plan_of(run, settings, stage))

    Args:
        run: The run folder; its executor does the shards.
        settings: Of the run.
        stage: The stage.
        key: Digest of its key.
        work: The folder that it works in.
        shards: Its shards, at least 2.

    Raises:
        MatcherError: A shard is refused, or a worker wrote it to another place.
    """
    assert stage.shards is not None
    folder = work / SHARDS
    sent, versions = replace(stage, sources=dict), worker_versions()
    task = ShardTask(run, settings, sent, key, folder.absolute(), shards, versions)
    folder.mkdir(exist_ok=True)
    if stage.shards.prepare is not None and not task.is_sound(PREPARED):
        task(PREPARED)
    missing = [number for number in range(1, len(shards) + 1) if not task.is_sound(number)]
    plan = {"stage": stage.name, "key": key, "shards": list(shards), "versions": versions}
    write_json(folder / PLAN, plan)
    for number in run.executor.execute(task, missing):
        _require_visible(task, number)
    (folder / PLAN).unlink()  # from here on, no job looks for shards that are missing
    folders = [folder / str(number) for number in range(1, len(shards) + 1)]
    inputs, config = Inputs(run, stage), StageConfig(settings, stage)
    metrics = stage.shards.join(inputs, config, work, folders, **task.parameters)
    _remove(folder)
    return metrics


def _remove(folder: Path) -> None:
    """Remove the folder of the shards, into which a worker that was given up may still write."""
    joined = folder.with_name(f"{SHARDS}.joined")
    folder.rename(joined)  # from here on, such a worker finds no folder
    for _ in range(REMOVALS - 1):
        shutil.rmtree(joined, ignore_errors=True)
    if joined.exists():
        shutil.rmtree(joined)


def _require_visible(task: ShardTask, number: int) -> None:
    """Raise an error unless a shard that is done is in its place, where another machine may have written it."""
    until = time.monotonic() + VISIBLE_S
    while not task.is_there(number):
        if time.monotonic() > until:
            raise MatcherError(
                f"a worker has done shard {number} of {task.name}, and it is not in {task.folder}: the run folder must "
                "be the same folder for all workers, by the same path"
            )
        time.sleep(0.5)
    if not task.is_sound(number):
        raise ArtifactError(f"shard {number} of {task.name} is not as it was written; the same command does it again")


def plan_of(run: RunFolder, settings: Settings, stage: Stage) -> Sequence[Any]:
    """Return the shards of a stage; none where its work is not cut, or would be one.

    Examples:
        >>> plan_of(RunFolder(Path("runs/mine")), Settings({}, {}), Stage("count", dict, code=()))
        ()
    """
    if stage.shards is None:
        return ()
    shards = stage.shards.plan(Inputs(run, stage), StageConfig(settings, stage), **stage.parameters)
    return shards if len(shards) > 1 else ()


def ranges(count: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of at most `size` that make up `count` rows, as start and end.

    Examples:
        >>> ranges(5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def shards_done(run: RunFolder, stage: str) -> tuple[int, int] | None:
    """Return how many shards of a stage that works are done, and how many there are; None where it has none.

    Examples:
        >>> shards_done(RunFolder(Path("no/such/run")), "split") is None
        True
    """
    folder = run.folder / f"{stage}{WORK}" / SHARDS
    try:
        count = len(read_json(folder / PLAN)["shards"])
        return sum((folder / str(number)).is_dir() for number in range(1, count + 1)), count
    except (ArtifactError, OSError, KeyError, TypeError):
        return None


@contextmanager
def refusing(stage: str) -> Iterator[None]:
    """Turn an error that says that there is not enough memory into one that names the stage and what to reduce.

    Examples:
        >>> with refusing("split"):
        ...     split = [1, 2]
    """
    try:
        yield
    except MatcherError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        what = "a smaller batch or image size, lower `neighbors`, a shorter scorer.thinned or fewer listings need less"
        raise MatcherError(f"{stage}: {out_of_memory(error)}; {what}; finished stages are intact") from error
