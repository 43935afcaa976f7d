"""Thumbnails: small JPEG images as data URIs, which an HTML file holds itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from shared.catalog.images import ImageFault
from shared.catalog.thumbnails import thumbnail_jpeg
from shared.schema import Catalog

LARGE, SMALL = 168, 72  # pixels of the longer side
QUALITY = 70  # of JPEG, in 1..95


@dataclass(frozen=True)
class Thumbnail:
    """An image, or the reason why there is none.

    Args:
        uri: `data:image/jpeg;base64,…`; "" where there is no image.
        width: Pixels.
        height: Pixels.
        reason: Why there is no image, in a few words; "" where there is one.
    """

    uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Thumbnails:
    """The thumbnails of the listings of a catalog; each file is read once per size.

    Args:
        catalog: The listings.
        max_pixels: Larger images are refused undecoded.

    Examples:
        >>> Thumbnails(Catalog.from_columns({"posting_id": ["a"]}), max_pixels=100).of(0).reason
        'no image'
    """

    catalog: Catalog
    max_pixels: int
    _paths: list[Path | None] = field(init=False, repr=False)
    _faults: list[str | None] = field(init=False, repr=False)
    _thumbnails: dict[tuple[Path, int], Thumbnail] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_paths", self.catalog.image_paths())
        object.__setattr__(self, "_faults", self.catalog.column("image_fault").tolist())

    def of(self, row: int, side: int = LARGE) -> Thumbnail:
        """Return the thumbnail of the listing at a row.

        Args:
            row: The row.
            side: Pixels of the longer side at most.
        """
        path = self._paths[row]
        if path is None:
            return Thumbnail(reason=self._faults[row] or "no image")
        if (path, side) not in self._thumbnails:
            self._thumbnails[path, side] = thumbnail(path, self.max_pixels, side)
        return self._thumbnails[path, side]


def thumbnail(path: Path, max_pixels: int, side: int) -> Thumbnail:
    """Return the thumbnail of an image file: upright, over white, at most `side` pixels wide and high.

    Args:
        path: The file.
        max_pixels: Larger images are refused undecoded.
        side: Pixels.

    Examples:
        >>> thumbnail(Path("no/such/file.jpg"), max_pixels=100, side=10)
        Thumbnail(uri='', width=0, height=0, reason='no such file')
    """
    try:
        jpeg = thumbnail_jpeg(path, side, max_pixels, QUALITY)
    except ImageFault as fault:
        return Thumbnail(reason=str(fault))
    width, height = Image.open(io.BytesIO(jpeg)).size
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"), width, height)
