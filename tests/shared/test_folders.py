"""Folders that are replaced as a whole, and places that may be written to."""

import errno
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

import shared.folders
from shared.errors import MatcherError
from shared.folders import atomic_folder, kind_of, require_place, require_replaceable, updated_folder
from tests.support.disk import Disk
from tests.support.paths import ROOT

Writer = Callable[[Path], AbstractContextManager[Path]]
ERRORS = [MatcherError("bad"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()]
# Writes a folder of outputs over an earlier one in many processes, each killed one step later than the one before, and
# prints what is then there. A step is whatever Python tells an audit hook of that changes files.
KILLED = """
import json, os, sys
from pathlib import Path
import shared.folders
from shared.folders import updated_folder

STEPS = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "os.utime"}
top, exchanges = Path(sys.argv[1]), sys.argv[2] == "exchange"
if not exchanges:
    shared.folders._exchange = lambda one, other: False
notes = {"notes.txt": "mine", "sub/deep.txt": "mine too"}

def present(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}

def fill(out, texts):
    for name, text in texts.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)

outcomes = []
for last in range(1000):
    out = top / str(last) / "out"
    fill(out, notes | {"a": "old", "b": "old", "gone": "old"})
    pid = os.fork()
    if pid == 0:
        left = last
        def hook(event, arguments):
            global left
            if event in STEPS or event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT:
                left -= 1
                if left < 0:
                    os._exit(9)
        sys.addaudithook(hook)
        with updated_folder(out, without=["gone"]) as folder:
            fill(folder, {"a": "new", "b": "new"})
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    after = present(out) if out.exists() else None
    with updated_folder(out, without=["gone"]) as folder:
        fill(folder, {"a": "last", "b": "last"})
    outcomes.append([after, present(out), [p.name for p in out.parent.iterdir()]])
    if code == 0:
        break
print(json.dumps(outcomes))
"""


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_half(write: Writer, place: Path, error: BaseException) -> None:
    with write(place) as partial:
        (partial / "a").write_text("half")
        raise error


@pytest.mark.parametrize(
    ("write", "kept"), [(updated_folder, {"a": "new", "mine": "kept"}), (atomic_folder, {"a": "new"})]
)
def test_folder_written_twice(tmp_path: Path, write: Writer, kept: dict[str, str]) -> None:
    out = tmp_path / "deep" / "out"
    for text in ("old", "new"):
        with write(out) as folder:
            (folder / "a").write_text(text)
            assert not (out / "a").exists() or (out / "a").read_text() == "old"
        if text == "old":
            (out / "mine").write_text("kept")
    assert texts(out) == kept
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("write", [updated_folder, atomic_folder])
@pytest.mark.parametrize("error", ERRORS)
def test_folder_is_as_before_when_writing_fails(tmp_path: Path, write: Writer, error: BaseException) -> None:
    out = tmp_path / "out"
    with pytest.raises(type(error)), write(out):
        raise error
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "a").write_text("old")
    with pytest.raises(type(error)):
        write_half(write, out, error)
    assert texts(out) == {"a": "old"}
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("write", [updated_folder, atomic_folder])
def test_folder_after_a_killed_writer(tmp_path: Path, write: Writer) -> None:
    leftovers = [f".out.{platform.node()}-{process}.partial" for process in (999999999, os.getpid())] + [".out.old"]
    (tmp_path / "out").mkdir()
    for name in leftovers:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "half").write_text("half")
    with write(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
        (folder / "a").write_text("new")
    assert texts(tmp_path / "out") == {"a": "new"}
    assert not any((tmp_path / name).exists() for name in leftovers)


def test_what_another_machine_is_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with updated_folder(tmp_path / "out") as first:
        (first / "a").write_text("first")
        monkeypatch.setattr(platform, "node", lambda: "other-machine")
        monkeypatch.setattr(psutil, "pid_exists", lambda process: False)  # there is none of this number here
        with updated_folder(tmp_path / "out") as second:
            (second / "a").write_text("second")
        monkeypatch.undo()
        (first / "b").write_text("first")
    assert texts(tmp_path / "out") == {"a": "first", "b": "first"}
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_folder_comes_back_when_it_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, rename = tmp_path / "out", Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "full")
        return rename(path, target)

    with atomic_folder(out) as folder:
        (folder / "a").write_text("old")
    monkeypatch.setattr(shared.folders, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="full"), atomic_folder(out) as folder:
        (folder / "a").write_text("new")
    assert texts(out) == {"a": "old"}
    assert list(tmp_path.iterdir()) == [out]


def test_updated_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    with updated_folder(tmp_path / "link") as folder:
        (folder / "a").write_text("new")
    assert texts(tmp_path / "here") == {"a": "new"}
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("write", [updated_folder, atomic_folder])
def test_folder_cannot_replace_a_file(tmp_path: Path, write: Writer) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MatcherError, match=f"cannot write to {place}"), write(place):
            pytest.fail("too late to find out")
    assert (tmp_path / "file").read_text() == "mine"


# --- kills and power -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.fault(17, 34)
@pytest.mark.parametrize("way", ["exchange", "put aside"])
def test_folder_of_outputs_killed_at_every_step_is_old_or_new(tmp_path: Path, way: str) -> None:
    line = [sys.executable, "-c", KILLED, str(tmp_path), way]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    notes = {"notes.txt": "mine", "sub/deep.txt": "mine too"}
    old, new = notes | {"a": "old", "b": "old", "gone": "old"}, notes | {"a": "new", "b": "new"}
    seen = [after for after, *_ in outcomes]
    assert len(seen) > 20
    assert seen[0] == old
    assert seen[-1] == new
    whole = [old, new] if way == "exchange" else [old, new, None]
    assert all(after in whole for after in seen)
    assert [(then, names) for _, then, names in outcomes] == [(notes | {"a": "last", "b": "last"}, ["out"])] * len(seen)


