"""A memo of image digests: what is hashed again, and what its file may hold."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import shared.catalog.image_memo
from shared.catalog import images
from shared.catalog.image_memo import ImageMemo
from shared.catalog.images import ImageFault

LONG_AGO = 10**18  # nanoseconds


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image file that was written long ago."""
    (tmp_path / "a.jpg").write_bytes(b"1234")
    os.utime(tmp_path / "a.jpg", ns=(LONG_AGO, LONG_AGO))
    return tmp_path / "a.jpg"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that were read, in order."""
    paths: list[Path] = []

    def read(path: Path) -> bytes:
        if path.suffix != ".json":
            paths.append(path)
        return images.read_bytes(path)

    monkeypatch.setattr(shared.catalog.image_memo, "read_bytes", read)
    return paths


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_unchanged_file_is_read_once(image: Path, reads: list[Path], tmp_path: Path) -> None:
    for _ in range(3):
        memo = ImageMemo.load(tmp_path / "deep" / "memo.json")
        assert [memo.sha256(image), memo.sha256(image)] == [digest(b"1234")] * 2
        memo.save(tmp_path / "deep" / "memo.json")
    assert reads == [image]


def test_processes_may_save_at_once(image: Path, tmp_path: Path) -> None:
    def save(number: int) -> None:
        memo = ImageMemo()
        memo.sha256(image)
        for _ in range(30):
            memo._changed = True
            memo.save(tmp_path / "memo.json")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    assert ImageMemo.load(tmp_path / "memo.json").sha256(image) == digest(b"1234")


@pytest.mark.fault(22)
def test_a_changed_time_alone_hashes_again(image: Path, reads: list[Path]) -> None:
    memo = ImageMemo()
    memo.sha256(image)
    os.utime(image, ns=(LONG_AGO + 1, LONG_AGO + 1))
    assert [memo.sha256(image), memo.sha256(image)] == [digest(b"1234")] * 2
    assert len(reads) == 2


@pytest.mark.parametrize(("data", "mtime_ns"), [(b"4321", LONG_AGO + 1), (b"12345", LONG_AGO)])
def test_a_changed_size_or_time_is_enough(image: Path, data: bytes, mtime_ns: int) -> None:
    memo = ImageMemo()
    memo.sha256(image)
    image.write_bytes(data)
    os.utime(image, ns=(mtime_ns, mtime_ns))
    assert memo.sha256(image) == digest(data)


@pytest.mark.fault(22)
def test_an_edit_whose_time_is_set_back_is_seen(image: Path) -> None:
    memo = ImageMemo()
    memo.sha256(image)
    time.sleep(0.02)  # longer than a tick of the file system
    image.write_bytes(b"4321")
    os.utime(image, ns=(LONG_AGO, LONG_AGO))
    assert memo.sha256(image) == digest(b"4321")


def test_another_file_of_the_same_name_size_and_time_is_read(image: Path, tmp_path: Path) -> None:
    memo = ImageMemo()
    memo.sha256(image)
    (tmp_path / "b.jpg").write_bytes(b"4321")
    os.utime(tmp_path / "b.jpg", ns=(LONG_AGO, LONG_AGO))
    (tmp_path / "b.jpg").replace(image)
    assert memo.sha256(image) == digest(b"4321")


@pytest.mark.fault(22)
@pytest.mark.parametrize("age_s", [0, 1.5, -3600])
def test_an_edit_on_the_same_tick_is_seen(
    image: Path, tmp_path: Path, age_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = time.time_ns() - round(age_s * 10**9)
    os.utime(image, ns=(tick, tick))
    status = image.stat()
    monkeypatch.setattr(shared.catalog.image_memo, "_status", lambda path: status)  # as if the clock stood still
    for data in (b"1111", b"2222"):
        image.write_bytes(data)
        memo = ImageMemo.load(tmp_path / "memo.json")
        assert memo.sha256(image) == digest(data)
        memo.save(tmp_path / "memo.json")


def test_a_file_hashed_long_after_its_last_edit_is_trusted(image: Path, reads: list[Path]) -> None:
    memo, earlier = ImageMemo(), time.time_ns() - 3 * 10**9
    os.utime(image, ns=(earlier, earlier))
    memo.sha256(image)
    memo.sha256(image)
    assert reads == [image]


@pytest.mark.fault(5)
@pytest.mark.parametrize("name", ["fifo", "folder", "none", "a\0b"])
def test_what_is_no_file_is_refused_without_waiting(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for _ in range(2):
        with pytest.raises(ImageFault):
            ImageMemo().sha256(tmp_path / name)


GOOD = {"format": "image digests 1", "files": {"/a.jpg": [4, LONG_AGO, LONG_AGO, 7, digest(b"1234")]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(GOOD).encode()[:-9],
        json.dumps([GOOD]).encode(),
        json.dumps(GOOD["files"]).encode(),
        json.dumps(GOOD | {"format": "image digests 2"}).encode(),
        json.dumps(GOOD | {"more": 1}).encode(),
        *(
            json.dumps(GOOD | {"files": {"/a.jpg": entry}}).encode()
            for entry in (
                None,
                [4, 5, 6, 7],
                [4.5, 5, 6, 7, digest(b"")],
                ["4", 5, 6, 7, digest(b"")],
                [4, 5, 6, 7, "x"],
            )
        ),
    ],
)
def test_a_damaged_or_foreign_file_is_made_anew(content: bytes, image: Path, reads: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "memo.json"
    file.write_bytes(content)
    for _ in range(2):
        memo = ImageMemo.load(file)
        assert memo.sha256(image) == digest(b"1234")
        memo.save(file)
    assert reads == [image]


@pytest.mark.fault(33)
def test_a_memo_that_is_no_file_is_made_anew_without_waiting(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "memo.json"
    os.mkfifo(file)
    memo = ImageMemo.load(file)
    assert memo.sha256(image) == digest(b"1234")
    memo.save(file)
    assert file.is_file()


def test_a_memo_is_written_only_when_it_changed(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "memo.json"
    memo = ImageMemo()
    memo.sha256(image)
    memo.save(file)
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    again = ImageMemo.load(file)
    again.sha256(image)
    again.save(file)
    assert file.stat().st_mtime_ns == LONG_AGO
    image.write_bytes(b"4321")
    again.sha256(image)
    again.save(file)
    assert file.stat().st_mtime_ns != LONG_AGO


def test_a_killed_save_leaves_the_memo_of_before(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, memo = tmp_path / "memo.json", ImageMemo()
    memo.save(file)
    before = file.read_bytes()
    memo.sha256(image)

    def killed(*paths: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        memo.save(file)
    assert file.read_bytes() == before
