"""Images made to cost memory, time or the run: each costs itself alone."""

import io
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

import shared.catalog.images
from shared.catalog.images import MAX_SIDE, ImageFault, decoded, open_image
from shared.catalog.thumbnails import thumbnail_jpeg
from tests.support.listings import draw, folder, read
from tests.support.timing import at_most

MAX = 50_000_000


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, rows: int | None = None, more: bytes = b"") -> bytes:
    """Return a black PNG of one bit per pixel; with fewer rows than it claims, if wanted."""
    head, pixels = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), bytes(width // 8 + 2)
    data = zlib.compress(pixels * (height if rows is None else rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def many_scans(side: int, count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    data = encoded(Image.new("RGB", (side, side), (9, 9, 9)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def tiff_of_large_tags(count: int) -> bytes:
    """Return a TIFF with so many tags that all claim the same megabyte."""
    pixels, large = 8 + 2 + 12 * (count + 9) + 4, 2**20
    facts = [(256, 10), (257, 10), (258, 8), (259, 1), (262, 1), (273, pixels), (277, 1), (278, 10), (279, 100)]
    tags = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in facts]
    tags += [struct.pack("<HHII", 40_000 + n, 7, large, pixels) for n in range(count)]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4 + large)


def animation(frames: int) -> bytes:
    images = [Image.new("L", (9, 9), n) for n in range(frames)]
    return encoded(images[0], "GIF", save_all=True, append_images=images[1:])


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "400 megapixels": (lambda: png(20_000, 20_000, rows=100), "too large: 400 megapixels"),
    "one column": (lambda: png(1, 49_999_999), "too long: 1 × 49,999,999 pixels"),
    "one row": (lambda: png(49_999_999, 1), "too long: 49,999,999 × 1 pixels"),
    "text": (lambda: png(9, 9, more=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "cannot be decoded"),
    "profile": (lambda: png(9, 9, more=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), "cannot be decoded"),
    "scans": (lambda: many_scans(1000, 3000), "too many scans: 3,010"),
    "plain text": (lambda: b"P2\n3000 3000\n255\n" + b"0 " * 9_000_000, "too large for its kind: 9 megapixels"),
    "few levels": (lambda: b"P6\n2000 2000\n100\n" + bytes(12_000_000), "too large for its kind: 4 megapixels"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.fault(7, 31, 32)
def test_a_bomb_is_refused_before_it_is_decoded(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, reason = BOMBS[bomb]
    data = make()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with at_most(5), pytest.raises(ImageFault, match=f"^{reason}"):
        open_image(data, MAX)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: png(MAX_SIDE, 3), (MAX_SIDE, 3)),
        (lambda: png(1, MAX_SIDE), (1, MAX_SIDE)),
        (lambda: many_scans(100, 1000), (100, 100)),
        (lambda: tiff_of_large_tags(1000), (10, 10)),
        (lambda: b"P2\n9 9\n255\n" + b"7 " * 81, (9, 9)),
        (
            lambda: encoded(
                Image.new("L", (9, 9)),
                "GIF",
                save_all=True,
                append_images=[Image.new("L", (9, 9), n) for n in range(99)],
            ),
            (9, 9),
        ),
    ],
)
def test_what_only_looks_like_a_bomb_is_used(make: Callable[[], bytes], size: tuple[int, int]) -> None:
    assert open_image(make(), MAX).size == size


PEAK = """
import sys
from pathlib import Path
from typing import Any
from shared.catalog.images import ImageFault, inspect
try:
    inspect(Path(sys.argv[1]), 50_000_000)
except ImageFault:
    pass
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
@pytest.mark.parametrize(
    ("name", "limit_mb"), [("grey.png", 300), ("one column.png", 150), ("tags.tiff", 200), ("zeros.jpg", 150)]
)
@pytest.mark.fault(7, 32)
def test_the_memory_of_one_image_is_bounded(tmp_path: Path, name: str, limit_mb: int) -> None:
    path = tmp_path / name
    if name == "zeros.jpg":
        with path.open("wb") as file:
            file.truncate(2**31)  # sparse
    elif name == "grey.png":
        path.write_bytes(encoded(Image.new("I;16", (4000, 4000)), "PNG"))  # 128 MB for each copy in 64 bits
    else:
        path.write_bytes(tiff_of_large_tags(5000) if name == "tags.tiff" else BOMBS["one column"][0]())
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < limit_mb


# --- work on a decoded image -----------------------------------------------------------------------------------------

ERRORS = [
    MemoryError(),
    RecursionError("too deep"),
    zlib.error("bad"),
    struct.error("bad"),
    SyntaxError("bad"),
    KeyError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["load", "transpose", "convert", "hash"])
@pytest.mark.fault(31)
def test_any_error_costs_that_image_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(tmp_path / "train_images" / "sound.jpg", 1)
    draw(tmp_path / "train_images" / "bad.jpg", 2, exif=exif)
    catalog_file = folder(tmp_path, ["sound.jpg", "bad.jpg"])
    bad = (tmp_path / "train_images" / "bad.jpg").read_bytes()
    module, upright = shared.catalog.images, (60, 40)
    whole = {"load": ("_loaded", 1), "transpose": ("_upright", 0), "convert": ("_to_rgb", 0), "hash": ("phash", 0)}
    name, position = whole[place]
    original = getattr(module, name)

    def failing(*arguments: Any) -> Any:
        image = arguments[0]
        if (arguments[1] == bad) if position else image.size != upright or image.getexif():
            raise error
        return original(*arguments)

    monkeypatch.setattr(module, name, failing)
    catalog = read(catalog_file)
    assert catalog.has_image.tolist() == [True, False]
    reason = catalog.column("image_fault")[1]
    assert reason.startswith("takes more memory" if isinstance(error, MemoryError) else "cannot be decoded (")


@pytest.mark.parametrize("error", ERRORS[:2], ids=lambda error: type(error).__name__)
@pytest.mark.fault(31)
def test_work_inside_the_context_and_thumbnails_are_guarded(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    data = png(30, 20)
    with pytest.raises(ImageFault), decoded(data, MAX):
        raise error
    monkeypatch.setattr(Image.Image, "thumbnail", lambda self, *size: (_ for _ in ()).throw(error))
    with pytest.raises(ImageFault):
        thumbnail_jpeg(data, 10, MAX, 80)


def test_an_interrupt_is_no_fault_of_an_image() -> None:
    with pytest.raises(KeyboardInterrupt), decoded(png(30, 20), MAX):
        raise KeyboardInterrupt


def test_large_images_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.catalog.images, "_PIXELS", shared.catalog.images._Budget(2 * 600))
    held, most, lock = 0, 0, threading.Lock()

    def work(size: tuple[int, int]) -> None:
        nonlocal held, most
        with decoded(png(*size), MAX):
            with lock:
                held += size[0] * size[1]
                most = max(most, held)
            time.sleep(0.02)
            with lock:
                held -= size[0] * size[1]

    sizes = [(30, 20)] * 8 + [(70, 50)]  # the last is larger than the whole budget
    threads = [threading.Thread(target=work, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert most == 70 * 50
    assert held == 0


def test_the_budget_is_given_back_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = shared.catalog.images._Budget(1000)
    monkeypatch.setattr(shared.catalog.images, "_PIXELS", budget)
    for _ in range(3):
        with pytest.raises(ImageFault), decoded(png(30, 20), MAX):
            raise ValueError
    assert budget._held == 0
