"""Small copies of the listings' images, for the review page.

An image is opened as everywhere else (`shared.catalog.images`), scaled down and written anew as JPEG, so that a browser
gets nothing that a stranger wrote. The copies that were used last are kept in memory.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import BoundedSemaphore, Lock

from PIL import Image

from shared.catalog.images import open_image

SIZES = {"small": 240, "large": 720}  # name → longest side in pixels
KEPT = 64 * 2**20  # bytes of copies in memory
AT_ONCE = 4  # images that are decoded at the same time; a large one takes some hundred megabytes
QUALITY = 85  # of JPEG


class Thumbnails:
    """Scaled copies of the images of a catalog, each named by the row of its listing.

        Thumbnails(catalog.image_paths(), max_pixels=50_000_000).jpeg(0, "small")

    Args:
        paths: Image file of each listing; None where there is none.
        max_pixels: Larger images are refused before they are decoded.
    """

    def __init__(self, paths: Sequence[Path | None], max_pixels: int) -> None:
        self._paths, self._max_pixels = paths, max_pixels
        self._kept: OrderedDict[tuple[int, str], bytes] = OrderedDict()
        self._size, self._lock, self._at_once = 0, Lock(), BoundedSemaphore(AT_ONCE)

    def jpeg(self, row: int, size: str) -> bytes | None:
        """Return a copy of the image of a listing; None where the listing has no image.

        Args:
            row: Row of the listing.
            size: A name of `SIZES`.

        Raises:
            ImageFault: The image cannot be used.
        """
        path, key = self._paths[row], (row, size)
        if path is None:
            return None
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._at_once:
            copy = scaled(path, SIZES[size], self._max_pixels)
        self._keep(key, copy)
        return copy

    def _keep(self, key: tuple[int, str], copy: bytes) -> None:
        with self._lock:
            self._size += len(copy) - len(self._kept.pop(key, b""))
            self._kept[key] = copy
            while self._size > KEPT:
                self._size -= len(self._kept.popitem(last=False)[1])


def scaled(source: Path | bytes, side: int, max_pixels: int) -> bytes:
    """Return an image as JPEG whose longer side has at most so many pixels; none is enlarged.

    Args:
        source: A file, or a file's bytes.
        side: Pixels.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        ImageFault: The image cannot be used.

    Examples:
        >>> buffer = io.BytesIO()
        >>> Image.new("RGB", (300, 100), "red").save(buffer, "PNG")
        >>> Image.open(io.BytesIO(scaled(buffer.getvalue(), 150, 10**6))).size
        (150, 50)
    """
    image, buffer = open_image(source, max_pixels, at_least=side), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
