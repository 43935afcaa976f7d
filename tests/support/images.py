"""Images to test with."""

import io
import random
import struct
import zlib

from PIL import Image, ImageDraw

from shared.catalog.images import phash

MAX = 50_000_000
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"]


def photo(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """An image with large shapes, whose hash survives encoding."""
    rng = random.Random(seed)
    image = Image.new("RGB", (width, height), (240, 235, 220))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = rng.randrange(width), rng.randrange(height), rng.randrange(4, 24)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def distance(a: Image.Image, b: Image.Image) -> int:
    return (phash(a) ^ phash(b)).bit_count()


def claimed_png(width: int, height: int) -> bytes:
    """A small file that claims to hold a large image."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(width // 8 + 1) * min(height, 100), 9)
    chunks = [(b"IHDR", head), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks
    )
