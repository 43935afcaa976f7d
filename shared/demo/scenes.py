"""Places a product before a background, as in a stock photo or a seller's own."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from shared.demo.canvas import Look, darker, lighter, mix
from shared.demo.chance import pick
from shared.demo.pictures import draw
from shared.demo.words import COLORS, RGB

POSES = ("front", "angled", "leaning", "pair", "back", "close", "lying", "trio")
CLOSE_UP = 1.6  # how much larger than the picture allows
ASPECTS = (1.0, 1.0, 1.0, 0.75, 1.33, 0.8)
Size = tuple[int, int]


class Shot(NamedTuple):
    """How a picture is taken.

    Attributes:
        pose: How the product stands, one of `POSES`.
        size: Width and height in pixels.
        fill: The share of the picture's shorter side that the product takes.
        offset: Where it stands, as shares of the picture, from the center.
        backdrop: A key of `BACKDROPS`.
        tone: The backdrop's color.
        second: The backdrop's other color.
    """

    pose: str
    size: Size
    fill: float
    offset: tuple[float, float]
    backdrop: str
    tone: RGB
    second: RGB


def stock_shot(rng: np.random.Generator) -> Shot:
    """A shop's picture: mostly before white, the product centered and large."""
    backdrop = "plain" if rng.random() < 0.6 else pick(list(BACKDROPS), rng)
    tone = (255, 255, 255) if rng.random() < 0.6 else lighter(_color(rng), rng.uniform(0.5, 0.85))
    pose = "front" if rng.random() < 0.4 else pick(POSES, rng)
    return Shot(pose, _size(rng), rng.uniform(0.74, 0.95), (0.0, 0.0), backdrop, tone, lighter(_color(rng), 0.4))


def own_shot(rng: np.random.Generator) -> Shot:
    """A seller's own picture: before a wall or on a table, the product somewhere in it."""
    offset = (rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.06))
    tone = mix(_color(rng), (190, 180, 165), rng.uniform(0.3, 0.8))
    second = mix(_color(rng), (120, 100, 80), 0.6)
    fill = rng.uniform(0.6, 0.88)
    return Shot(pick(POSES, rng), _size(rng), fill, offset, pick(list(BACKDROPS), rng), tone, second)


def photograph(look: Look, shot: Shot) -> Image.Image:
    """The RGB picture of a product that a shot gives."""
    if shot.pose == "close":
        shot = shot._replace(fill=shot.fill * CLOSE_UP)
    return arrange([posed(look, shot.pose)], shot)


def arrange(subjects: list[Image.Image], shot: Shot) -> Image.Image:
    """Place RGBA subjects side by side before the shot's backdrop."""
    width, height = shot.size
    picture = Image.new("RGB", shot.size, shot.tone)
    BACKDROPS[shot.backdrop](picture, shot.tone, shot.second)
    room = width / len(subjects)
    for number, subject in enumerate(subjects):
        fitted = resized(subject, min(room / subject.width, height / subject.height) * shot.fill)
        left = int(room * (number + 0.5 + shot.offset[0]) - fitted.width / 2)
        top = int(height * (0.5 + shot.offset[1]) - fitted.height / 2)
        _cast_shadow(picture, left, top + fitted.height, fitted.width)
        picture.paste(fitted, (left, top), fitted)
    return picture


def posed(look: Look, pose: str) -> Image.Image:
    """The product's RGBA drawing in a pose, trimmed."""
    front = _drawn(look, pose == "back")
    width, height = front.size
    if pose == "angled":
        slim = front.resize((int(width * 0.72), height), Image.Resampling.BILINEAR)
        shear = (1, 0, 0, -0.12, 1, 0.05 * width)
        return slim.transform(slim.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
    if pose in ("leaning", "lying"):
        turned = front.rotate(18 if pose == "leaning" else 72, Image.Resampling.BILINEAR, expand=True)
        return turned.crop(turned.getbbox())
    if pose in ("pair", "trio"):
        return _group(front, 2 if pose == "pair" else 3)
    return front


_drawn = lru_cache(maxsize=8)(draw)


def resized(image: Image.Image, factor: float) -> Image.Image:
    """An image scaled by a factor, at least a pixel wide and high."""
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BILINEAR)


