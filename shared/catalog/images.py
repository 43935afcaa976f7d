"""Images from strangers: opened safely, shown as people see them, hashed.

Every image of the project comes through `open_image`, so that training, hashing and the report agree on what it shows.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, UnidentifiedImageError, features

from shared.catalog.image_kinds import reason_of


def _with_heif() -> tuple[str, ...]:
    """Return the format that the package pillow-heif reads, where it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except Exception:  # not installed, or without its library
        return ()
    register_heif_opener()
    return ("HEIF",)


# Formats that photos come in. The rest of Pillow's is left out, above all EPS, whose reader starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", *_with_heif())
MAX_BYTES = 2**28  # of one file
PILLOW_MAX_PIXELS = 178_956_970  # Pillow itself refuses more
MAX_SIDE = 65_535  # pixels, as of a JPEG; work on one of millions of pixels takes gigabytes
MAX_SCAN_PIXELS = 2**31  # scans of a progressive JPEG times its pixels; ten scans are usual, thousands take hours
MAX_PPM_PIXELS = 2_000_000  # of one written as text or with few levels, of which Pillow takes microseconds per pixel
PIXELS_AT_ONCE = 150_000_000  # of all images that are decoded at the same time, about 12 bytes each
MISSING, NOT_REGULAR = "no such file", "not a regular file"
FLAT_BITS = 16  # see `is_flat_hash`

# Opening a FIFO would wait for a writer; Windows has no FIFOs among files, but opens text unless told otherwise.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_JPEG = ("JPEG", "MPO")
_JPEG_END = b"\xff\xd9"
_NOISE = bytes(251 * n % 255 for n in range(1, 255))  # without the byte 255, which begins a marker

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow warns of (large images, odd palettes, broken EXIF) is refused or repaired below.
warnings.filterwarnings("ignore", module=r"PIL\.")


