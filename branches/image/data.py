"""Images as arrays: decoded once, resized, and augmented in training as sellers alter them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional
from tqdm import tqdm

from branches.image.config import IN_MEMORY
from shared.catalog.images import PILLOW_MAX_PIXELS, ImageFault, decoded, read_bytes
from shared.catalog.tables import printable
from shared.errors import MatcherError
from shared.schema import Catalog, Flags
from shared.training.prefetch import prefetch

Pixels = NDArray[np.uint8]
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]

FEW_LOST, MANY_LOST = 10, 0.05  # images; share of all: so many may change or go while a run works


class Stored(NamedTuple):
    """An image as it was when the catalog was read.

    Args:
        path: Its file.
        sha256: Of the file's bytes, hex.
    """

    path: Path
    sha256: str


def distinct_images(catalog: Catalog, rows: NDArray[np.int64]) -> tuple[list[Stored], NDArray[np.int64]]:
    """Return the distinct images of some listings, by the digest of their content.

    Args:
        catalog: Listings.
        rows: Those of them that have an image, int64 [m].

    Returns:
        The distinct images, in the order of their digests, and the index of each listing's image, int64 [m].
    """
    digests = catalog.column("image_sha")[rows].astype(str)
    _, first, image = np.unique(digests, return_index=True, return_inverse=True)
    paths = catalog.image_paths()
    files = [(paths[rows[each]], str(digests[each])) for each in first]
    return [Stored(path, digest) for path, digest in files if path is not None], image.astype(np.int64)


def read_image(image: Stored, size: int, interpolation: str) -> Pixels | None:
    """Return an image squashed to a square, uint8 [size, size, 3].

    Args:
        image: An image of the catalog.
        size: Width and height of the result in pixels.
        interpolation: "bilinear" or "bicubic".

    Returns:
        The pixels; None if the file has another content than when the catalog was read, or cannot be read any more.
    """
    try:
        data = read_bytes(image.path)
        if hashlib.sha256(data).hexdigest() != image.sha256:
            return None
        with decoded(data, PILLOW_MAX_PIXELS, size) as shown:  # the user's limit was checked with the catalog
            return squash(shown, size, interpolation)
    except ImageFault:
        return None


def lost_images(images: Sequence[Stored], usable: Flags) -> str | None:
    """Return in words which images changed or went since the catalog was read; None where none did.

    Args:
        images: n images of the catalog.
        usable: Whether each could be read, bool [n].

    Raises:
        MatcherError: They are many, or all: the folder is likely to be gone.
    """
    lost = np.flatnonzero(~usable)
    if not len(lost):
        return None
    what = f"{len(lost):,} of {len(images):,}, such as {printable(images[lost[0]].path.name)}"
    if len(lost) > max(FEW_LOST, MANY_LOST * len(images)) or len(lost) == len(images):
        raise MatcherError(
            f"images changed or went since the catalog was read: {what}; is {images[lost[0]].path.parent} still there? "
            "Start again, and the catalog is read anew"
        )
    return what


def squash(image: Image.Image, size: int, interpolation: str) -> Pixels:
    """Return an image in mode RGB squashed to a square, as Pillow does it but faster; arguments as for `read_image`."""
    tensor = torch.from_numpy(np.array(image)).unsqueeze(0).permute(0, 3, 1, 2)  # [1, 3, h, w], channels last
    square = functional.interpolate(tensor, (size, size), mode=interpolation, antialias=True)
    return np.asarray(square[0].permute(1, 2, 0))


def read_batch(stored: Sequence[Stored], size: int, interpolation: str) -> tuple[Pixels, Flags]:
    """Read images into one array.

    Args:
        stored: b images of a catalog.
        size: Width and height of the result in pixels.
        interpolation: "bilinear" or "bicubic".

    Returns:
        uint8 [b, size, size, 3], and which could be decoded, bool [b]; the others are black.
    """
    images = [read_image(image, size, interpolation) for image in stored]
    black = np.zeros((size, size, 3), dtype=np.uint8)
    usable = np.array([image is not None for image in images])
    return np.stack([black if image is None else image for image in images]), usable


def read_all(
    stored: Sequence[Stored], size: int, interpolation: str, workers: int, overflow: Path
) -> tuple[Pixels, Flags]:
    """Read any number of images into one array, like `read_batch` but in several threads.

    Args:
        stored: n images of a catalog.
        size: Width and height of the result in pixels.
        interpolation: "bilinear" or "bicubic".
        workers: Number of threads.
        overflow: File that holds the array if it is larger than `IN_MEMORY`.
    """
    shape = (len(stored), size, size, 3)
    if np.prod(shape, dtype=np.int64) <= IN_MEMORY:
        images: Pixels = np.zeros(shape, dtype=np.uint8)
    else:
        overflow.parent.mkdir(parents=True, exist_ok=True)
        images = np.memmap(overflow, dtype=np.uint8, mode="w+", shape=shape)
    usable = np.zeros(len(stored), dtype=bool)
    bar = tqdm(total=len(stored), desc="image: read", unit="image", disable=None)
    jobs = prefetch(lambda row: read_image(stored[row], size, interpolation), range(len(stored)), workers, ahead=16)
    for row, image in jobs:
        if image is not None:
            images[row], usable[row] = image, True
        bar.update()
    bar.close()
    return images, usable


def resize(pixels: Pixels, size: int) -> Pixels:
    """Return a stored image without augmentation: uint8 [s, s, 3] → uint8 [size, size, 3]."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def augment(pixels: Pixels, other: Pixels, size: int, strength: float, rng: np.random.Generator) -> Pixels:
    """Return a training image as another seller might have published it.

    Args:
        pixels: uint8 [s, s, 3].
        other: Any other image of that shape, for a collage.
        size: Width and height of the result in pixels.
        strength: Factor of every edit's probability, in [0, 1]; 0 only resizes.
        rng: Source of everything random.

    Returns:
        uint8 [size, size, 3].
    """
    image = Image.fromarray(pixels)
    if rng.random() < 0.08 * strength:
        image = _collage(image, Image.fromarray(other), rng)
    if rng.random() < 0.9 * strength:
        image = _reframe(image, size, rng)
    else:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    for probability, edit in EDITS:
        if rng.random() < probability * strength:
            image = edit(image, rng)
    return np.asarray(image)


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in rng.integers(0, 256, 3))
    return (255, 255, 255) if rng.random() < 0.5 else (red, green, blue)