def _group(front: Image.Image, count: int) -> Image.Image:
    step = int(front.width * 0.62)
    group = Image.new("RGBA", (front.width + step * (count - 1), front.height))
    for number in reversed(range(count)):
        group.paste(front, (number * step, 0), front)
    return group


def _cast_shadow(picture: Image.Image, left: int, bottom: int, width: int) -> None:
    height = max(4, width // 7)
    shadow = _shadow().resize((int(width * 1.1), height))
    picture.paste((30, 28, 28), (left - width // 20, bottom - height // 2), shadow)


@cache
def _shadow() -> Image.Image:
    shadow = Image.new("L", (64, 24))
    ImageDraw.Draw(shadow).ellipse((10, 7, 54, 17), fill=130)
    return shadow.filter(ImageFilter.GaussianBlur(4))


def _size(rng: np.random.Generator) -> Size:
    longest = int(rng.integers(192, 257))
    aspect = pick(ASPECTS, rng)
    return (longest, round(longest / aspect)) if aspect >= 1 else (round(longest * aspect), longest)


def _color(rng: np.random.Generator) -> RGB:
    return pick(COLORS, rng).rgb


def _plain(picture: Image.Image, tone: RGB, second: RGB) -> None:
    """Leave the picture as it is."""


def _fading(picture: Image.Image, tone: RGB, second: RGB) -> None:
    strip = Image.new("RGB", (1, 2))
    strip.putpixel((0, 0), tone)
    strip.putpixel((0, 1), second)
    picture.paste(strip.resize(picture.size, Image.Resampling.BILINEAR))


def _spotlight(picture: Image.Image, tone: RGB, second: RGB) -> None:
    light = Image.new("L", (9, 9))
    light.paste(230, (3, 2, 6, 6))
    mask = light.resize(picture.size, Image.Resampling.BICUBIC)
    picture.paste(second, (0, 0, *picture.size))
    picture.paste(lighter(tone, 0.7), (0, 0), mask)


def _table(picture: Image.Image, tone: RGB, second: RGB) -> None:
    top = int(picture.height * 0.68)
    ImageDraw.Draw(picture).rectangle((0, top, picture.width, picture.height), fill=second)


def _planks(picture: Image.Image, tone: RGB, second: RGB) -> None:
    pen = ImageDraw.Draw(picture)
    for number, x in enumerate(range(0, picture.width, picture.width // 6)):
        pen.rectangle((x, 0, x + picture.width // 6, picture.height), fill=mix(tone, second, number % 3 * 0.25))
        pen.line((x, 0, x, picture.height), fill=darker(second), width=1)


def _tiles(picture: Image.Image, tone: RGB, second: RGB) -> None:
    pen = ImageDraw.Draw(picture)
    for at in range(0, max(picture.size), 40):
        pen.line((at, 0, at, picture.height), fill=darker(tone, 0.2), width=2)
        pen.line((0, at, picture.width, at), fill=darker(tone, 0.2), width=2)


def _bokeh(picture: Image.Image, tone: RGB, second: RGB) -> None:
    pen = ImageDraw.Draw(picture, "RGBA")
    for number in range(9):
        x, y = picture.width * (number * 37 % 100) / 100, picture.height * (number * 61 % 100) / 100
        half = 14 + number * 3
        pen.ellipse((x - half, y - half, x + half, y + half), fill=(*lighter(second, number % 4 / 5), 110))


BACKDROPS: dict[str, Callable[[Image.Image, RGB, RGB], None]] = {
    "plain": _plain, "fading": _fading, "spotlight": _spotlight, "table": _table, "planks": _planks, "tiles": _tiles,
    "bokeh": _bokeh,
}  # fmt: skip
