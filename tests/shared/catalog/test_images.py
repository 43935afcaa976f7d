import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from shared.catalog.image_folder import locate
from shared.catalog.images import ImageFault, inspect, is_flat_hash, open_image, phash, read_bytes
from tests.support.images import FORMATS, MAX, claimed_png, distance, encode, photo


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_open_as_rgb_from_bytes_and_path(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(encode(photo(), kind))
    image = open_image(tmp_path / "a.bin", MAX)
    assert (image.mode, image.size) == ("RGB", (96, 64))
    assert distance(image, photo()) <= 4
    assert image.tobytes() == open_image((tmp_path / "a.bin").read_bytes(), MAX).tobytes()


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    data = encode(photo(), kind)
    if kind in ("PNG", "GIF") and share > 0.9:
        data, share = encode(photo(), kind), 0.9  # the last hundredth of these is behind the pixels
    with pytest.raises(ImageFault, match=r"truncated|not an image|empty file|cannot be decoded"):
        open_image(data[: int(len(data) * share)], MAX)


@pytest.mark.fault(6)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
def test_truncated_jpeg_is_reported(options: dict[str, object]) -> None:
    data = encode(photo(300, 200), "JPEG", **options)
    with pytest.raises(ImageFault, match=r"^truncated$"):
        open_image(data[: int(len(data) * 0.99)], MAX)


@pytest.mark.fault(7)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest undoes our own filter
@pytest.mark.parametrize(("side", "reason"), [(20_000, "400 megapixels"), (10_000, "100 megapixels"), (8_000, "64 ")])
def test_bombs_are_refused_before_decoding(side: int, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageFault, match=f"too large: {reason}"):
        open_image(claimed_png(side, side), MAX)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_pixel_limit_is_inclusive() -> None:
    data = encode(photo(96, 64))
    assert open_image(data, 96 * 64).size == (96, 64)
    with pytest.raises(ImageFault, match="too large"):
        open_image(data, 96 * 64 - 1)


@pytest.mark.parametrize(
    ("at_least", "size"), [(None, (800, 480)), (481, (800, 480)), (240, (400, 240)), (241, (800, 480)), (50, (100, 60))]
)
def test_a_large_jpeg_is_decoded_small_but_not_too_small(at_least: int | None, size: tuple[int, int]) -> None:
    data = encode(photo(800, 480), "JPEG", quality=95)
    shown = open_image(data, MAX, at_least)
    assert shown.size == size
    full = np.asarray(open_image(data, MAX).resize(size, Image.Resampling.BOX), dtype=float)
    assert np.abs(np.asarray(shown) - full).mean() < 2


def test_reduced_jpeg_orientation_and_refusals() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(800, 480), "JPEG", exif=exif)
    assert open_image(data, MAX, 120).size == (120, 200)
    with pytest.raises(ImageFault, match=r"^truncated$"):
        open_image(data[: int(len(data) * 0.99)], MAX, 120)
    with pytest.raises(ImageFault, match="too large"):
        open_image(data, 800 * 480 - 1, 120)


@pytest.mark.fault(6)
@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1)])
def test_extreme_shapes(size: tuple[int, int]) -> None:
    image = open_image(encode(Image.new("RGB", size, "red")), MAX)
    assert image.size == size
    assert is_flat_hash(np.array([phash(image)], dtype=np.uint64))[0]


@pytest.mark.fault(6)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation: int) -> None:
    upright = photo()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # as Image.Transpose: what the camera did to the image
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = open_image(encode(stored, "JPEG", exif=exif, quality=95), MAX)
    assert shown.size == upright.size
    assert distance(shown, upright) <= 4
    assert orientation == 1 or distance(stored, upright) > 10  # or the test would show nothing


@pytest.mark.fault(6)
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x01\x01\x12"])
def test_broken_exif_does_not_matter(exif: bytes) -> None:
    data = encode(photo(), "JPEG", exif=b"Exif\0\0" + exif)
    assert distance(open_image(data, MAX), photo()) <= 4


def transparent(mode: str) -> bytes:
    """A photo whose left half is transparent; what lies under it is black."""
    image = photo().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 48, 64))
    if mode == "P":
        return encode(image.quantize(64))
    if mode == "RGBA":
        return encode(image, "WEBP", lossless=True)
    return encode(image.convert(mode))


@pytest.mark.fault(6)
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_white(mode: str) -> None:
    pixels = np.asarray(open_image(transparent(mode), MAX))
    assert (pixels[:, :46] >= 250).all()
    assert pixels[:, 50:].min() < 200


@pytest.mark.fault(6)
def test_a_transparent_color_is_white() -> None:
    image = Image.new("RGB", (8, 8), (0, 0, 0))
    image.paste((200, 0, 0), (4, 0, 8, 8))
    pixels = np.asarray(open_image(encode(image, transparency=(0, 0, 0)), MAX))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 7].tolist() == [200, 0, 0]


