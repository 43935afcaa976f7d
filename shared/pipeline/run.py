"""The run folder, with the finished stages, the settings and the lock of a run.

    runs/mine/settings.json             the settings that the user set
    runs/mine/<stage>/manifest.json     outputs, inputs, code and cost of a finished stage

`engine.py` runs the stages; this module only reads what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from shared.artifacts import damage, digest, is_name_below, read_json, write_json
from shared.errors import ArtifactError
from shared.pipeline.executors import Executor
from shared.pipeline.executors.serial import Serial
from shared.pipeline.locks import locked

MANIFEST = "manifest.json"
SETTINGS = "settings.json"
WORK, OLD = ".work", ".old"  # endings of a stage's folder while it runs, and of the folder that it replaces
ABLATION, REFIT, TRANSFER = "ablation", "refit", "transfer"  # folders of stages that use the run and are no part of it
BASE = "base/"  # see `OverlayRun`
# what is read of a manifest
_REQUIRED = {"stage": str, "outputs": dict, "metrics": dict, "key": dict, "ended": int | float, "versions": dict}


class ArtifactStore(Protocol):
    """A store of finished stages: a run folder or a bundle.

    Examples:
        store.open("ensemble/scorer") / "first.txt"
    """

    folder: Path

    def open(self, stage: str) -> Path:
        """Return the folder of a finished stage, its files checked against their checksums.

        Raises:
            ArtifactError: It is not there, or a file is missing or altered.
        """
        ...

    def files(self, stage: str) -> Mapping[str, str]:
        """Return the files of a finished stage: name below its folder → SHA-256.

        Raises:
            ArtifactError: As for `open`.
        """
        ...


class RunFolder:
    """One run folder.

    Args:
        folder: Where it is; made when something is first written.
        say: Called with each line of progress.

    Attributes:
        executor: Does the shards of stages; this process does, unless a command sets another one.

    Examples:
        >>> run = RunFolder(Path("runs/mine"))
        >>> run.line("split", "3 folds", seconds=1.25)
        split                          3 folds · 1.2 s
        >>> run.manifest("split") is None
        True
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None] = print) -> None:
        self.folder, self.say = folder, say
        self.executor: Executor = Serial()
        self._checked: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent to another process: the paths, for one that prints nothing and does its work itself."""
        own = {"folder": self.folder.absolute(), "say": _nothing, "executor": Serial(), "_checked": set()}
        return self.__dict__ | own

    def open(self, stage: str) -> Path:
        """Return the folder of a finished stage, its files checked before anything parses them.

        Raises:
            ArtifactError: The stage has not run, or a file is missing or altered.
        """
        if stage not in self._checked:
            self._require_no_link(stage)
            manifest = self.manifest(stage)
            if manifest is None:
                raise ArtifactError(
                    f"{self.folder} has no finished stage {stage!r}; ./run_all.sh --run {self.folder} makes it"
                )
            fault = damage(self.folder / stage, manifest["outputs"])
            if fault:
                raise ArtifactError(f"{self.folder / stage}: {fault}; ./run_all.sh makes it again")
            self._checked.add(stage)
        return self.folder / stage

    def files(self, stage: str) -> Mapping[str, str]:
        """Return the files of a finished stage: name below its folder → SHA-256; see `open`."""
        self.open(stage)
        outputs: Mapping[str, str] = (self.manifest(stage) or {})["outputs"]
        return outputs

    def digest_of(self, stage: str) -> str:
        """Return the digest of a finished stage's outputs, which is what a stage that reads it depends on."""
        return digest(self.files(stage))

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """Return the manifest of a finished stage; None if the stage has not run or its manifest cannot be read."""
        try:
            manifest = read_json(self.folder / stage / MANIFEST)
        except ArtifactError:
            return None
        return manifest if _is_sound(manifest) else None

    def _require_no_link(self, stage: str) -> None:
        """Raise an error where the folder of a stage is a link, or in one: it would lead out of the run."""
        place = self.folder / stage
        for path in (place, *place.parents):
            if self.folder in path.parents and path.is_symlink():
                raise ArtifactError(f"{path} is a link; a stage's folder must be a folder of the run: remove the link")

    def manifests(self) -> list[dict[str, Any]]:
        """Return the manifests of all finished stages by their end, without those that are no part of it."""
        names = [path.parent.relative_to(self.folder) for path in self.folder.rglob(MANIFEST)]
        of_run = [name for name in names if not {ABLATION, REFIT, TRANSFER} & set(name.parts)]
        manifests = [self.manifest(name.as_posix()) for name in of_run if not name.name.endswith((WORK, OLD))]
        return sorted((manifest for manifest in manifests if manifest), key=lambda manifest: manifest["ended"])

    def is_sound(self, stage: str) -> bool:
        """Return whether a finished stage's files are as they were written, with a progress line if they are not."""
        manifest = self.manifest(stage)
        fault = None
        if manifest is not None and stage not in self._checked:
            fault = damage(self.folder / stage, manifest["outputs"])
        if fault:
            self.line(stage, f"{fault}; the stage runs again")
        return manifest is not None and fault is None

    def mark_checked(self, stage: str) -> None:
        """Remember that a stage's files are as they were written, so that they are not checked again."""
        self._checked.add(stage)

    def remember(self, values: Mapping[str, Any]) -> None:
        """Write the settings into the run folder, so that later commands on it use the same."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / SETTINGS, values)

    def locked(self) -> AbstractContextManager[None]:
        """Lock the run folder; see `locks.locked`."""
        return locked(self.folder)

    def line(self, stage: str, text: str, seconds: float | None = None) -> None:
        """Print one line of progress about a stage."""
        self.say(f"{stage:<30} {text}" + (f" · {seconds:.1f} s" if seconds is not None else ""))


class OverlayRun(RunFolder):
    """A run folder that has some stages of its own and reads all others from another run.

    If a stage of its own reads the stage with the same name in the other run, it calls it `base/<stage>`.

    Args:
        folder: Where its own stages are.
        base: The run that has the other stages.
        stages: Names of its own stages.
        say: Called with each line of progress.

    Examples:
        >>> overlay = OverlayRun(Path("mine/refit"), RunFolder(Path("mine")), ["split"], say=print)
        >>> overlay.manifest("split") is None, overlay.manifest("base/split") is None
        (True, True)
    """

    def __init__(self, folder: Path, base: RunFolder, stages: Collection[str], *, say: Callable[[str], None]) -> None:
        super().__init__(folder, say=say)
        self.base, self.stages, self.executor = base, frozenset(stages), base.executor

    def open(self, stage: str) -> Path:
        """Return the folder of a finished stage, its own or the other run's."""
        return super().open(stage) if stage in self.stages else self.base.open(stage.removeprefix(BASE))

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """Return the manifest of a finished stage, its own or the other run's."""
        return super().manifest(stage) if stage in self.stages else self.base.manifest(stage.removeprefix(BASE))


def _nothing(text: str) -> None:
    """Print nothing."""


def _is_sound(manifest: Mapping[str, Any]) -> bool:
    """Return whether a manifest has the entries that are read, each of its type."""
    if not all(isinstance(manifest.get(name), kind) for name, kind in _REQUIRED.items()):
        return False
    of_key = [manifest["key"].get(name) for name in ("inputs", "settings", "parameters")]
    return all(isinstance(part, dict) for part in of_key) and all(map(is_name_below, manifest["outputs"]))


def remembered(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the settings that a run folder or a bundle remembers: section → key → value.

    Raises:
        ArtifactError: They are damaged.

    Examples:
        >>> remembered(Path("no/such/run"))
        {}
    """
    path = folder / SETTINGS
    if not path.exists():
        return {}
    values = read_json(path, "remove it and give the run's settings again")
    if not all(isinstance(keys, dict) for keys in values.values()):
        raise ArtifactError(f"{path} is damaged; remove it and give the run's settings again")
    return values