_SHARE_LOST = {
    getattr(errno, name)
    for name in ("ESTALE", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOTCONN")
    if hasattr(errno, name)  # not all systems have all
}


class ImageFault(Exception):
    """An image cannot be used; the message is the reason in a few words."""


@dataclass(frozen=True)
class ImageFacts:
    """Facts about an image that has been decoded.

    Args:
        sha: SHA-256 of the file's bytes, hex.
        width: Pixels, as shown (after EXIF rotation).
        height: Pixels, as shown.
        size: Bytes of the file.
        phash: Perceptual hash, 64 bits.
    """

    sha: str
    width: int
    height: int
    size: int
    phash: int


def read_bytes(path: Path) -> bytes:
    """Read a regular file; a FIFO, socket, device or folder is refused without waiting for it.

    Raises:
        ImageFault: There is no such file, it is no regular file, or it is too large or unreadable.
        OSError: The network share that it is on is gone.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageFault(MISSING) from None
    except (OSError, ValueError) as error:
        raise_if_lost(path, error)
        if os.path.isdir(path):  # Windows does not open folders
            raise ImageFault(NOT_REGULAR) from None
        raise ImageFault(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageFault(NOT_REGULAR)
        if status.st_size > MAX_BYTES:
            raise ImageFault(f"too large: {status.st_size / 2**20:.0f} MiB")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise_if_lost(path, error)
        raise ImageFault(f"cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)


def raise_if_lost(path: Path, error: OSError | ValueError) -> None:
    """Raise an error that is no fault of an image: the network share that it is on is gone, and so are all others.

    Examples:
        >>> raise_if_lost(Path("a.jpg"), FileNotFoundError(errno.ENOENT, "No such file"))
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in _SHARE_LOST or (number == errno.EIO and not os.access(path.parent, os.R_OK)):
        raise OSError(number, os.strerror(number or errno.EIO), str(path)) from error


def open_image(source: Path | bytes, max_pixels: int, at_least: int | None = None) -> Image.Image:
    """Return an image, decoded completely, as a person would see it.

    It is upright (EXIF), with transparency over white, the first frame of an animation, and 16 bits scaled down to 8.
    A JPEG that lacks its last bytes is used if these hold no part of the image.

    Args:
        source: A file, or a file's bytes.
        max_pixels: Larger images are refused before they are decoded; at most `PILLOW_MAX_PIXELS`.
        at_least: Pixels. A JPEG is decoded at a half, a quarter or an eighth of its size where neither side falls
            below this, which saves most of the time that a large photo takes. None: at its own size.

    Returns:
        The image in mode RGB.

    Raises:
        ImageFault: It cannot be used; never another error, whatever the bytes are.

    Examples:
        >>> buffer = io.BytesIO()
        >>> Image.new("LA", (4, 2), (0, 0)).save(buffer, "PNG")  # black, but wholly transparent
        >>> image = open_image(buffer.getvalue(), max_pixels=100)
        >>> image.mode, image.size, image.getpixel((0, 0))
        ('RGB', (4, 2), (255, 255, 255))
        >>> open_image(b"<html>", max_pixels=100)
        Traceback (most recent call last):
        shared.catalog.images.ImageFault: not an image but an HTML page
    """
    with decoded(source, max_pixels, at_least) as image:
        return image


@contextmanager
def decoded(source: Path | bytes, max_pixels: int, at_least: int | None = None) -> Iterator[Image.Image]:
    """Return a context with the image of `open_image`; arguments and errors are the same.

    What the work inside the context raises becomes an `ImageFault` as well, so that no image ends the work on others.
    Images that together have more than `PIXELS_AT_ONCE` pixels wait for each other.

    Examples:
        >>> buffer = io.BytesIO()
        >>> Image.new("RGB", (4, 2)).save(buffer, "PNG")
        >>> with decoded(buffer.getvalue(), max_pixels=100) as image:
        ...     raise MemoryError
        Traceback (most recent call last):
        shared.catalog.images.ImageFault: takes more memory than there is
    """
    data = b""
    try:
        data = source if isinstance(source, bytes) else read_bytes(source)
        if not data:
            raise ImageFault("empty file")
        with _opened(data, max_pixels, at_least) as image, _PIXELS.held(image.width * image.height):
            yield _to_rgb(_upright(_loaded(image, data, max_pixels, at_least)))
    except ImageFault:
        raise
    except Exception as error:  # decoders raise many types on broken bytes
        raise ImageFault(_reason(error, data)) from None


class _Budget:
    """An amount of which several threads hold parts; who asks for more than is left waits.

    Args:
        total: The amount. Who asks for more than that gets it while nobody else holds a part.
    """

    def __init__(self, total: int) -> None:
        self._total, self._held, self._changed = total, 0, Condition()

    @contextmanager
    def held(self, part: int) -> Iterator[None]:
        """Hold a part inside the context."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + part <= self._total)
            self._held += part
        try:
            yield
        finally:
            with self._changed:
                self._held -= part
                self._changed.notify_all()


_PIXELS = _Budget(PIXELS_AT_ONCE)


def _opened(data: bytes, max_pixels: int, at_least: int | None) -> Image.Image:
    """Return an image whose size is in bounds, not decoded yet."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageFault(_too_large(pixels))
    if max(image.size) > MAX_SIDE:
        raise ImageFault(f"too long: {image.width:,} × {image.height:,} pixels")
    if image.format in _JPEG:
        scans = data.count(b"\xff\xda")
        if scans * pixels > MAX_SCAN_PIXELS:
            raise ImageFault(f"too many scans: {scans:,}")
    if image.format == "PPM" and image.tile[0][0] != "raw" and pixels > MAX_PPM_PIXELS:
        raise ImageFault(f"too large for its kind: {pixels / 1e6:.0f} megapixels")
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    return image


def _loaded(image: Image.Image, data: bytes, max_pixels: int, at_least: int | None) -> Image.Image:
    """Return an opened image decoded; a JPEG may lack its last bytes if the image is whole without them."""
    try:
        image.load()
        return image
    except OSError:
        whole = _without_end(data, max_pixels, at_least) if image.format in _JPEG else None
        if whole is None:
            raise
        return whole


def _without_end(data: bytes, max_pixels: int, at_least: int | None) -> Image.Image | None:
    """Return the image of a JPEG whose last bytes are missing; None where a part of the image is missing with them.

    The file is continued in two ways, with its end and with noise before the end: where part of the image is missing,
    the decoder takes the noise for that part, and the two differ.
    """
    start = data.rstrip(b"\xff")  # half of a marker would hide the noise
    try:
        ended, noisy = (_opened(start + end, max_pixels, at_least) for end in (_JPEG_END, _NOISE + _JPEG_END))
        return None if ImageChops.difference(ended, noisy).getbbox() else ended
    except Exception:
        return None


def _too_large(pixels: float) -> str:
    return f"too large: {pixels / 1e6:.0f} megapixels"


def _reason(error: Exception, data: bytes) -> str:
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return reason_of(data, FORMATS if features.check("avif") else set(FORMATS) - {"AVIF"})
    if isinstance(error, MemoryError):
        return "takes more memory than there is"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        pixels = re.search(r"\d+", text)
        return _too_large(float(pixels[0])) if pixels else "too large"
    if isinstance(error, EOFError) or re.search("truncated|unexpected end|incomplete|premature", text, re.IGNORECASE):
        return "truncated"
    return f"cannot be decoded ({text[:80] or type(error).__name__})"


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken EXIF; the image itself is sound
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # Pillow would cut these off at 255
        image = _to_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGBA", image.size, "white")
    opaque.alpha_composite(image.convert("RGBA"))
    return opaque.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    rows = max(1, 2**20 // image.width)  # at a time: 64 bits for every pixel of a large image are much
    parts = [values[start : start + rows] for start in range(0, image.height, rows)]
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:  # 32 bits: the least usual range that holds every value
        peak = max((_finite(part).max(initial=0.0) for part in parts), default=0.0)
        top = next((t for t in (1.0, 255.0, 65535.0) if peak <= t), peak)
    scaled = [(np.clip(_finite(part) / top, 0, 1) * 255).round().astype(np.uint8) for part in parts]
    return Image.fromarray(np.concatenate(scaled))


def _finite(values: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), posinf=0.0)


def phash(image: Image.Image) -> int:
    """Return the perceptual hash of 64 bits, the same as `imagehash.phash`; its hex form is `f"{hash:016x}"`.

    Examples:
        >>> f"{phash(Image.new('RGB', (8, 8), 'red')):016x}"
        '8000000000000000'
    """
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")


def is_flat_hash(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which hashes say nothing about what an image shows.

    A hash bit says whether a DCT coefficient exceeds the median of all 64, so an image's hash has 32 bits set.
    Where most coefficients are equal, most bits are too: a blank image (any color, or wholly transparent) has at
    most one bit set, and one that changes in one direction only (a color gradient, two halves) at most eight.

    Args:
        hashes: uint64, any shape.

    Returns:
        bool of the same shape; True where fewer than `FLAT_BITS` bits are set, or fewer than `FLAT_BITS` are not.

    Examples:
        >>> is_flat_hash(np.array([0, 2**63, 0x00000000FFFFFFFF], dtype=np.uint64)).tolist()
        [True, True, False]
    """
    bits = np.bitwise_count(np.asarray(hashes, dtype=np.uint64))
    return np.asarray(np.minimum(bits, 64 - bits) < FLAT_BITS)


def inspect(path: Path, max_pixels: int) -> ImageFacts:
    """Return the facts about an image file, which is decoded.

    Args:
        path: The file.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        ImageFault: It cannot be used.
    """
    data = read_bytes(path)
    with decoded(data, max_pixels) as image:
        return ImageFacts(hashlib.sha256(data).hexdigest(), image.width, image.height, len(data), phash(image))
