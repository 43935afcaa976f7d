"""Images that a table names: their facts stand in the catalog, or why they cannot be used."""

import os
from collections import Counter
from pathlib import Path

import imagehash
import pytest

import shared.catalog.image_folder
from shared.catalog.config import DataConfig
from shared.catalog.image_folder import LINK
from shared.catalog.reader import catalog_fingerprint
from shared.catalog.source import find_source
from shared.catalog.unusable_images import unusable_images, unusable_metrics, unusable_warning
from tests.support.listings import HASH, draw, fault_of, folder, read


def test_images_are_measured(tmp_path: Path) -> None:
    image = draw(tmp_path / "train_images" / "a.png")
    path = tmp_path / "train_images" / "a.png"
    catalog = read(folder(tmp_path, ["a.png", ""], image_phash=HASH))
    first, second = catalog.table.to_pylist()
    assert (first["width"], first["height"], first["bytes"]) == (60, 40, path.stat().st_size)
    assert f"{first['phash']:016x}" == str(imagehash.phash(image))  # of the file, not the one given
    assert first["image_fault"] is None
    assert (second["phash"], second["image_sha"], second["image_fault"]) == (int(HASH, 16), None, None)
    assert catalog.image_folder == tmp_path / "train_images"
    assert catalog.image_paths() == [path, None]


@pytest.mark.fault(5, 6)
def test_bad_images_keep_their_row_and_say_why(tmp_path: Path) -> None:
    images = tmp_path / "train_images"
    draw(images / "ok.jpg")
    draw(images / "deep" / "ok.png")
    draw(tmp_path / "secret.png")
    data = (images / "ok.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(data[: len(data) // 2])
    (images / "page.jpg").write_text("<html>")
    (images / "empty.jpg").touch()
    (images / "folder.jpg").mkdir()
    os.mkfifo(images / "fifo.jpg")
    (images / "inside.jpg").symlink_to("ok.jpg")
    (images / "outside.jpg").symlink_to(tmp_path / "secret.png")
    (images / "way").symlink_to(tmp_path)
    (images / "loop.jpg").symlink_to("loop.jpg")
    (images / "device.jpg").symlink_to("/dev/zero")
    outside = "outside the image folder"
    expected = {
        "ok.jpg": None,
        "deep/ok.png": None,
        "inside.jpg": None,
        "": None,
        "cut.jpg": "truncated",
        "page.jpg": "not an image but an HTML page",
        "empty.jpg": "empty file",
        "folder.jpg": "not a regular file",
        "fifo.jpg": "not a regular file",
        "none.jpg": "no such file",
        "../secret.png": outside,
        "deep/../ok.jpg": outside,
        str(tmp_path / "secret.png"): outside,
        str(images / "ok.jpg"): outside,
        "outside.jpg": LINK,
        "way/secret.png": LINK,
        "device.jpg": LINK,
    }
    catalog = read(folder(tmp_path, [*expected, "loop.jpg", "a\0b", "x" * 300], image_phash=HASH))
    faults = catalog.column("image_fault").tolist()
    assert dict(zip(expected, faults, strict=False)) == expected
    assert all(fault.startswith("cannot be opened") for fault in faults[-3:])
    assert catalog.column("image").tolist()[:3] == [*expected][:3]
    assert catalog.has_image.tolist() == [
        name in ("ok.jpg", "deep/ok.png", "inside.jpg") for name in catalog.column("image")
    ]
    assert all(phash == int(HASH, 16) for phash in catalog.phashes[~catalog.has_image])


@pytest.mark.fault(7)
def test_too_many_pixels(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    catalog = read(folder(tmp_path, ["a.png"]), max_pixels=2000)
    assert catalog.column("image_fault").tolist() == ["too large: 0 megapixels"]


@pytest.mark.fault(6, 36)
def test_every_image_bad_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "train_images").mkdir()
    (tmp_path / "train_images" / "a.jpg").touch()
    catalog = read(folder(tmp_path, ["a.jpg", "b.jpg"]))
    assert catalog.column("image_fault").tolist() == ["empty file", "no such file"]
    first, second = catalog.ids
    assert unusable_images(catalog) == (
        f"images that cannot be used 2 · empty file 1 (such as {first}) · no such file 1 (such as {second})"
    )
    assert unusable_images(read(tmp_path, image_column="")) is None


def test_names_that_all_lead_out_of_the_image_folder_are_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.jpg")
    message = fault_of(folder(tmp_path, ["/home/me/photos/a.jpg", "C:\\photos\\b.jpg", "../a.jpg"]))
    assert "names 3 images (/home/me/photos/a.jpg, …), all of them outside of" in message
    assert "write the names as they are seen from that folder" in message


def test_an_image_folder_without_the_images_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "other.png")
    message = fault_of(folder(tmp_path, ["a.jpg", "b.jpg", "a.jpg", ""]))
    assert "names 2 images (a.jpg, …), none of them is in" in message
    assert "--data.images=" in message
    assert read(tmp_path, image_column="").has_image.tolist() == [False] * 4


