"""Stages that were killed: the same call goes on, and ends as an undisturbed one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import shared.pipeline.engine
from shared.errors import MatcherError
from shared.pipeline.engine import CHECKPOINT, LOG
from shared.pipeline.run import MANIFEST, RunFolder
from shared.pipeline.shards import SHARDS
from tests.support.paths import ROOT

# Runs a small pipeline that is killed at its 1st, 2nd, … change of a file, and then runs it undisturbed.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage

def write(inputs, config, out, text):
    for name in ("checkpoint", "log"):
        (out / name).mkdir(exist_ok=True)
    state = out / "checkpoint" / "state"
    assert {p.name for p in out.iterdir()} <= {"checkpoint", "log", "key"}, "finds more than a checkpoint and a log"
    if not state.exists():
        state.write_text(text)
    assert state.read_text() in ("", text), "a checkpoint of other settings"
    (out / "temporary").write_text(str(os.getpid()))
    (out / "temporary").rename(out / "one")
    (out / "one").write_text(text)
    (out / "sub").mkdir()
    (out / "sub" / "two").write_text(text * 2)
    state.unlink()
    state.parent.rmdir()
    return {"letters": len(text)}

def pipeline(folder, text):
    run = RunFolder(folder, say=lambda line: None)
    first = Stage("a/first", write, code=("shared.errors",), parameters={"text": text})
    second = Stage("second", write, code=(), reads=("a/first",), parameters={"text": text.upper()})
    with run.locked():
        bring_up_to_date(run, Settings({}, {}), Graph([first, second]), ["second"])
        run.remember({"s": {"text": text}})

def child(folder, text, moment=None):
    process = os.fork()
    if process == 0:
        changes = 0
        def hook(event, arguments):
            nonlocal changes
            writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writing or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
                changes += 1
                if changes == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        pipeline(folder, text)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

folder, moment, killed = Path(sys.argv[1]), 0, True
pipeline(folder / "warm", "new")  # what is cached by module, such as versions, is known to every child
while killed:
    moment += 1
    for start in ("fresh", "over"):
        here = folder / f"{start}-{moment}"
        if start == "over":
            assert child(here, "old") == 0
        killed = child(here, "new", moment) == -signal.SIGKILL
        assert child(here, "new") == 0, f"{here} does not go on"
print(moment)
"""


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file by name; of manifests what does not tell the time."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    for name in found:
        if name.endswith(MANIFEST):
            manifest = json.loads(found[name])
            found[name] = json.dumps([manifest[key] for key in ("stage", "outputs", "metrics", "key")]).encode()
    return {name: content for name, content in found.items() if not name.startswith(".lock")}


@pytest.mark.fault(17)
@pytest.mark.slow
def test_killed_at_any_change_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(SCRIPT)  # a file, since the source of a stage's work is part of its key
    done = subprocess.run(
        [sys.executable, tmp_path / "pipeline.py", tmp_path / "runs"],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    moments = int(done.stdout)
    assert moments > 40
    undisturbed = files(tmp_path / "runs" / f"fresh-{moments}")
    outputs = [f"{stage}/{name}" for stage in ("a/first", "second") for name in (MANIFEST, "one", "sub/two")]
    assert sorted(undisturbed) == sorted([*outputs, "settings.json"])
    for folder in (tmp_path / "runs").iterdir():
        assert files(folder) == undisturbed, folder.name


class KilledError(BaseException):
    """As `KeyboardInterrupt`: nothing tidies up after it."""


def killed(*_: object, **__: object) -> None:
    raise KilledError


def kill_at_second_rename(patch: pytest.MonkeyPatch) -> None:
    rename, calls = Path.rename, iter(range(9))
    patch.setattr(Path, "rename", lambda path, to: killed() if next(calls) == 1 else rename(path, to))


def kill_at_removal_of_the_old(patch: pytest.MonkeyPatch) -> None:
    rmtree = shutil.rmtree
    patch.setattr(shutil, "rmtree", lambda path, **options: killed() if path.exists() else rmtree(path, **options))


MOMENTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], object], bool]] = {
    "before the manifest": (lambda patch: patch.setattr(shared.pipeline.engine, "write_json", killed), True),
    "between manifest and renaming": (lambda patch: patch.setattr(Path, "rename", killed), False),
    "between the renamings": (kill_at_second_rename, False),
    "before the old one is removed": (kill_at_removal_of_the_old, False),
}