@pytest.mark.fault(6)
@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_color_modes_look_alike(mode: str) -> None:
    image = photo().convert(mode)
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    shown = open_image(encode(image, kind), MAX)
    assert shown.mode == "RGB"
    assert distance(shown, image.convert("RGB")) <= 4


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut_off(kind: str) -> None:
    grey = np.asarray(photo().convert("L"), dtype=np.uint16) * 257
    pixels = np.asarray(open_image(encode(Image.fromarray(grey), kind), MAX))
    assert np.abs(pixels[..., 0].astype(int) - grey // 257).max() <= 1


@pytest.mark.parametrize(("scale", "dtype"), [(257, np.int32), (1, np.int32), (1 / 255, np.float32), (1, np.float32)])
def test_thirty_two_bits_are_scaled(scale: float, dtype: type) -> None:
    grey = np.asarray(photo().convert("L"))
    grey = np.where(grey == grey.max(), 255, grey).astype(np.int64)
    pixels = np.asarray(open_image(encode(Image.fromarray((grey * scale).astype(dtype)), "TIFF"), MAX))
    assert np.abs(pixels[..., 0].astype(int) - grey).max() <= 1


@pytest.mark.fault(6)
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    data = encode(photo(seed=1), kind, save_all=True, append_images=[photo(seed=2), photo(seed=3)])
    assert distance(open_image(data, MAX), photo(seed=1)) <= 4


@pytest.mark.fault(6)
def test_random_damage_never_raises_anything_else() -> None:
    rng = random.Random(0)
    originals = [encode(photo(), kind) for kind in FORMATS] + [transparent("P"), transparent("RGBA")]
    opened, reasons = 0, []
    for _ in range(600):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            assert open_image(bytes(data), 10**7).mode == "RGB"
            opened += 1
        except ImageFault as fault:
            reasons.append(str(fault))
    assert min(opened, len(reasons)) > 50
    assert all(0 < len(reason) <= 110 for reason in reasons)


@pytest.mark.fault(5)
def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "fifo", tmp_path / "folder", Path("/dev/zero")):
        with pytest.raises(ImageFault, match=r"^not a regular file$"):
            open_image(path, MAX)
    for path in (tmp_path / "none", tmp_path / "folder" / "none" / "x"):
        with pytest.raises(ImageFault, match=r"^no such file$"):
            open_image(path, MAX)
    for path in (tmp_path / "loop", tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(ImageFault, match=r"^cannot be opened"):
            open_image(path, MAX)


@pytest.mark.fault(7, 32)
def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ImageFault, match="too large: 1048576 MiB"):
        read_bytes(tmp_path / "huge.jpg")


@pytest.mark.parametrize("seed", range(5))
def test_phash_is_imagehash(seed: int) -> None:
    image = photo(seed=seed)
    assert f"{phash(image):016x}" == str(imagehash.phash(image))


def test_inspect_measures_what_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(96, 64), "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(data)
    image = inspect(tmp_path / "a.jpg", MAX)
    assert (image.width, image.height, image.size) == (64, 96, len(data))
    assert image.phash == phash(open_image(data, MAX))


def gradient(axis: int) -> Image.Image:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.tile(ramp, (256, 1)) if axis else np.tile(ramp, (256, 1)).T))


FLAT = {
    **{color: Image.new("RGB", (200, 120), color) for color in ("black", "grey", "white", "red")},
    "transparent": Image.new("RGBA", (64, 64), (9, 9, 9, 0)),
    "one pixel": Image.new("RGB", (1, 1), "blue"),
    "gradient across": gradient(1),
    "gradient down": gradient(0),
}


@pytest.mark.fault(9)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("name", FLAT)
def test_blank_images_have_flat_hashes(name: str, kind: str) -> None:
    image = FLAT[name] if kind == "PNG" else FLAT[name].convert("RGB")
    assert is_flat_hash(np.array([phash(open_image(encode(image, kind), MAX))], dtype=np.uint64))[0]


def test_images_of_something_do_not() -> None:
    hashes = np.array([phash(photo(seed=seed)) for seed in range(50)], dtype=np.uint64)
    assert not is_flat_hash(hashes).any()
    on_white = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(on_white).rectangle([100, 90, 150, 170], fill=(250, 250, 250))  # hardly visible
    assert not is_flat_hash(np.array([phash(on_white)], dtype=np.uint64))[0]


def test_flat_hash_counts_bits_of_both_kinds() -> None:
    hashes = np.array([0, 2**64 - 1, 0x8000000000000000, 0xFFFF, 0x7FFF, 0xFFFFFFFF, 2**64 - 2**15], dtype=np.uint64)
    assert is_flat_hash(hashes).tolist() == [True, True, True, False, True, False, True]
    assert is_flat_hash(np.zeros((0,), dtype=np.uint64)).shape == (0,)


@pytest.mark.fault(18)
@pytest.mark.parametrize("number", [errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("call", "use"),
    [("open", read_bytes), ("fstat", read_bytes), ("lstat", lambda path: locate(path.parent, path.name))],
)
def test_lost_network_share_is_no_fault_of_an_image(
    tmp_path: Path, number: int, call: str, use: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")

    def lost(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, lost)
        with pytest.raises(OSError, match=os.strerror(number)) as error:
            use(tmp_path / "a.jpg")
    assert error.value.filename == str(tmp_path / "a.jpg")


def test_sector_that_cannot_be_read_is_a_fault_of_its_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")

    def damaged(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", damaged)
        with pytest.raises(ImageFault, match="cannot be read"):
            read_bytes(tmp_path / "a.jpg")
