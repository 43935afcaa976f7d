"""Small copies of images for people to look at, in the report and on the review page."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from shared.catalog.images import decoded


def thumbnail_jpeg(source: Path | bytes, side: int, max_pixels: int, quality: int) -> bytes:
    """Return an image as JPEG, upright and over white, whose longer side has at most so many pixels; none is enlarged.

    It is written anew, so that a browser gets nothing that a stranger wrote.

    Args:
        source: A file, or a file's bytes.
        side: Pixels.
        max_pixels: Larger images are refused before they are decoded.
        quality: Of JPEG, in 1..95.

    Raises:
        ImageFault: The image cannot be used.

    Examples:
        >>> buffer = io.BytesIO()
        >>> Image.new("RGB", (300, 100), "red").save(buffer, "PNG")
        >>> Image.open(io.BytesIO(thumbnail_jpeg(buffer.getvalue(), 150, 10**6, quality=85))).size
        (150, 50)
    """
    buffer = io.BytesIO()
    with decoded(source, max_pixels, at_least=2 * side) as image:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()
