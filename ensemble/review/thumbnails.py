"""Small copies of the listings' images, for the review page.

Those that were used last are kept in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import BoundedSemaphore, Lock

from shared.catalog.thumbnails import thumbnail_jpeg

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
            copy = thumbnail_jpeg(path, SIZES[size], self._max_pixels, QUALITY)
        self._keep(key, copy)
        return copy

    def _keep(self, key: tuple[int, str], copy: bytes) -> None:
        with self._lock:
            self._size += len(copy) - len(self._kept.pop(key, b""))
            self._kept[key] = copy
            while self._size > KEPT:
                self._size -= len(self._kept.popitem(last=False)[1])
