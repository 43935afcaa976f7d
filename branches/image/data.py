"""Pictures as arrays: decoded once, resized, and altered in training as sellers alter them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.nn import functional
from tqdm import tqdm

from shared.catalog.images import PILLOW_MAX_PIXELS, ImageFault, open_image
from shared.schema import Catalog, Flags
from shared.training.prefetch import prefetched

Pictures = NDArray[np.uint8]
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]

MARGIN = 1.15  # training pictures are kept this much larger than they are trained at, to crop from
IN_MEMORY = 2**30  # bytes of decoded pictures; more than that go to a file


def distinct_pictures(catalog: Catalog, rows: NDArray[np.int64]) -> tuple[list[Path], NDArray[np.int64]]:
    """The different pictures among some listings that have one, in the order of their content's digest.

    Returns:
        A file for each picture, and which picture each of `rows` has, int64 [m].
    """
    digests = catalog.column("image_sha")[rows].astype(str)
    _, first, picture = np.unique(digests, return_index=True, return_inverse=True)
    paths = catalog.image_paths()
    return [path for path in (paths[row] for row in rows[first]) if path is not None], picture.astype(np.int64)


def read_picture(path: Path, size: int, interpolation: str) -> Pictures | None:
    """A picture squashed to uint8 [size, size, 3]; None if it cannot be decoded (any more)."""
    try:
        picture = open_image(path, PILLOW_MAX_PIXELS, size)  # was measured against the user's limit when catalogd
    except ImageFault:
        return None
    return squashed(picture, size, interpolation)


def squashed(picture: Image.Image, size: int, interpolation: str) -> Pictures:
    """A picture in mode RGB as uint8 [size, size, 3]; "bilinear" or "bicubic", as Pillow does it but faster."""
    pixels = torch.from_numpy(np.array(picture)).unsqueeze(0).permute(0, 3, 1, 2)  # [1, 3, h, w], channels last
    resized = functional.interpolate(pixels, (size, size), mode=interpolation, antialias=True)
    return np.asarray(resized[0].permute(1, 2, 0))


def read_batch(paths: Sequence[Path], size: int, interpolation: str) -> tuple[Pictures, Flags]:
    """Pictures, uint8 [b, size, size, 3], and which of them could be decoded, bool [b]; the others are black."""
    pictures = [read_picture(path, size, interpolation) for path in paths]
    black = np.zeros((size, size, 3), dtype=np.uint8)
    usable = np.array([picture is not None for picture in pictures])
    return np.stack([black if picture is None else picture for picture in pictures]), usable


def read_all(
    paths: Sequence[Path], size: int, interpolation: str, workers: int, overflow: Path
) -> tuple[Pictures, Flags]:
    """Like `read_batch` for any number of pictures, which go to the file `overflow` where memory would be short."""
    shape = (len(paths), size, size, 3)
    if np.prod(shape, dtype=np.int64) <= IN_MEMORY:
        pictures: Pictures = np.zeros(shape, dtype=np.uint8)
    else:
        overflow.parent.mkdir(parents=True, exist_ok=True)
        pictures = np.memmap(overflow, dtype=np.uint8, mode="w+", shape=shape)
    usable = np.zeros(len(paths), dtype=bool)
    bar = tqdm(total=len(paths), desc="image: read", unit="picture", disable=None)
    jobs = prefetched(lambda at: read_picture(paths[at], size, interpolation), range(len(paths)), workers, ahead=16)
    for at, picture in jobs:
        if picture is not None:
            pictures[at], usable[at] = picture, True
        bar.update()
    bar.close()
    return pictures, usable


def resized(picture: Pictures, size: int) -> Pictures:
    """A training picture, uint8 [s, s, 3], as it is when nothing is altered: uint8 [size, size, 3]."""
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def altered(picture: Pictures, another: Pictures, size: int, strength: float, rng: np.random.Generator) -> Pictures:
    """A training picture as another seller might have published it.

    Args:
        picture: uint8 [s, s, 3].
        another: Any other picture of that shape, for a collage.
        size: Pixels of the result.
        strength: Factor of every edit's probability, in [0, 1]; 0 only resizes.
        rng: All that is random comes from here.

    Returns:
        uint8 [size, size, 3].
    """
    image = Image.fromarray(picture)
    if rng.random() < 0.08 * strength:
        image = _collage(image, Image.fromarray(another), rng)
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
    """Crop or pad, stretch, turn by up to 10 degrees and perhaps mirror: one affine map."""
    zoom = rng.uniform(0.7, 1.2)  # share of the side that is seen; above 1 it is padded
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
    """Put a small copy of another picture into a corner, or the two side by side."""
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
    for picture, at in zip((image, other), rng.permutation(2), strict=True):
        out.paste(picture.resize((half, half)), places[at])
    return out


def _recolor(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and a cast, by one table a channel."""
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
    """A strip of color with a line of writing, at the top, the bottom or in between."""
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
    """Faint writing across the picture."""
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
