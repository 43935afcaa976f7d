"""Pictures from strangers: opened safely, shown as people see them, hashed.

Every picture of the project comes through `open_image`, so that training, hashing and the report agree on what it
shows.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# Formats that photos come in. The rest of Pillow's is left out, above all EPS, whose reader starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
MAX_BYTES = 2**28  # of one file
PILLOW_MAX_PIXELS = 178_956_970  # Pillow itself refuses more
MISSING = "no such file"
FLAT_BITS = 16  # see `is_flat_hash`

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

# What Pillow warns of (large pictures, odd palettes, broken EXIF) is refused or repaired below.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageFault(Exception):
    """A picture that cannot be used; the message is the reason in a few words."""


@dataclass(frozen=True)
class Picture:
    """What is known of a picture once it has been decoded.

    Args:
        sha: SHA-256 of the file's bytes, hex.
        width, height: Pixels, as shown (after EXIF rotation).
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
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageFault(MISSING) from None
    except (OSError, ValueError) as error:
        raise ImageFault(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageFault("not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageFault(f"too large: {status.st_size / 2**20:.0f} MiB")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise ImageFault(f"cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)


def open_image(source: Path | bytes, max_pixels: int, at_least: int | None = None) -> Image.Image:
    """Decode a picture completely, as a person would see it.

    Upright (EXIF), transparency over white, the first frame of an animation, 16 bits scaled down to 8.

    Args:
        source: A file, or a file's bytes.
        max_pixels: Larger pictures are refused before they are decoded; at most `PILLOW_MAX_PIXELS`.
        at_least: Pixels. A JPEG is decoded at a half, a quarter or an eighth of its size where neither side falls
            below this, which saves most of the time that a large photo takes. None: at its own size.

    Returns:
        The picture in mode RGB.

    Raises:
        ImageFault: It cannot be used; never another error, whatever the bytes are.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise ImageFault("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageFault(_too_large(image.width * image.height))
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            return _to_rgb(_upright(image))
    except ImageFault:
        raise
    except Exception as error:  # decoders raise many types on broken bytes
        raise ImageFault(_reason(error)) from None


def _too_large(pixels: float) -> str:
    return f"too large: {pixels / 1e6:.0f} megapixels"


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        pixels = re.search(r"\d+", text)
        return _too_large(float(pixels[0])) if pixels else "too large"
    if isinstance(error, EOFError) or re.search("truncated|unexpected end|incomplete|premature", text, re.IGNORECASE):
        return "truncated"
    return f"cannot be decoded ({text[:80] or type(error).__name__})"


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # broken EXIF; the picture itself is sound
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
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0)
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:  # 32 bits: the least usual range that holds every value
        peak = values.max(initial=0.0)
        top = next((t for t in (1.0, 255.0, 65535.0) if peak <= t), peak)
    return Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))


def phash(image: Image.Image) -> int:
    """Perceptual hash of 64 bits, the same as `imagehash.phash`; its hex form is `f"{hash:016x}"`."""
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")


def is_flat_hash(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which hashes say nothing about what a picture shows.

    A hash bit says whether a DCT coefficient exceeds the median of all 64, so a picture's hash has 32 bits set.
    Where most coefficients are equal, most bits are too: a blank picture (any color, or wholly transparent) has at
    most one bit set, and one that changes in one direction only (a color gradient, two halves) at most eight.

    Args:
        hashes: uint64, any shape.

    Returns:
        bool of the same shape; True where fewer than `FLAT_BITS` bits are set, or fewer than `FLAT_BITS` are not.
    """
    bits = np.bitwise_count(np.asarray(hashes, dtype=np.uint64))
    return np.asarray(np.minimum(bits, 64 - bits) < FLAT_BITS)


def inspect(path: Path, max_pixels: int) -> Picture:
    """Decode a picture and measure it.

    Raises:
        ImageFault: It cannot be used.
    """
    data = read_bytes(path)
    image = open_image(data, max_pixels)
    return Picture(hashlib.sha256(data).hexdigest(), image.width, image.height, len(data), phash(image))
