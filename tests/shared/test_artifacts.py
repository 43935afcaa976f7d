"""Files that are whole or not there."""

import errno
import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import shared.artifacts
from shared.artifacts import (
    atomic_file,
    atomic_folder,
    damage,
    digest,
    file_digest,
    read_json,
    updated_folder,
    write_json,
)
from shared.errors import ArtifactError, MatcherError

Writer = Callable[[Path], AbstractContextManager[Path]]
ERRORS = [MatcherError("bad"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()]


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_half(write: Writer, place: Path, error: BaseException) -> None:
    with write(place) as partial:
        (partial / "a" if partial.is_dir() else partial).write_text("half")
        raise error


# --- digests ---------------------------------------------------------------------------------------------------------


def test_digest_ignores_the_order_of_keys_alone() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest([1, 2]) != digest([2, 1])
    assert len(digest(None)) == 64


def test_digest_of_what_json_writes_alike() -> None:
    assert digest({"pair": (1, 2), "path": Path("x"), "é": "ü"}) == digest({"pair": [1, 2], "path": "x", "é": "ü"})


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    assert file_digest(tmp_path / "x") == hashlib.sha256(b"content").hexdigest()


def test_damage_names_the_first_file(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    files = {name: file_digest(tmp_path / name) for name in ("a", "b", "c")}
    assert damage(tmp_path, files) is None
    (tmp_path / "b").write_text("other")
    (tmp_path / "c").unlink()
    assert damage(tmp_path, files) == "b does not have the checksum it was written with"
    assert damage(tmp_path, {"c": files["c"]}) == "c is missing"
    (tmp_path / "c").symlink_to(tmp_path / "a")
    assert damage(tmp_path, {"c": files["a"]}) == "c is a link"


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
def test_atomic_file(tmp_path: Path, error: BaseException) -> None:
    for text in ("old", "new"):
        with atomic_file(tmp_path / "x") as partial:
            partial.write_text(text)
            assert texts(tmp_path).get("x") == (None if text == "old" else "old")
    with pytest.raises(type(error)):
        write_half(atomic_file, tmp_path / "x", error)
    assert texts(tmp_path) == {"x": "new"}


@pytest.mark.fault(17)
def test_atomic_file_syncs_before_it_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        shared.artifacts, "to_disk", lambda path: synced.append((path.read_text(), (tmp_path / "x").exists()))
    )
    with atomic_file(tmp_path / "x") as partial:
        partial.write_text("content")
    assert synced == [("content", False)]


def test_to_disk_takes_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for path in (tmp_path, tmp_path / "x"):
        shared.artifacts.to_disk(path)
    with pytest.raises(FileNotFoundError):
        shared.artifacts.to_disk(tmp_path / "none")


@pytest.mark.fault(18)
def test_write_json_whole_or_not_at_all(tmp_path: Path) -> None:
    class Broken:
        def __str__(self) -> str:
            raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2.5, None, "é"], "b": Path("p")})
    assert json.loads(path.read_text(encoding="utf-8")) == read_json(path) == {"a": [1, 2.5, None, "é"], "b": "p"}
    with pytest.raises(OSError, match="full"):
        write_json(path, {"a": Broken()})
    assert read_json(path)["b"] == "p"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[1]", "it holds a list, and an object is needed"),
        (b"null", "it holds a NoneType"),
        (b"\xff\xfe", "can't decode"),
        (b"[" * 100_000, "recursion"),
        (None, "No such file"),
    ],
)
def test_read_json_damaged(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"x.json is damaged \(.*{fault}.*\)$"):
        read_json(path)
    with pytest.raises(ArtifactError, match=r"; remove it$"):
        read_json(path, "remove it")


@pytest.mark.fault(32)
def test_read_json_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    monkeypatch.setattr(shared.artifacts, "MAX_JSON_BYTES", 5)
    with pytest.raises(ArtifactError, match="it is larger than 5 bytes"):
        read_json(tmp_path / "x.json")


# --- folders ---------------------------------------------------------------------------------------------------------


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


@pytest.mark.fault(18)
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


@pytest.mark.fault(17)
@pytest.mark.parametrize("write", [updated_folder, atomic_folder])
def test_folder_after_a_killed_writer(tmp_path: Path, write: Writer) -> None:
    leftovers = ["out/.partial"] if write is updated_folder else [".out.partial", ".out.old"]
    for name in leftovers:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "half").write_text("half")
    with write(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
        (folder / "a").write_text("new")
    assert texts(tmp_path / "out") == {"a": "new"}
    assert not any((tmp_path / name).exists() for name in leftovers)


def test_atomic_folder_comes_back_when_it_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, rename = tmp_path / "out", Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "full")
        return rename(path, target)

    with atomic_folder(out) as folder:
        (folder / "a").write_text("old")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="full"), atomic_folder(out) as folder:
        (folder / "a").write_text("new")
    assert texts(out) == {"a": "old"}
    assert list(tmp_path.iterdir()) == [out]


def test_updated_folder_may_be_the_current_one_or_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for place in (Path("."), tmp_path / "link"):
        with updated_folder(place) as folder:
            (folder / "a").write_text(str(place))
        assert (tmp_path / "here" / "a").read_text() == str(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "link"]


@pytest.mark.parametrize("write", [updated_folder, atomic_folder])
def test_folder_cannot_replace_a_file(tmp_path: Path, write: Writer) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MatcherError, match=f"cannot write to {place}"), write(place):
            pytest.fail("too late to find out")
    assert (tmp_path / "file").read_text() == "mine"


def test_atomic_file_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("keep")
    (tmp_path / "a.json.partial").symlink_to(outside)
    write_json(tmp_path / "a.json", {"b": 1})
    assert outside.read_text() == "keep"
    assert not (tmp_path / "a.json").is_symlink()
    assert read_json(tmp_path / "a.json") == {"b": 1}
