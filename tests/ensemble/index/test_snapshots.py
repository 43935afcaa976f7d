import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from ensemble.index.snapshots import CURRENT, Snapshot, Snapshots
from shared.artifacts import damage, file_digest
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.run import MANIFEST
from tests.support.disk import Disk
from tests.support.paths import ROOT

# A writer that goes on for ever; each snapshot holds its own number in two files.
WRITER = """
import sys
from pathlib import Path
from ensemble.index.snapshots import Snapshots

snapshots = Snapshots(Path(sys.argv[1]))
with snapshots.locked():
    while True:
        present = snapshots.current()
        number = (present.number if present else 0) + 1

        def fill(folder):
            (folder / "part").mkdir()
            for name in ("one", "part/other"):
                (folder / name).write_text(str(number) * 20_000)

        snapshots.write(number - 1, {"number": number}, fill)
        print(number, flush=True)
"""


def write(snapshots: Snapshots, text: str) -> None:
    present = snapshots.current()
    fill = lambda folder: (folder / "text").write_text(text)  # noqa: E731
    with snapshots.locked():
        snapshots.write(present.number if present else 0, {"says": text}, fill)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    """Two snapshots, of which the second is the present one."""
    made = Snapshots(tmp_path / "index")
    write(made, "first")
    write(made, "second")
    return made


def test_a_folder_that_was_never_written_has_no_snapshot(tmp_path: Path) -> None:
    assert Snapshots(tmp_path / "none").current() is None
    assert not (tmp_path / "none").exists()


def test_the_present_snapshot_is_the_last_one_and_the_one_before_is_kept(snapshots: Snapshots) -> None:
    present = snapshots.current()
    assert present is not None
    assert (present.number, present.about, (present.folder / "text").read_text()) == (2, {"says": "second"}, "second")
    write(snapshots, "third")
    names = {path.name for path in snapshots.folder.iterdir()}
    assert names == {"000002", "000003", CURRENT, ".lock"}
    assert (present.folder / "text").read_text() == "second"  # for those who read it still


