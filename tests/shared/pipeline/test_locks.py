"""One process at a time in a folder."""

import errno
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from shared.errors import MatcherError
from shared.pipeline.locks import HOLDER, LOCK, locked


def hold(folder: Path, pipe: Any) -> None:
    with locked(folder):
        pipe.send("held")
        pipe.recv()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """Another process that holds the folder."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    yield process
    if process.is_alive():
        ours.send("let go")
    process.join(60)


@pytest.mark.fault(19)
def test_second_process_fails_at_once_and_names_the_holder(
    tmp_path: Path, holder: multiprocessing.process.BaseProcess
) -> None:
    with pytest.raises(MatcherError, match=rf"in use by process {holder.pid} on .+"), locked(tmp_path):
        pytest.fail("two in one folder")


@pytest.mark.fault(19)
def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path, holder: multiprocessing.process.BaseProcess) -> None:
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join(60)
    assert (tmp_path / HOLDER).read_text().startswith(f"process {holder.pid}")
    with locked(tmp_path):
        assert (tmp_path / HOLDER).read_text().startswith(f"process {os.getpid()} ")
    assert not (tmp_path / HOLDER).exists()


@pytest.mark.fault(19, 33)
@pytest.mark.parametrize("name", [LOCK, HOLDER])
def test_lock_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("keep")
    for target in ("precious", "none"):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(MatcherError, match=rf"{re.escape(name)} is a link; remove it"), locked(tmp_path):
            pytest.fail("held")
        (tmp_path / name).unlink()
    assert (tmp_path / "precious").read_text() == "keep"
    assert not (tmp_path / "none").exists()


@pytest.mark.fault(19)
def test_lock_ends_with_its_block_however_that_ends(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bug"), locked(tmp_path):
        raise ValueError("bug")
    with locked(tmp_path):
        pass


def test_new_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with pytest.raises(MatcherError, match="bad"), locked(tmp_path / "run"):
        raise MatcherError("bad")
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "mine").touch()
    assert (tmp_path / "run" / "mine").exists()


def test_empty_folder_that_was_there_stays(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {LOCK}


@pytest.mark.fault(33)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
@pytest.mark.parametrize("name", [LOCK, HOLDER])
def test_lock_that_is_no_regular_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(MatcherError, match=rf"{re.escape(name)} is no regular file; remove it"), locked(tmp_path):
        pytest.fail("held")


@pytest.mark.fault(18)
def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(MatcherError, match=rf"cannot write to {place}: "), locked(place):
            pytest.fail("written nevertheless")


@pytest.mark.fault(18)
def test_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)  # root may write to any folder, whatever its mode
    with pytest.raises(MatcherError, match=r"cannot write to .*: Read-only"), locked(tmp_path):
        pytest.fail("written nevertheless")


@pytest.mark.fault(19)
def test_share_without_locks_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with locked(tmp_path):
        message = rf"in use by process {os.getpid()} .*remove .*{LOCK}\.file"
        with pytest.raises(MatcherError, match=message), locked(tmp_path):
            pytest.fail("two in one folder")
        with locked(tmp_path, ".lock.other"):
            pass
    with locked(tmp_path):
        pass


def test_folder_that_others_may_write_to_stays(tmp_path: Path) -> None:
    with locked(tmp_path / "run", tidy=False):
        pass
    assert (tmp_path / "run").exists()
