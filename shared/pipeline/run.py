"""The run folder: stages that write atomically, are skipped when nothing changed, and resume when killed.

A stage works in `<name>.work`, writes its manifest there last, and the folder is renamed to `<name>`. Its key is
the digest of its inputs, its settings and the code it runs; while the key stands, the stage is not done again.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shared.errors import ArtifactError, MatcherError
from shared.pipeline.profiling import measured

ROOT = Path(__file__).resolve().parents[2]
OURS = ("shared", "branches", "ensemble")
LIBRARIES = ("numpy", "torch", "timm", "transformers", "pytorch-metric-learning", "scikit-learn", "lightgbm")
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint"  # a folder of a killed stage that its next run finds, as it finds `LOG`
LOG = "log"  # a folder that says how the work went (losses, timings) and not what came of it: no output
ABLATION, REFIT = "ablation", "refit"  # folders whose stages measure the run, or go on from it, and are no part of it
Work = Callable[[Path], Mapping[str, Any]]


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value in canonical form, 64 hex digits."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: the file is the old one or the new one, never a part."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False, default=str)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, whose files take the place of those of the same name in `folder` once all are written.

    Raises:
        MatcherError: The place cannot be written.
    """
    folder = folder.resolve()
    partial = folder.with_name(folder.name + ".partial")
    if folder.exists() and not folder.is_dir():
        raise MatcherError(f"cannot write to {folder}: it is a file, and a folder is needed")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise MatcherError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield partial
        folder.mkdir(exist_ok=True)
        for path in sorted(partial.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@cache
def code_digest(module: str) -> str:
    """Digest of a module's source and of all it imports from this project, however deep."""
    seen: dict[str, str] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _source(name)
        if name in seen or path is None:
            continue
        seen[name] = file_digest(path)
        queue += _imports(path)
    return digest(seen)


def _source(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()), None)


