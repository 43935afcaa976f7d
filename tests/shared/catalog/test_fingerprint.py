"""The fingerprint of a catalog, without and with a memo of image digests."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest

import shared.catalog.image_memo
import shared.catalog.reader
from shared.catalog.config import DataConfig
from shared.catalog.image_memo import ImageMemo
from shared.catalog.images import read_bytes
from shared.catalog.reader import catalog_fingerprint, read_catalog
from shared.catalog.source import find_source
from shared.catalog.tables import read_table
from shared.compute import ComputeConfig
from tests.support.listings import draw, folder


def fingerprint(data: Path, memo: ImageMemo | None = None) -> dict[str, str]:
    return catalog_fingerprint(find_source(data, DataConfig()), DataConfig(), memo)


@pytest.mark.fault(22)
def test_fingerprint_follows_content_alone(tmp_path: Path) -> None:
    for n in range(3):
        draw(tmp_path / "train_images" / f"{n}.png", n)
    data = folder(tmp_path, ["0.png", "1.png", "later.png", "../train.csv", ""])
    before = fingerprint(data)
    assert before == fingerprint(data)

    os.utime(tmp_path / "train.csv", (1, 1))
    os.utime(tmp_path / "train_images" / "0.png", (1, 1))
    draw(tmp_path / "train_images" / "2.png", 9)  # not named
    assert fingerprint(data) == before

    (tmp_path / "train_images" / "1.png").write_bytes((tmp_path / "train_images" / "0.png").read_bytes())
    changed = fingerprint(data)
    assert changed["table"] == before["table"]
    assert changed["images"] != before["images"]

    draw(tmp_path / "train_images" / "later.png", 5)
    assert fingerprint(data)["images"] not in (before["images"], changed["images"])


def test_fingerprint_of_the_table(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    before = fingerprint(folder(tmp_path, ["a.png", ""]))
    after = fingerprint(folder(tmp_path, ["", "a.png"]))
    assert before["table"] != after["table"]
    assert before["images"] == after["images"]


@pytest.mark.fault(22)
def test_swapped_images_change_the_fingerprint(tmp_path: Path) -> None:
    images = tmp_path / "train_images"
    draw(images / "a.png", 1)
    draw(images / "b.png", 2)
    data = folder(tmp_path, ["a.png", "b.png"])
    before = fingerprint(data)
    (images / "a.png").rename(images / "c.png")
    (images / "b.png").rename(images / "a.png")
    (images / "c.png").rename(images / "b.png")
    assert fingerprint(data)["images"] != before["images"]


def test_a_table_read_before_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "train_images" / "a.png")
    source, config, compute = find_source(folder(tmp_path, ["a.png"]), DataConfig()), DataConfig(), ComputeConfig()
    expected = catalog_fingerprint(source, config), read_catalog(source, config, compute, labeled=True).table
    table = read_table(source.table)
    monkeypatch.setattr(shared.catalog.reader, "read_table", lambda path: pytest.fail("read again"))
    assert catalog_fingerprint(source, config, table=table) == expected[0]
    assert read_catalog(source, config, compute, labeled=True, table=table).table == expected[1]


# --- with a memo ------------------------------------------------------------------------------------------------------


def edit(path: Path, rng: random.Random) -> None:
    """Change an image folder at random, such that sizes and times often stay as they were."""
    files = sorted(path.iterdir())
    file, other = rng.choice(files), rng.choice(files)
    mtime_ns = rng.choice([file.stat().st_mtime_ns, 10**18, 10**18 + 1])
    time.sleep(0.02)  # longer than a tick of the file system
    match rng.randrange(5):
        case 0:
            file.write_bytes(rng.randbytes(4))
        case 1:
            file.write_bytes(rng.randbytes(4))
            os.utime(file, ns=(mtime_ns, mtime_ns))
        case 2:
            os.utime(file, ns=(mtime_ns, mtime_ns))
        case 3 if file != other:  # the two change places
            file.rename(path / "aside")
            other.rename(file)
            (path / "aside").rename(other)
        case 4 if file != (copy := path / f"{rng.randrange(6)}.png"):
            shutil.copy2(file, copy)


@pytest.mark.parametrize("seed", range(5))
def test_a_memo_changes_no_fingerprint(seed: int, tmp_path: Path) -> None:
    rng, images = random.Random(seed), tmp_path / "train_images"
    images.mkdir()
    for n in range(4):
        (images / f"{n}.png").write_bytes(rng.randbytes(4))
        os.utime(images / f"{n}.png", ns=(10**18, 10**18))
    data = folder(tmp_path, [f"{n}.png" for n in range(6)])
    distinct = set()
    for _ in range(25):
        memo = ImageMemo.load(tmp_path / "memo.json")
        assert fingerprint(data, memo) == fingerprint(data)
        memo.save(tmp_path / "memo.json")
        distinct.add(fingerprint(data)["images"])
        edit(images, rng)
    assert len(distinct) > 10


def test_a_memo_saves_reading_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "train_images" / "a.png")
    os.utime(tmp_path / "train_images" / "a.png", (1, 1))
    data, memo = folder(tmp_path, ["a.png", "none.png"]), ImageMemo()
    before = fingerprint(data, memo)
    paths: list[Path] = []
    monkeypatch.setattr(shared.catalog.image_memo, "read_bytes", lambda path: paths.append(path) or read_bytes(path))
    assert fingerprint(data, memo) == before
    assert paths == []


def test_images_of_equal_names_in_two_folders_share_a_memo(tmp_path: Path) -> None:
    memo = ImageMemo()
    for kind in ("one", "two"):
        image = tmp_path / kind / "train_images" / "a.png"
        image.parent.mkdir(parents=True)
        image.write_bytes(kind.encode())
        os.utime(image, ns=(10**18, 10**18))
        assert fingerprint(folder(tmp_path / kind, ["a.png"]), memo) == fingerprint(tmp_path / kind)


def test_an_image_that_is_gone_is_not_remembered(tmp_path: Path) -> None:
    image, memo = tmp_path / "train_images" / "a.png", ImageMemo()
    draw(image)
    os.utime(image, (1, 1))
    before = fingerprint(folder(tmp_path, ["a.png"]), memo)
    image.unlink()
    assert fingerprint(tmp_path, memo) == fingerprint(tmp_path) != before