@pytest.mark.fault(17)
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_the_end_of_a_stage(
    run: RunFolder, do: Any, writes: Any, unwanted: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    kill, redone = MOMENTS[moment]
    do(writes("old"))
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(KilledError):
            do(writes("new"), parameters={"s": 1})
    folder = do(writes("new") if redone else unwanted, parameters={"s": 1})
    assert (folder / "out.txt").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["b"]
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "out.txt"]
    assert run.open("a/b") == folder


@pytest.mark.fault(17)
@pytest.mark.parametrize("moment", list(MOMENTS)[1:])
def test_killed_after_the_manifest_with_other_settings(
    do: Any, writes: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    do(writes("old"))
    with monkeypatch.context() as patch:
        MOMENTS[moment][0](patch)
        with pytest.raises(KilledError):
            do(writes("new"), parameters={"s": 1})
    folder = do(writes("old"))
    assert (folder / "out.txt").read_text() == "old"
    assert [path.name for path in folder.parent.iterdir()] == ["b"]


# --- checkpoint and log ----------------------------------------------------------------------------------------------


def leaves_half(end: BaseException) -> Callable[[Path], Mapping[str, Any]]:
    """Work that ends half way, with a checkpoint and a log."""

    def behavior(out: Path) -> Mapping[str, Any]:
        for name in (CHECKPOINT, LOG, "half"):
            (out / name).mkdir()
            (out / name / "file").write_text("before")
        (out / "out.txt").write_text("half")
        raise end

    return behavior


def leaves_all(out: Path) -> Mapping[str, Any]:
    """Work that is done, and removes nothing of what a killed stage goes on from."""
    for name in (CHECKPOINT, LOG, SHARDS):
        (out / name / "1").mkdir(parents=True, exist_ok=True)
        (out / name / "1" / "file").write_text("before")
    (out / "out.txt").write_text("content")
    return {}


def test_what_a_killed_stage_goes_on_from_is_no_output(run: RunFolder, do: Any) -> None:
    folder = do(leaves_all)
    assert list(run.files("a/b")) == ["out.txt"]
    assert sorted(path.name for path in folder.iterdir()) == [LOG, MANIFEST, "out.txt"]


def test_checkpoint_outlasts_a_disk_too_full_for_the_manifest(
    run: RunFolder, do: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shared.pipeline.engine, "write_json", killed)
        with pytest.raises(KilledError):
            do(leaves_all)
    do(looks)
    assert (run.manifest("a/b") or {})["metrics"] == {"found": [CHECKPOINT, LOG, SHARDS]}


def looks(out: Path) -> Mapping[str, Any]:
    return {"found": sorted(path.name for path in out.iterdir() if path.name != "key")}


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("end", "parameters", "found"),
    [
        (KilledError(), {}, [CHECKPOINT, LOG]),
        (ValueError("bug"), {}, [CHECKPOINT, LOG]),
        (MatcherError("bad"), {}, [CHECKPOINT, LOG]),
        (KilledError(), {"s": 1}, []),
    ],
)
def test_checkpoint_and_log_survive_for_the_same_key_only(
    run: RunFolder, do: Any, end: BaseException, parameters: dict[str, int], found: list[str]
) -> None:
    with pytest.raises(type(end)):
        do(leaves_half(end))
    do(looks, parameters=parameters)
    assert (run.manifest("a/b") or {})["metrics"] == {"found": found}


def test_checkpoint_whose_key_is_cut_short_is_not_found(run: RunFolder, do: Any) -> None:
    with pytest.raises(KilledError):
        do(leaves_half(KilledError()))
    key = run.folder / "a" / "b.work" / "key"
    key.write_text(key.read_text()[:10])
    do(looks)
    assert (run.manifest("a/b") or {})["metrics"] == {"found": []}