def _imports(path: Path) -> Iterator[str]:
    """The modules of this project that a file imports, save those it needs only as a command (`if __name__ …`)."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    code = [node for node in statements if not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test))]
    for node in ast.walk(ast.Module(code, [])):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in OURS)


class Run:
    """One run folder.

    Args:
        folder: Where it is; made when a stage first writes.
        force: Names of stages, or of folders of stages, to do again even if nothing changed.
        say: Takes one line of progress.
    """

    def __init__(self, folder: Path, *, force: tuple[str, ...] = (), say: Callable[[str], None] = print) -> None:
        self.folder, self.force, self.say = folder, force, say
        self._checked: set[str] = set()
        self.done: list[str] = []

    def stage(self, name: str, module: str, inputs: Mapping[str, str], settings: Mapping[str, Any], work: Work) -> Path:
        """Do a stage, or skip it with a word when it was done from the same inputs, settings and code.

        Args:
            name: Its folder below the run, such as `image/encoder/fold0`.
            module: The module that does the work; a change in it, or in what it imports, does the stage again.
            inputs: What it reads: name → digest (of a file, or of an earlier stage by `digest_of`).
            settings: The settings it depends on, JSON-able.
            work: Writes the outputs into the folder it is given and returns figures for the progress line. Finds
                there the folders `checkpoint` and `log` that a killed run of the same key left, so that it may go on
                from them. What lies in `log` is kept and is no output: no checksum and no digest depends on it.

        Returns:
            The folder with the finished outputs.
        """
        key = {"stage": name, "inputs": dict(inputs), "settings": dict(settings), "code": code_digest(module)}
        final = self.folder / name
        forced = any(not f or f"{name}/".startswith(f"{f}/") for f in self.force)
        if self._is_current(name, key) and not forced:
            self._line(name, "unchanged")
            return final
        partial = self._work_folder(final, key)
        try:
            with measured() as measure:
                figures = dict(work(partial))
        except MatcherError:
            self._drop(partial)
            raise
        (partial / "key").unlink(missing_ok=True)
        write_json(partial / MANIFEST, _manifest(partial, key, figures, measure))
        self._promote(partial, final)
        self._checked.add(name)
        self.done.append(name)
        shown = " · ".join(f"{label} {_figure(value)}" for label, value in figures.items() if not label.startswith("_"))
        self._line(name, shown or "done", measure["seconds"])
        return final

    def open(self, name: str) -> Path:
        """The folder of a finished stage, its files checked against their checksums before anything parses them.

        Raises:
            ArtifactError: The stage has not run, or a file is missing or altered.
        """
        if name not in self._checked:
            manifest = self.manifest(name)
            if manifest is None:
                raise ArtifactError(f"{self.folder} has no finished stage {name!r}; ./run_all.sh makes it")
            fault = damage(self.folder / name, manifest["outputs"])
            if fault:
                raise ArtifactError(f"{self.folder / name}: {fault}; ./run_all.sh makes it again")
            self._checked.add(name)
        return self.folder / name

    def manifest(self, name: str) -> dict[str, Any] | None:
        """What a finished stage says of itself; None when it has not run or its manifest cannot be read."""
        try:
            manifest = json.loads((self.folder / name / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        sound = isinstance(manifest, dict) and manifest.keys() >= {"stage", "outputs", "figures", "key", "ended"}
        return manifest if sound and isinstance(manifest["outputs"], dict) else None

    def digest_of(self, name: str) -> str:
        """Digest of a finished stage's outputs, to be the input of another."""
        self.open(name)
        return digest((self.manifest(name) or {})["outputs"])

    def stages(self) -> list[dict[str, Any]]:
        """The manifests of all finished stages by when they ended; those of an ablation or a refit are left out."""
        names = [path.parent.relative_to(self.folder) for path in self.folder.rglob(MANIFEST)]
        own = [str(name) for name in names if not {ABLATION, REFIT} & set(name.parts)]
        manifests = [self.manifest(name) for name in own if ".work" not in name and ".old" not in name]
        return sorted((m for m in manifests if m), key=lambda m: m["ended"])

    def remember(self, values: Mapping[str, Any]) -> None:
        """Keep the settings that were given, so that later commands on this run folder act on the same."""
        write_json(self.folder / "settings.json", values)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run folder; the system lets go of it when this process ends, however it ends.

        Raises:
            MatcherError: Another process holds it, or the folder cannot be written.
        """
        new = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / ".lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise MatcherError(f"cannot write the run folder {self.folder}: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise MatcherError(f"{self.folder} is in use by {file.read().strip() or 'another process'}") from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}: {' '.join(sys.argv)}\n")
            file.flush()
            try:
                yield
            finally:
                if new and [path.name for path in self.folder.iterdir()] == [".lock"]:
                    shutil.rmtree(self.folder)  # nothing came of it

    def _is_current(self, name: str, key: Mapping[str, Any]) -> bool:
        final = self.folder / name
        partial, old = (final.with_name(final.name + end) for end in (".work", ".old"))
        if (partial / MANIFEST).exists():  # killed between its manifest and its renaming
            self._promote(partial, final)
        elif final.exists() and old.exists():  # killed after its renaming
            shutil.rmtree(old)
        manifest = self.manifest(name)
        if manifest is None or digest(manifest["key"]) != digest(key):
            return False
        fault = None if name in self._checked else damage(final, manifest["outputs"])
        if fault:
            self._line(name, f"{fault}; doing it again")
            return False
        self._checked.add(name)
        return True

    def _work_folder(self, final: Path, key: Mapping[str, Any]) -> Path:
        partial = final.with_name(final.name + ".work")
        marker = partial / "key"
        if marker.exists() and marker.read_text(encoding="utf-8") == digest(key):
            for path in partial.iterdir():
                if path not in (marker, partial / CHECKPOINT, partial / LOG):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            marker.write_text(digest(key), encoding="utf-8")
        return partial

    def _drop(self, partial: Path) -> None:
        """Remove a work folder, and the folders above it that this leaves empty."""
        shutil.rmtree(partial, ignore_errors=True)
        for folder in partial.parents:
            if folder == self.folder or any(folder.iterdir()):
                break
            folder.rmdir()

    def _promote(self, partial: Path, final: Path) -> None:
        old = final.with_name(final.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)

    def _line(self, name: str, text: str, seconds: float | None = None) -> None:
        self.say(f"{name:<30} {text}" + (f" · {seconds:.1f} s" if seconds is not None else ""))


class DerivedRun(Run):
    """A run that does some stages by itself and takes the others from another run as they are there.

    Args:
        folder: Where its own stages are.
        base: The run that has the others.
        own: Names of stages, or of folders of stages, that are its own.
        say: Takes one line of progress.
    """

    def __init__(self, folder: Path, base: Run, own: Iterable[str], *, say: Callable[[str], None]) -> None:
        super().__init__(folder, force=base.force, say=say)
        self.base, self.own = base, tuple(own)

    def stage(self, name: str, module: str, inputs: Mapping[str, str], settings: Mapping[str, Any], work: Work) -> Path:
        """Do or skip a stage of its own; another one is taken as it is."""
        if not self._is_own(name):
            return self.base.open(name)
        return super().stage(name, module, inputs, settings, work)

    def open(self, name: str) -> Path:
        """The folder of a finished stage, its own or the other run's."""
        return super().open(name) if self._is_own(name) else self.base.open(name)

    def manifest(self, name: str) -> dict[str, Any] | None:
        """What a finished stage says of itself, its own or the other run's."""
        return super().manifest(name) if self._is_own(name) else self.base.manifest(name)

    def _is_own(self, name: str) -> bool:
        return any(f"{name}/".startswith(f"{stages}/") for stages in self.own)


def _manifest(folder: Path, key: Mapping[str, Any], figures: Mapping[str, Any], measure: Mapping[str, Any]) -> Any:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and folder / LOG not in path.parents)
    outputs = {str(path.relative_to(folder)): file_digest(path) for path in files}
    about = {"stage": key["stage"], "outputs": outputs, "figures": figures, **measure}
    return about | {"key": key, "versions": _versions()}


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}


def damage(folder: Path, files: Mapping[str, str]) -> str | None:
    """What is wrong with the first file that is not as it was written, in words; None when all are.

    Args:
        folder: Where they lie.
        files: Name below the folder → SHA-256.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if file_digest(path) != expected:
            return f"{name} does not have the checksum it was written with"
    return None


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