def test_a_reader_that_writers_overtake_reads_the_newest(snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(folder: Path, checksums: dict[str, str]) -> str | None:
        monkeypatch.setattr("ensemble.index.snapshots.damage", damage)
        for text in ("third", "fourth"):
            write(snapshots, text)
        return damage(folder, checksums)

    monkeypatch.setattr("ensemble.index.snapshots.damage", slow)
    present = snapshots.current()
    assert present is not None
    assert present.about == {"says": "fourth"}


def test_a_reader_that_writers_always_overtake_ends(snapshots: Snapshots) -> None:
    def load(snapshot: Snapshot) -> str:
        for text in ("next", "the one after"):
            write(snapshots, text)
        return (snapshot.folder / "text").read_text()

    with pytest.raises(MatcherError, match=r"was written to each of \d+ times that it was read; try again"):
        snapshots.read(load)


def test_a_snapshot_made_anew_is_another_one(snapshots: Snapshots) -> None:
    present = snapshots.current()
    assert present is not None
    assert snapshots.is_current(present)
    shutil.rmtree(snapshots.folder)
    assert not snapshots.is_current(present)
    write(snapshots, "anew")
    write(snapshots, "and again")
    again = snapshots.current()
    assert again is not None
    assert (again.number, snapshots.is_current(again), snapshots.is_current(present)) == (present.number, True, False)


def test_a_first_snapshot_is_there_though_its_writer_was_killed_before_it_named_it(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "index")
    write(snapshots, "first")
    (snapshots.folder / CURRENT).unlink()
    present = snapshots.current()
    assert present is not None
    assert present.about == {"says": "first"}
    write(snapshots, "second")
    assert (present.folder / "text").read_text() == "first"
    shutil.rmtree(snapshots.folder / "000002")
    (snapshots.folder / CURRENT).unlink()
    (present.folder / "text").write_text("altered")
    with pytest.raises(ArtifactError, match="is damaged"):
        snapshots.current()


@pytest.mark.fault(20, 32)
@pytest.mark.parametrize("content", ["[" * 100_000, '{"snapshot": [], "sha256": 1}', "{}", "[]", "null", ""])
def test_a_current_that_says_nothing_is_refused(snapshots: Snapshots, content: str) -> None:
    (snapshots.folder / CURRENT).write_text(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        snapshots.current()


@pytest.mark.fault(18)
@pytest.mark.parametrize("error", [OSError("disk full"), MatcherError("bad"), KeyboardInterrupt()], ids=repr)
def test_a_failed_write_leaves_the_present_snapshot(snapshots: Snapshots, error: BaseException) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(type(error)), snapshots.locked():
        snapshots.write(2, {}, fill)
    present = snapshots.current()
    assert present is not None
    assert present.number == 2
    assert {path.name for path in snapshots.folder.iterdir()} == {"000002", CURRENT, ".lock"}


@pytest.mark.fault(20)
@pytest.mark.parametrize("file", [CURRENT, f"000002/{MANIFEST}", "000002/text"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_whatever_was_altered_is_refused(snapshots: Snapshots, file: str, damage: str) -> None:
    path = snapshots.folder / file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:3] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ArtifactError, match="is damaged"):
        snapshots.current()


@pytest.mark.fault(33)
@pytest.mark.parametrize("name", ["../000002", "none", "000009", None, 2])
def test_a_name_that_leads_elsewhere_is_refused(snapshots: Snapshots, name: object) -> None:
    named = json.loads((snapshots.folder / CURRENT).read_text()) | {"snapshot": name}
    (snapshots.folder / CURRENT).write_text(json.dumps(named))
    with pytest.raises(ArtifactError, match="names no snapshot"):
        snapshots.current()


@pytest.mark.fault(34)
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    for attempt in (Snapshots(tmp_path).current, Snapshots(tmp_path).locked):
        with pytest.raises(MatcherError, match=r"photo\.jpg"):
            attempt()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(MatcherError, match="is a file"):
        Snapshots(tmp_path / "file").current()


@pytest.mark.fault(19)
def test_share_without_locks_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    snapshots = Snapshots(tmp_path / "index")
    for number, text in enumerate(("first", "second"), start=1):
        write(snapshots, text)
        with snapshots.locked():
            names = {path.name for path in snapshots.folder.iterdir()}
            assert ".lock.file" in names, names
            present = Snapshots(snapshots.folder).current()  # of a reader
            assert present is not None
            assert present.number == number
            with pytest.raises(MatcherError, match=r"in use by process"), snapshots.locked():
                pytest.fail("two in one folder")


@pytest.mark.parametrize("name", [".lock", ".lock.holder", ".lock.file.break.7.0a", ".filelock-probe-0a1b"])
def test_files_of_locks_are_part_of_an_index(snapshots: Snapshots, name: str) -> None:
    (snapshots.folder / name).touch()
    write(snapshots, "third")
    present = snapshots.current()
    assert present is not None
    assert present.about == {"says": "third"}


@pytest.mark.fault(17)
@pytest.mark.slow
def test_killed_at_any_moment_a_snapshot_is_whole(tmp_path: Path) -> None:
    snapshots, rng, before = Snapshots(tmp_path / "index"), np.random.default_rng(), 0
    for _ in range(8):
        line = [sys.executable, "-c", WRITER, str(snapshots.folder)]
        writer = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        said = writer.stdout.readline()  # after the kill before, the next writer goes on
        with pytest.raises(MatcherError, match="in use by process"), snapshots.locked():
            pass
        time.sleep(rng.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        said += writer.communicate()[0]
        done = [int(number) for number in said.split()]
        present = snapshots.current()
        assert present is not None
        assert done[0] == before + 1
        assert present.number in (done[-1], done[-1] + 1)
        texts = [(present.folder / name).read_text() for name in ("one", "part/other")]
        assert texts == [str(present.number) * 20_000] * 2
        before = present.number


@pytest.mark.fault(17)
def test_snapshot_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, disk = Snapshots(tmp_path / "index"), Disk(monkeypatch)
    for text in ("first", "second", "third"):
        write(made, text)
    assert disk.renamed.count(f"{CURRENT}.partial") == 3
    assert disk.lost == []


@pytest.mark.fault(33)
@pytest.mark.parametrize("name", ["000002", "000003", "000003.work", CURRENT, ".lock"])
def test_link_in_an_index_is_refused(snapshots: Snapshots, name: str, tmp_path: Path) -> None:
    outside, link = tmp_path / "outside", snapshots.folder / name
    if link.exists():
        link.rename(outside)
    else:
        outside.mkdir()
    link.symlink_to(outside)
    for use in (snapshots.current, lambda: write(snapshots, "next")):
        with pytest.raises(MatcherError, match="is a link, which is no part of an index; remove it"):
            use()
    assert outside.exists()


@pytest.mark.fault(20)
@pytest.mark.parametrize("other", [None, [], "x", {"about": [], "files": {}}, {"about": {}, "files": {"text": 1}}, {}])
def test_manifest_of_a_snapshot_that_is_something_else(snapshots: Snapshots, other: object) -> None:
    manifest = snapshots.folder / "000002" / MANIFEST
    manifest.write_text(json.dumps(other))
    entry = {"snapshot": "000002", "sha256": file_digest(manifest)}
    (snapshots.folder / CURRENT).write_text(json.dumps(entry))
    with pytest.raises(ArtifactError, match="is damaged"):
        snapshots.current()