@pytest.mark.fault(36)
def test_no_image_folder_is_none(tmp_path: Path) -> None:
    for data in (folder(tmp_path, ["a.jpg", ""], image_phash=HASH), tmp_path / "train.csv"):
        catalog = read(data)
        assert catalog.column("image_fault").tolist() == ["no image folder", None]
        reason = f"no image folder 1 (such as {catalog.ids[0]})"
        line = f"images that cannot be used 1 · {reason} (--data.images=FOLDER names one)"
        assert unusable_images(catalog) == line
        assert catalog.has_phash.tolist() == [True, True]
        assert catalog.image_folder is None


@pytest.mark.fault(25)
def test_each_file_is_decoded_once_whatever_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{n % 7}.png" for n in range(30)]
    for n in range(7):
        draw(tmp_path / "train_images" / f"{n}.png", n)
    decoded: list[str] = []
    inspect = shared.catalog.images.inspect
    monkeypatch.setattr(
        shared.catalog.image_folder, "inspect", lambda path, limit: decoded.append(path.name) or inspect(path, limit)
    )
    tables = [read(folder(tmp_path, names), threads=threads).table for threads in (1, 4)]
    assert tables[0].equals(tables[1])
    assert Counter(decoded) == {f"{n}.png": 2 for n in range(7)}
    shas = tables[0].column("image_sha").to_pylist()
    assert [shas[n % 7] for n in range(30)] == shas
    assert len(set(shas)) == 7


def in_another_spelling(tmp_path: Path) -> Path:
    for name in ("A.PNG", "sub/b.png"):
        draw(tmp_path / "train_images" / name, len(name))
    return folder(tmp_path, ["a.png", "sub\\b.png"])


@pytest.mark.fault(5)
def test_names_in_another_spelling_are_read_digested_and_written_as_the_files(tmp_path: Path) -> None:
    catalog = read(in_another_spelling(tmp_path))
    assert catalog.has_image.all()
    assert catalog.column("image").tolist() == ["A.PNG", "sub/b.png"]
    assert all(path.is_file() for path in catalog.image_paths())
    source = find_source(tmp_path, DataConfig())
    before = catalog_fingerprint(source, DataConfig())
    draw(tmp_path / "train_images" / "A.PNG", 9)
    assert catalog_fingerprint(source, DataConfig())["images"] != before["images"]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A catalog of which both images are links out of the image folder, as DVC makes them."""
    for name in ("a.png", "b.png"):
        draw(tmp_path / "cache" / name, ord(name[0]) % 7)
        (tmp_path / "train_images").mkdir(exist_ok=True)
        (tmp_path / "train_images" / name).symlink_to(tmp_path / "cache" / name)
    return folder(tmp_path, ["a.png", "b.png"])


@pytest.mark.fault(5, 33, 36)
def test_images_that_are_all_links_out_of_the_folder_are_an_error(linked: Path) -> None:
    message = fault_of(linked)
    assert "names 2 images (a.png, …), of which 2 are links to files outside of" in message
    assert "--data.follow_links=true" in message
    catalog = read(linked, follow_links=True)
    assert catalog.has_image.all()
    assert catalog.column("image").tolist() == ["a.png", "b.png"]


@pytest.mark.fault(33, 36)
def test_some_links_out_of_the_folder_are_named_with_the_setting(linked: Path) -> None:
    draw(linked / "train_images" / "c.png")
    catalog = read(folder(linked, ["a.png", "c.png"]))
    assert catalog.has_image.tolist() == [False, True]
    assert unusable_images(catalog) == (
        "images that cannot be used 1 · a link out of the image folder, not followed without data.follow_links=true 1 "
        "(such as 0)"
    )
    assert unusable_metrics(catalog)["images_that_cannot_be_used"].startswith("1 of 2: a link out of")


ADDRESS = "https://cdn.example.com/photos/a.jpg?x=1"


@pytest.mark.parametrize("names", [[ADDRESS, ADDRESS], ["//cdn.example.com/photos/a.jpg", " HTTP://example.com/b", ""]])
@pytest.mark.fault(36)
def test_addresses_instead_of_files_are_an_error_that_says_how_to_name_files(tmp_path: Path, names: list[str]) -> None:
    for with_folder in (False, True):
        if with_folder:
            (tmp_path / "train_images").mkdir()
        message = fault_of(folder(tmp_path, names))
        assert "URLs (" in message
        assert "images must be files; download them" in message
        assert "such as a.jpg, into the column image; or use --data.image_column=" in message
        assert "--data.images=" not in message


@pytest.mark.fault(36)
def test_some_addresses_among_files_are_faults_of_their_rows(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    catalog = read(folder(tmp_path, ["a.png", ADDRESS]))
    assert catalog.column("image_fault").tolist() == [None, "a URL: images must be files"]


@pytest.mark.fault(36)
def test_a_warning_of_many_unusable_images_and_none_of_few(tmp_path: Path) -> None:
    draw(tmp_path / "train_images" / "a.png")
    many = read(folder(tmp_path, ["a.png", *(f"{n}.jpg" for n in range(19))]))
    warning = unusable_warning(many)
    assert warning == (
        "warning: 19 of 20 images cannot be used: no such file 19 (such as 1). These listings are matched without"
    )
    assert unusable_warning(read(folder(tmp_path, ["a.png"] * 20 + ["b.jpg"]))) is None
    assert unusable_warning(read(folder(tmp_path, ["a.png"] * 18 + ["b.jpg"]))) is not None
