"""Brings stages up to date: runs those that are new or stale, skips the rest, and continues a killed run.

A stage works in `<name>.work`; once its manifest is written there, the folder takes the name `<name>`. Its key is
made of all that it declares (`stage.py`); while the key and the files are unchanged, it is skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared import processes
from shared.artifacts import digest, file_digest, folder_to_disk, to_disk, write_json
from shared.errors import MatcherError
from shared.folders import kind_of
from shared.pipeline.code_digest import code_digest
from shared.pipeline.profiling import measured
from shared.pipeline.progress import live_line
from shared.pipeline.run import MANIFEST, OLD, WORK, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.shards import SHARDS, join_shards, plan_of, refusing
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig
from shared.pipeline.versions import library_versions

CHECKPOINT, LOG = "checkpoint", "log"  # folders of a killed stage that its next run finds; neither is an output
KEPT = (CHECKPOINT, SHARDS)  # kept for a stage that was refused, removed from a finished one
KEY = "key"  # file with the digest of the key that a stage works for


def bring_up_to_date(
    run: RunFolder,
    settings: Settings,
    graph: Graph,
    targets: Iterable[str],
    *,
    redo: Collection[str] = (),
    done: Callable[[str], object] = lambda stage: None,
) -> None:
    """Run some stages and all that they read; skip those that are up to date, with a progress line for each.

        bring_up_to_date(run, settings, graph, ["ensemble/scorer"])

    Args:
        run: The run folder; held by this process.
        settings: Of the run.
        graph: The stages.
        targets: Names of the stages to bring up to date.
        redo: Names of stages to run again even if nothing changed.
        done: Called with the name of each stage once it is up to date.

    Raises:
        MatcherError: A stage refuses its input; finished stages are intact.
    """
    needed = graph.up_to(targets)
    for stage in needed:
        _require_folders(run.folder / stage.name, run.folder)
        _code(stage)  # a file that is edited while an earlier stage works is not the code that will run
    with live_line(run, needed, redo) as stages:
        for stage in stages:
            bring_stage_up_to_date(run, settings, stage, redo=stage.name in redo)
            done(stage.name)


def bring_stage_up_to_date(run: RunFolder, settings: Settings, stage: Stage, *, redo: bool = False) -> Path:
    """Run or skip one stage, whose inputs are there, and return its folder."""
    final, key = run.folder / stage.name, stage_key(run, settings, stage)
    _require_folders(final, run.folder)
    _finish_killed(final)
    manifest = run.manifest(stage.name)
    if not redo and manifest and digest(manifest["key"]) == digest(key) and run.is_sound(stage.name):
        run.mark_checked(stage.name)
        run.line(stage.name, "unchanged")
        return final
    work = _work_folder(final, key)
    try:
        with measured() as cost, refusing(stage.name):
            shards = plan_of(run, settings, stage)
            metrics = dict(
                join_shards(run, settings, stage, digest(key), work, shards)
                if shards
                else do_work(run, settings, stage, work)
            )
    except MatcherError:
        if not any((work / name).exists() for name in KEPT):  # what is refused now, without a GPU, say, may go on later
            _drop(work, run.folder)
        raise
    folder_to_disk(work)  # what the manifest says of it has to outlast a power cut
    write_json(work / MANIFEST, _manifest(work, key, metrics, cost))
    _promote(work, final)
    run.mark_checked(stage.name)
    shown = _shown(metrics | ({"shards": len(shards)} if shards else {}))
    run.line(stage.name, shown or "done", cost["seconds"])
    return final


def do_work(run: RunFolder, settings: Settings, stage: Stage, out: Path) -> Mapping[str, Any]:
    """Run the work of a stage with an output folder and return its metrics; under `torchrun`, with all processes."""
    if stage.distributed and processes.rank() == 0:
        processes.assign(stage.name)
    return stage.work(Inputs(run, stage), StageConfig(settings, stage), out, **stage.parameters)


def stage_key(run: RunFolder, settings: Settings, stage: Stage) -> dict[str, Any]:
    """Return all that a stage's result depends on, JSON-able.

        digest(stage_key(run, settings, stage))

    Raises:
        ArtifactError: A stage that it reads is not finished, or damaged.
    """
    return {
        "stage": stage.name,
        "inputs": {name: run.digest_of(name) for name in stage.reads},
        "sources": dict(stage.sources()),
        "settings": _cache_keys(settings, stage),
        "parameters": dict(stage.parameters),
        "code": _code(stage),
    }


def stage_code_and_settings(settings: Settings, stage: Stage) -> dict[str, Any]:
    """Return the part of a stage's key that its inputs have no part in: settings and code.

    stage_code_and_settings(settings, stage)["settings"]
    """
    return {"settings": _cache_keys(settings, stage), "code": _code(stage)}


def _code(stage: Stage) -> str:
    return code_digest(stage.code, stage.work, *(() if stage.shards is None else stage.shards.functions))


def _cache_keys(settings: Settings, stage: Stage) -> dict[str, Any]:
    return {settings.name_of(cls): settings[cls].cache_key(stage.step) for cls in stage.settings}


def _manifest(folder: Path, key: Mapping[str, Any], metrics: Mapping[str, Any], cost: Mapping[str, Any]) -> Any:
    apart = {folder / name for name in (LOG, *KEPT)}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not apart & set(path.parents))
    files = [path for path in files if path != folder / KEY]
    outputs = {path.relative_to(folder).as_posix(): file_digest(path) for path in files}
    about = {"stage": key["stage"], "outputs": outputs, "metrics": metrics, **cost}
    return about | {"key": key, "versions": library_versions()}


# --- folders of a stage ----------------------------------------------------------------------------------------------

_SIGNS = (MANIFEST, KEY, LOG, *KEPT)  # of which a folder that a stage works in has one


def stage_folders(final: Path) -> tuple[Path, Path, Path]:
    """Return the folder of a stage, the one that it works in, and the one that it replaces.

    Examples:
        >>> [folder.name for folder in stage_folders(Path("runs/mine/split"))]
        ['split', 'split.work', 'split.old']
    """
    return final, _beside(final, WORK), _beside(final, OLD)


def _beside(final: Path, ending: str) -> Path:
    return final.with_name(final.name + ending)


def _require_folders(final: Path, run: Path) -> None:
    """Raise an error if something that no run made is in the place of a stage's folder, or of one that it works in.

    So only the run itself is changed. In what is a run already, a folder without its manifest is one that was damaged,
    and its stage is done again.

    Raises:
        MatcherError: There is a link, a file, or a folder with other files.
    """
    above = [folder for folder in final.parents if run in folder.parents]
    for path in (*above, *stage_folders(final)):
        if path.is_symlink() or path.is_file():
            what = "link" if path.is_symlink() else "file"
            raise MatcherError(f"{path} is a {what}; a stage's folder must be a folder of the run: remove the {what}")
    for parent, folders, files in os.walk(_beside(final, WORK)):
        for place in (Path(parent) / name for name in (*folders, *files)):
            if place.is_symlink():
                raise MatcherError(f"{place} is a link, which a stage would write through; remove it")
            if os.path.lexists(place) and not place.is_file() and not place.is_dir():  # other jobs write here, too
                raise MatcherError(f"{place} is no regular file, and a stage might wait for it; remove it")
    for path in stage_folders(final) if kind_of(run) != "a run" else ():
        signs = _SIGNS if path.name.endswith(WORK) else [MANIFEST]
        if path.is_dir() and any(path.iterdir()) and not any((path / sign).exists() for sign in signs):
            raise MatcherError(
                f"{path} holds files that no run made, and a run would replace the folder; name another run folder "
                "with --run, or move the files to another place"
            )


def _finish_killed(final: Path) -> None:
    """Finish the renaming that a killed process began."""
    work, old = _beside(final, WORK), _beside(final, OLD)
    if (work / MANIFEST).exists():  # killed between its manifest and its renaming
        _promote(work, final)
    elif final.exists() and old.exists():  # killed after its renaming
        _remove(old)


def _work_folder(final: Path, key: Mapping[str, Any]) -> Path:
    """Return the folder to work in; it keeps checkpoint, log and shards of a killed run with the same key."""
    work = _beside(final, WORK)
    marker = work / KEY
    if marker.exists() and marker.read_text(encoding="utf-8") == digest(key):
        for path in work.iterdir():
            if path not in (marker, work / LOG, *(work / name for name in KEPT)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    else:
        _remove(work)
        work.mkdir(parents=True)
        marker.write_text(digest(key), encoding="utf-8")
    return work


def _drop(work: Path, run: Path) -> None:
    """Remove a work folder, and the folders above it that this leaves empty."""
    _remove(work)
    for folder in work.parents:
        if folder == run or any(folder.iterdir()):
            break
        folder.rmdir()


def _remove(folder: Path) -> None:
    """Remove a folder of a run as far as the system lets; last of all that by which a later run knows it."""
    rest = [path for path in folder.iterdir() if path.name not in (MANIFEST, KEY)] if folder.is_dir() else []
    for path in rest:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    if not any(os.path.lexists(path) for path in rest):
        shutil.rmtree(folder, ignore_errors=True)


def _promote(work: Path, final: Path) -> None:
    """Give the folder of a finished stage its name; what a killed stage goes on from is removed once all is safe."""
    old = _beside(final, OLD)
    _remove(old)
    folder_to_disk(work)
    for path in (work / name for name in (*KEPT, KEY)):
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    to_disk(work)
    if final.exists():
        final.rename(old)
    work.rename(final)
    to_disk(final.parent)
    _remove(old)


# --- the progress line -----------------------------------------------------------------------------------------------


def _shown(metrics: Mapping[str, Any]) -> str:
    values = {name.replace("_", " "): value for name, value in metrics.items() if value is not None}
    return " · ".join(f"{name} {_in_words(value)}" for name, value in values.items())


def _in_words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
