"""A stage as a value: what it reads, which settings it depends on, which code does the work, and the work itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from shared.compute import ComputeConfig
from shared.config import ConfigSection, Step
from shared.pipeline.run import ArtifactStore
from shared.pipeline.settings import Settings

C = TypeVar("C", bound=ConfigSection)
Work = Callable[..., Mapping[str, Any]]


class UndeclaredError(Exception):
    """A stage opened an input or section that it did not declare: an error in this project, not by a user."""


@dataclass(frozen=True)
class Shards:
    """How the work of a stage is cut into shards, each of which any process may do, and joined.

    The shards follow from the inputs and the settings alone, never from who does them: so the joined outputs have the
    same bytes whoever does. A stage with a single shard does its `work` as if it had none.

    Args:
        plan: `plan(inputs, config, **parameters)` returns the shards, each as a JSON-able value; it is cheap.
        open: `open(inputs, config, **parameters)` loads what all shards need, once in each process, and returns a
            function `do(shard, out)` that writes one shard into the folder `out`. Only its files count.
        join: `join(inputs, config, out, shards, **parameters) -> metrics` makes the outputs of the stage from the
            folders of all shards, in the order of the plan. The folders are removed afterwards.
        prepare: `prepare(inputs, config, out, **parameters)` writes what all shards need and is done once, before any
            of them, into the folder `out`, which `open` and `join` then get as `prepared`. None: there is nothing.

    Examples:
        >>> def plan(inputs, config):
        ...     return ["red", "blue"]
        >>> def open_colors(inputs, config):
        ...     return lambda color, out: (out / "mug.txt").write_text(f"{color} mug")
        >>> def join(inputs, config, out, shards):
        ...     (out / "mugs.txt").write_text(" ".join((shard / "mug.txt").read_text() for shard in shards))
        ...     return {"mugs": len(shards)}
        >>> Shards(plan, open_colors, join).functions == (plan, open_colors, join)
        True
    """

    plan: Callable[..., Sequence[Any]]
    open: Callable[..., Callable[[Any, Path], object]]
    join: Work
    prepare: Callable[..., object] | None = None

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """Return its functions, whose source is part of the stage's key."""
        return self.plan, self.open, self.join, *(() if self.prepare is None else (self.prepare,))


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Its key is made of all that is declared here. While the key is unchanged, the stage is not run again.

    Args:
        name: Its folder below the run, such as `image/encoder/fold0`.
        work: `work(inputs, config, out, **parameters) -> metrics` writes the outputs into the folder `out` and returns
            a few metrics for the progress line and the manifest. It finds in `out` the folders `checkpoint` and `log`
            that a killed run with the same key left, so that it may go on from them. Both are no outputs: no checksum
            and no key depends on them. The log is kept, the checkpoint is removed once the stage is finished.
        code: Modules that do the work; they and all they import of this project are part of the key, and so is the
            source of `work` and of the functions of its module that it calls.
        reads: Names of the stages whose outputs it opens.
        settings: Sections of the settings that it depends on. `ComputeConfig` stands for the seed alone: a change of
            device or threads makes no stage run again.
        step: For a section of a branch: the step it is; settings that only later steps read are not part of the key.
        parameters: Arguments of `work` by name, JSON-able; part of the key.
        sources: Returns digests of what it reads outside of the run folder, by name.
        distributed: Whether all processes of `torchrun` do the work together.
        shards: How the work is cut into shards where there are several; None: it is not.

    Examples:
        >>> def count(inputs, config, out):
        ...     lines = (inputs["titles"] / "titles.txt").read_text().splitlines()
        ...     (out / "count.txt").write_text(str(len(lines)))
        ...     return {"titles": len(lines)}
        >>> Stage("count", count, code=(), reads=("titles",)).reads
        ('titles',)
    """

    name: str
    work: Work
    code: tuple[str, ...]
    reads: tuple[str, ...] = ()
    settings: tuple[type[ConfigSection], ...] = ()
    step: Step | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sources: Callable[[], Mapping[str, str]] = dict
    distributed: bool = False
    shards: Shards | None = None


class Inputs:
    """The outputs of the stages that a stage declares to read: name → folder.

        catalog = load_catalog(inputs["pools/holdout"])

    Args:
        store: Has the finished stages.
        stage: The stage that reads.
    """

    def __init__(self, store: ArtifactStore, stage: Stage) -> None:
        self._store, self._stage = store, stage

    def __getitem__(self, name: str) -> Path:
        """Return the folder of a stage, its files checked.

        Raises:
            UndeclaredError: The stage is not among those declared.
            ArtifactError: It has not run, or a file of it is missing or altered.
        """
        if name not in self._stage.reads:
            raise UndeclaredError(f"the stage {self._stage.name} opens {name}, which is not among its `reads`")
        return self._store.open(name)


class StageConfig:
    """The sections of the settings that a stage declares.

        seed = config[ComputeConfig].seed

    Args:
        settings: Of the run.
        stage: The stage that reads.
    """

    def __init__(self, settings: Settings, stage: Stage) -> None:
        self._settings, self._stage = settings, stage

    def __getitem__(self, section: type[C]) -> C:
        """Return a section by its class. `ComputeConfig` may always be read, for device and threads.

        Raises:
            UndeclaredError: The section is not among those declared.
        """
        if section not in (*self._stage.settings, ComputeConfig):
            raise UndeclaredError(f"the stage {self._stage.name} reads {section.__name__}, not among its `settings`")
        return self._settings[section]


class Graph(Mapping[str, Stage]):
    """Stages by name, each after those it reads.

    A stage may read others that are not in the graph; they must be finished then.

    Args:
        stages: In an order in which they can be done.

    Raises:
        ValueError: Two stages have the same name, or a stage reads a later one.

    Examples:
        >>> read, count = Stage("read", dict, code=()), Stage("count", dict, code=(), reads=("read",))
        >>> [stage.name for stage in Graph([read, count]).up_to(["count"])]
        ['read', 'count']
        >>> Graph([read, count]).below(["count"])
        ['count']
    """

    def __init__(self, stages: Iterable[Stage]) -> None:
        listed = list(stages)
        self._stages = {stage.name: stage for stage in listed}
        if len(self._stages) < len(listed):
            raise ValueError("two stages have the same name")
        done: set[str] = set()
        for stage in listed:
            if later := [name for name in stage.reads if name in self._stages and name not in done]:
                raise ValueError(f"the stage {stage.name} reads {later[0]}, which comes after it")
            done.add(stage.name)

    def __getitem__(self, name: str) -> Stage:
        return self._stages[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)

    def up_to(self, targets: Iterable[str]) -> list[Stage]:
        """Return some stages and all that they read, directly or not, in the order of the graph."""
        needed: set[str] = set()
        queue = list(targets)
        while queue:
            name = queue.pop()
            if name in self._stages and name not in needed:
                needed.add(name)
                queue += self._stages[name].reads
        return [stage for stage in self.values() if stage.name in needed]

    def below(self, folders: Iterable[str]) -> list[str]:
        """Return the names of the stages that are one of some folders or lie below one, such as `image/encoder`."""
        return [name for name in self if any(f"{name}/".startswith(f"{folder}/") for folder in folders)]
