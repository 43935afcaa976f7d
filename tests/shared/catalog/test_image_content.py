"""What a file holds: no image, an image of a kind that is not read, or one with a part missing or too much."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shared.catalog.images
from shared.catalog.image_kinds import reason_of
from shared.catalog.images import ImageFault, inspect, open_image
from tests.support.images import MAX, distance, encode, photo


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!doctype html><title>404</title>", "not an image but an HTML page"),
        (b"\0" * 5000, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
    ],
)
def test_what_is_no_image(data: bytes, reason: str) -> None:
    with pytest.raises(ImageFault, match=f"^{reason}$"):
        open_image(data, MAX)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not supported; install pillow-heif or convert it to JPEG"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC is not supported"),
        (b"\0\0\0\x1cftypMiHB\0\0\0\0miafheix", "HEIC is not supported"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "raw file is not supported"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw file is not supported"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2", "a video"),
        (b"8BPS\0\1", "a Photoshop file is not supported"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL is not supported"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<svg width='1'>", "SVG is not supported"),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="">', "SVG is not supported"),
        (b"\xef\xbb\xbf \n<!DOCTYPE HTML><title>", "an HTML page"),
        (b'{"error": "not found"}', "JSON"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a Git LFS pointer; git lfs pull fetches"),
        (b"/annex/objects/SHA256E-s9--4d7a.jpg\n", "a git-annex pointer; git annex get fetches"),
        (b"PK\3\4", "a ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\xff\xd8\xff\xe0", "damaged JPEG"),
        (b"\x89PNG\r\n\x1a\nIHDR", "damaged PNG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "damaged AVIF"),
        (b"404 page not found", "not an image"),
    ],
)
@pytest.mark.fault(6, 36)
def test_a_file_is_told_for_what_it_is(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data + bytes(50))
    with pytest.raises(ImageFault, match=words) as raised:
        inspect(tmp_path / "a.jpg", MAX)
    assert len(str(raised.value)) < 80


def test_heic_is_read_where_its_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = types.ModuleType("pillow_heif")
    registered: list[bool] = []
    monkeypatch.setattr(plugin, "register_heif_opener", lambda: registered.append(True), raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    assert shared.catalog.images._with_heif() == ("HEIF",)
    assert registered == [True]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    assert shared.catalog.images._with_heif() == ()
    assert reason_of(b"\0\0\0\x18ftypheic", ["HEIF"]) == "cannot be decoded (damaged HEIF)"


JPEG_KINDS = [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}, {"restart_marker_rows": 1}]


@pytest.mark.parametrize("options", JPEG_KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("at_least", [None, 60])
@pytest.mark.fault(6)
def test_a_jpeg_without_its_end_marker_is_whole(options: dict[str, object], mode: str, at_least: int | None) -> None:
    data = encode(photo(300, 200).convert(mode), "JPEG", **options)
    whole = open_image(data, MAX, at_least).tobytes()
    for missing in (1, 2):
        assert open_image(data[:-missing], MAX, at_least).tobytes() == whole


@pytest.mark.parametrize("options", JPEG_KINDS)
@pytest.mark.fault(6)
def test_a_jpeg_without_a_part_of_the_image_is_refused(options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise).resize((400, 300)), "JPEG", **options)
    whole = open_image(data, MAX)
    for missing in [*range(3, 40), *(len(data) * share // 100 for share in range(1, 90, 7))]:
        try:
            shown = open_image(data[:-missing], MAX)
        except ImageFault as fault:
            assert str(fault) == "truncated"  # noqa: PT017
        else:
            assert missing < 5
            assert shown.tobytes() == whole.tobytes()


def test_a_jpeg_cut_behind_half_a_marker_is_refused() -> None:
    data = encode(photo(300, 200), "JPEG", quality=95)
    middle = data.index(b"\xff", len(data) // 2)
    with pytest.raises(ImageFault, match=r"^truncated$"):
        open_image(data[: middle + 1], MAX)


@pytest.mark.parametrize("more", [b"x" * 100, b"<html>", b"\0" * 5000, b"\xff\xd8\xff"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_what_follows_an_image_does_not_matter(kind: str, more: bytes) -> None:
    data = encode(photo(), kind)
    assert open_image(data + more, MAX).tobytes() == open_image(data, MAX).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_broken_color_profile_does_not_matter(kind: str) -> None:
    assert distance(open_image(encode(photo(), kind, icc_profile=b"garbage" * 50), MAX), photo()) <= 4


@pytest.mark.parametrize("kind", ["MPO", "TIFF"])
def test_of_several_images_in_a_file_the_first_is_shown(kind: str) -> None:
    data = encode(photo(seed=1), kind, save_all=True, append_images=[photo(seed=2)])
    assert distance(open_image(data, MAX), photo(seed=1)) <= 4