def _reframe(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Crop or pad, stretch, rotate by up to 10 degrees and perhaps mirror, in one affine map."""
    zoom = rng.uniform(0.7, 1.2)  # share of the side that is visible; above 1 it is padded
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    angle = np.deg2rad(rng.uniform(-10, 10)) if rng.random() < 0.5 else 0.0
    mirror = -1 if rng.random() < 0.5 else 1
    unit = zoom * image.width / size
    across, down = unit * stretch * mirror, unit / stretch
    slack = abs(1 - zoom) / 2
    center = image.width * (0.5 + rng.uniform(-slack, slack, 2))
    a, b, d, e = across * np.cos(angle), -down * np.sin(angle), across * np.sin(angle), down * np.cos(angle)
    c, f = center - np.array([a + b, d + e]) * size / 2
    return image.transform(
        (size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR, fillcolor=_color(rng)
    )


def _collage(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Put a small copy of another image into a corner, or the two side by side."""
    side = image.width
    if rng.random() < 0.5:
        small = int(side * rng.uniform(0.25, 0.45))
        corner = [int(v) * (side - small) for v in rng.integers(0, 2, 2)]
        out = image.copy()
        out.paste(other.resize((small, small)), (corner[0], corner[1]))
        return out
    out = Image.new("RGB", (side, side), _color(rng))
    half, top = side // 2, side // 4
    places = [(0, top), (side - half, top)]
    for part, place in zip((image, other), rng.permutation(2), strict=True):
        out.paste(part.resize((half, half)), places[place])
    return out


def _recolor(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change brightness, contrast and color cast, by one lookup table per channel."""
    levels = np.arange(256)
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-25, 25)
    cast = rng.uniform(0.9, 1.1, 3)
    tables = np.concatenate([((levels - 128) * contrast + 128 + brightness) * gain for gain in cast])
    return image.point(np.clip(tables, 0, 255).astype(int).tolist())


def _border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width = max(1, int(image.width * rng.uniform(0.02, 0.08)))
    out = image.copy()
    ImageDraw.Draw(out).rectangle((0, 0, image.width - 1, image.height - 1), outline=_color(rng), width=width)
    return out


def _banner(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw a strip of color with a line of text, at the top, at the bottom or in between."""
    width, height = image.size
    tall = int(height * rng.uniform(0.08, 0.22))
    top = int(rng.choice(np.array([0, height - tall, rng.integers(0, height - tall)])))
    out = image.copy()
    draw = ImageDraw.Draw(out)
    draw.rectangle((0, top, width, top + tall), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    letters = "".join(chr(int(v)) for v in rng.integers(65, 91, rng.integers(4, 14)))
    draw.text((int(width * rng.uniform(0.02, 0.3)), top + tall // 6), letters, fill=_color(rng), font_size=tall * 0.6)
    return out


def _watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Write faint text across the image."""
    over = image.copy()
    letters = "".join(chr(int(v)) for v in rng.integers(97, 123, rng.integers(4, 12)))
    place = tuple(int(v) for v in rng.uniform(0, 0.6, 2) * image.width)
    tall = image.width * rng.uniform(0.1, 0.2)
    ImageDraw.Draw(over).text((place[0], place[1]), letters, fill=_color(rng), font_size=tall)
    return Image.blend(image, over, rng.uniform(0.3, 0.8))


def _recompress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(30, 90)))
    return Image.open(file).convert("RGB")


EDITS: tuple[tuple[float, Edit], ...] = (
    (0.5, _recolor),
    (0.1, _border),
    (0.15, _banner),
    (0.1, _watermark),
    (0.3, _recompress),
)