@pytest.mark.fault(17)
@pytest.mark.parametrize("write", [updated_folder, atomic_folder])
@pytest.mark.parametrize("way", ["exchange", "put aside"])
def test_folder_is_on_the_disk_before_its_name(
    tmp_path: Path, write: Writer, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "put aside":
        monkeypatch.setattr(shared.folders, "_exchange", lambda one, other: False)
    disk = Disk(monkeypatch)
    for text in ("old", "new"):
        with write(tmp_path / "out") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "a").write_text(text)
            (folder / "b").write_text(text)
    assert len(disk.renamed) >= 2
    assert disk.lost == []


def test_updated_folder_keeps_what_comes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = shared.folders._replace

    def late(folder: Path, partial: Path) -> None:
        (folder / "answers.jsonl").write_text("late")
        replace(folder, partial)

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(shared.folders, "_replace", late)
    with updated_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("new")
    assert texts(tmp_path / "out") == {"a": "new", "answers.jsonl": "late"}


def test_two_writers_of_a_folder_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with updated_folder(tmp_path / "out") as first:
        (first / "a").write_text("first")
        monkeypatch.setattr(os, "getpid", os.getppid)  # a process that lives
        with updated_folder(tmp_path / "out") as second:
            (second / "a").write_text("second")
            (second / "b").write_text("second")
        monkeypatch.undo()
        (first / "b").write_text("first")
    assert texts(tmp_path / "out") == {"a": "first", "b": "first"}


@pytest.mark.fault(18)
@pytest.mark.parametrize("out", ["out", "new", "new/deep"])
def test_folder_without_rights_to_write_is_refused_beforehand(
    tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    require_replaceable(tmp_path / out)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # as root may write everywhere
    with pytest.raises(MatcherError, match=r"no rights to write to .*; name another place"):
        require_replaceable(tmp_path / out)


@pytest.mark.fault(34)
def test_folder_that_cannot_be_replaced_as_a_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    (here / "deep").mkdir(parents=True)
    monkeypatch.chdir(here / "deep")
    for place in (Path("."), here, here / "deep", tmp_path):
        with pytest.raises(MatcherError, match="the folder that the command was started in"):
            require_replaceable(place)
    require_replaceable(Path("new"))
    with pytest.raises(MatcherError, match="a mount point"):
        require_replaceable(Path("/proc"))
    monkeypatch.setattr(shared.folders, "MOST_OTHERS", 2)
    (tmp_path / "many").mkdir()
    for name in "ab":
        (tmp_path / "many" / name).touch()
    require_replaceable(tmp_path / "many")
    (tmp_path / "many" / "c").touch()
    with pytest.raises(MatcherError, match="more than 2 files"):
        require_replaceable(tmp_path / "many")


# --- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("out", "relation"),
    [
        ("read", "is the index"),
        ("read/", "is the index"),
        ("./x/../read", "is the index"),
        ("link", "is the index"),
        ("read/new/deep", "lies within the index"),
        ("link/new", "lies within the index"),
        (".", "contains the index"),
        ("", "contains the index"),
        ("above", "contains the index"),
    ],
)
def test_place_that_is_read_is_refused(
    tmp_path: Path, out: str, relation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("read")
    (tmp_path / "above").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MatcherError, match=relation):
        require_place(Path(out), [("the index", Path("read"))])


def test_place_of_another_letter_case_is_the_same_where_the_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samefile = os.path.samefile
    monkeypatch.setattr(os.path, "samefile", lambda a, b: samefile(str(a).lower(), str(b).lower()))
    folder = Path(str(tmp_path).lower())
    (tmp_path / "read").mkdir()
    if not folder.exists():
        pytest.skip("the temporary folder has capital letters")
    with pytest.raises(MatcherError, match="is the index"):
        require_place(tmp_path / "READ", [("the index", tmp_path / "read")])


def test_place_beside_what_is_read_is_fine(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    for out in ("reader", "rea", "new/deep", "read.csv"):
        require_place(tmp_path / out, [("the index", tmp_path / "read"), ("the table", tmp_path / "shop.csv")])


def test_place_beside_the_manifest_of_another_program_is_fine(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "Our shop", "start_url": "/"}')
    require_place(tmp_path / "matches", [])


@pytest.mark.fault(34)
@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["bundle.json", "settings.json"], "a bundle"),
        (["CURRENT.json"], "an index"),
        (["000001/manifest.json"], "an index"),
        (["manifest.json"], "a stage"),
        (["settings.json", "split/manifest.json"], "a run"),
    ],
)
def test_place_in_another_result_is_refused(tmp_path: Path, files: list[str], kind: str) -> None:
    there = tmp_path / "there"
    for name in files:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text('{\n  "stage": "split"}')
    assert kind_of(there) == kind
    for out in (there, there / "new" / "deep"):
        with pytest.raises(MatcherError, match=kind):
            require_place(out, [])
    require_place(there, [], own=kind)
    with pytest.raises(MatcherError, match=kind):
        require_place(there / "new", [], own=kind)
    require_place(tmp_path, [])
