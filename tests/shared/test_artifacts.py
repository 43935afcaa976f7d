"""Files that are whole or not there."""

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import shared.artifacts
from shared.artifacts import (
    atomic_file,
    damage,
    digest,
    file_digest,
    parse_json,
    read_json,
    reading,
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
    assert damage(tmp_path, {"c": files["a"]}) == "c is a link, or in a folder that is one"


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

    def sync(path: Path) -> None:
        synced.append(("folder" if path.is_dir() else path.read_text(), (tmp_path / "x").exists()))

    monkeypatch.setattr(shared.artifacts, "to_disk", sync)
    with atomic_file(tmp_path / "x") as partial:
        partial.write_text("content")
    assert synced == [("content", False), ("folder", True)]


def test_to_disk_takes_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for path in (tmp_path, tmp_path / "x"):
        shared.artifacts.to_disk(path)
    with pytest.raises(FileNotFoundError):
        shared.artifacts.to_disk(tmp_path / "none")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_to_disk_where_the_file_system_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    number = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_json(tmp_path / "a.json", {"a": 2})
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_out_of_memory_is_no_damage(error: Exception) -> None:
    with pytest.raises(type(error)), reading(Path("a.json"), "remove it"):
        raise error


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_error_of_the_system_is_no_damage(number: int) -> None:
    with pytest.raises(OSError, match="told by the system"), reading(Path("a.json"), "remove it"):
        raise OSError(number, "told by the system", "a.json")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, None])
def test_error_of_a_file_is_damage(number: int | None) -> None:
    with (
        pytest.raises(ArtifactError, match=r"a\.json is damaged \(.*bad.*\); remove it"),
        reading(Path("a.json"), "remove it"),
    ):
        raise OSError("bad") if number is None else OSError(number, "bad", "a.json")


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
        (b"[" * 100_000, "nested deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper than 64"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' twice"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1e999}', "1e999 is not a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
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
def test_read_json_nested_as_deep_as_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a":' * 63 + b"[1]" + b"}" * 63)
    assert list(read_json(path)) == ["a"]


@pytest.mark.fault(32)
def test_repeated_key_among_very_many_is_found_in_time_proportional_to_their_number() -> None:
    text = "{" + ", ".join(f'"{number}": 0' for number in range(100_000)) + ', "99999": 1}'  # in pairs: 5 * 10^9
    with pytest.raises(ValueError, match="the key '99999' twice"):
        parse_json(text.encode())


@pytest.mark.fault(33)
def test_read_json_follows_no_link_and_waits_for_nobody(tmp_path: Path) -> None:
    write_json(tmp_path / "secret.json", {"a": 1})
    (tmp_path / "link.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "folder.json").mkdir()
    for name, fault in (("link", "it is a link"), ("fifo", "no regular file"), ("folder", "directory")):
        with pytest.raises(ArtifactError, match=fault):
            read_json(tmp_path / f"{name}.json")


def test_write_json_writes_no_number_that_json_does_not_have(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [math.nan, (1.5, -math.inf)], "b": {"c": math.inf}})
    assert read_json(tmp_path / "x.json") == {"a": [None, [1.5, None]], "b": {"c": None}}


@pytest.mark.fault(33)
def test_damage_follows_no_link_and_no_name_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a").write_text("a")
    (tmp_path / "folder" / "sub").symlink_to(tmp_path / "outside")
    sha = file_digest(tmp_path / "outside" / "a")
    assert damage(tmp_path / "folder", {"sub/a": sha}) == "sub/a is a link, or in a folder that is one"
    for name in ("../outside/a", str(tmp_path / "outside" / "a"), "sub/../../outside/a", "", "a\0b", "..\\outside\\a"):
        assert "is no name of a file in it" in (damage(tmp_path / "folder", {name: sha}) or "")


def test_read_json_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    monkeypatch.setattr(shared.artifacts, "MAX_JSON_BYTES", 5)
    with pytest.raises(ArtifactError, match="it is larger than 5 bytes"):
        read_json(tmp_path / "x.json")


def test_atomic_file_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.write_text("keep")
    (tmp_path / "a.json.partial").symlink_to(outside)
    write_json(tmp_path / "a.json", {"b": 1})
    assert outside.read_text() == "keep"
    assert not (tmp_path / "a.json").is_symlink()
    assert read_json(tmp_path / "a.json") == {"b": 1}
