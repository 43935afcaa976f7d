"""Place a product before a background, as in a stock photo or in a photo by the seller."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from shared.demo.canvas import Look, darker, lighter, mix
from shared.demo.chance import pick
from shared.demo.drawing import draw
from shared.demo.words import COLORS, RGB

POSES = ("front", "angled", "leaning", "pair", "back", "close", "lying", "trio")
CLOSE_UP = 1.6  # factor of the size in a close-up, which the image crops
ASPECTS = (1.0, 1.0, 1.0, 0.75, 1.33, 0.8)
Size = tuple[int, int]


class Shot(NamedTuple):
    """How a photo is taken.

    Attributes:
        pose: How the product stands, one of `POSES`.
        size: Width and height in pixels.
        fill: Share of the image's width or height that the product takes.
        offset: Where it stands: shares of the image, right and down from the center.
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
    """Return a random shot of a stock photo: mostly before white, the product centered and large."""
    backdrop = "plain" if rng.random() < 0.6 else pick(list(BACKDROPS), rng)
    tone = (255, 255, 255) if rng.random() < 0.6 else lighter(_color(rng), rng.uniform(0.5, 0.85))
    pose = "front" if rng.random() < 0.4 else pick(POSES, rng)
    return Shot(pose, _size(rng), rng.uniform(0.74, 0.95), (0.0, 0.0), backdrop, tone, lighter(_color(rng), 0.4))


def seller_shot(rng: np.random.Generator) -> Shot:
    """Return a random shot of a photo by the seller: before a wall or on a table, the product off center."""
    offset = (rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.06))
    tone = mix(_color(rng), (190, 180, 165), rng.uniform(0.3, 0.8))
    second = mix(_color(rng), (120, 100, 80), 0.6)
    fill = rng.uniform(0.6, 0.88)
    return Shot(pick(POSES, rng), _size(rng), fill, offset, pick(list(BACKDROPS), rng), tone, second)


def photograph(look: Look, shot: Shot) -> Image.Image:
    """Return the RGB photo of a product that a shot gives."""
    if shot.pose == "close":
        shot = shot._replace(fill=shot.fill * CLOSE_UP)
    return arrange([draw_pose(look, shot.pose)], shot)


def arrange(subjects: list[Image.Image], shot: Shot) -> Image.Image:
    """Return an RGB image of RGBA drawings side by side before the backdrop of a shot."""
    width, height = shot.size
    image = Image.new("RGB", shot.size, shot.tone)
    BACKDROPS[shot.backdrop](image, shot.tone, shot.second)
    room = width / len(subjects)
    for number, subject in enumerate(subjects):
        copy = scale(subject, min(room / subject.width, height / subject.height) * shot.fill)
        left = int(room * (number + 0.5 + shot.offset[0]) - copy.width / 2)
        top = int(height * (0.5 + shot.offset[1]) - copy.height / 2)
        _cast_shadow(image, left, top + copy.height, copy.width)
        image.paste(copy, (left, top), copy)
    return image


def draw_pose(look: Look, pose: str) -> Image.Image:
    """Return the RGBA drawing of a product in a pose, cropped to it."""
    front = _draw(look, pose == "back")
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


_draw = lru_cache(maxsize=8)(draw)


def scale(image: Image.Image, factor: float) -> Image.Image:
    """Return an image scaled by a factor, at least one pixel wide and high."""
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BILINEAR)


def _group(front: Image.Image, count: int) -> Image.Image:
    step = int(front.width * 0.62)
    group = Image.new("RGBA", (front.width + step * (count - 1), front.height))
    for number in reversed(range(count)):
        group.paste(front, (number * step, 0), front)
    return group


def _cast_shadow(image: Image.Image, left: int, bottom: int, width: int) -> None:
    height = max(4, width // 7)
    shadow = _shadow().resize((int(width * 1.1), height))
    image.paste((30, 28, 28), (left - width // 20, bottom - height // 2), shadow)


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


def _plain(image: Image.Image, tone: RGB, second: RGB) -> None:
    """Leave the image as it is."""


def _fading(image: Image.Image, tone: RGB, second: RGB) -> None:
    strip = Image.new("RGB", (1, 2))
    strip.putpixel((0, 0), tone)
    strip.putpixel((0, 1), second)
    image.paste(strip.resize(image.size, Image.Resampling.BILINEAR))


def _spotlight(image: Image.Image, tone: RGB, second: RGB) -> None:
    light = Image.new("L", (9, 9))
    light.paste(230, (3, 2, 6, 6))
    mask = light.resize(image.size, Image.Resampling.BICUBIC)
    image.paste(second, (0, 0, *image.size))
    image.paste(lighter(tone, 0.7), (0, 0), mask)


def _table(image: Image.Image, tone: RGB, second: RGB) -> None:
    top = int(image.height * 0.68)
    ImageDraw.Draw(image).rectangle((0, top, image.width, image.height), fill=second)


def _planks(image: Image.Image, tone: RGB, second: RGB) -> None:
    pen = ImageDraw.Draw(image)
    for number, x in enumerate(range(0, image.width, image.width // 6)):
        pen.rectangle((x, 0, x + image.width // 6, image.height), fill=mix(tone, second, number % 3 * 0.25))
        pen.line((x, 0, x, image.height), fill=darker(second), width=1)


def _tiles(image: Image.Image, tone: RGB, second: RGB) -> None:
    pen = ImageDraw.Draw(image)
    for start in range(0, max(image.size), 40):
        pen.line((start, 0, start, image.height), fill=darker(tone, 0.2), width=2)
        pen.line((0, start, image.width, start), fill=darker(tone, 0.2), width=2)


def _bokeh(image: Image.Image, tone: RGB, second: RGB) -> None:
    pen = ImageDraw.Draw(image, "RGBA")
    for number in range(9):
        x, y = image.width * (number * 37 % 100) / 100, image.height * (number * 61 % 100) / 100
        half = 14 + number * 3
        pen.ellipse((x - half, y - half, x + half, y + half), fill=(*lighter(second, number % 4 / 5), 110))


BACKDROPS: dict[str, Callable[[Image.Image, RGB, RGB], None]] = {
    "plain": _plain, "fading": _fading, "spotlight": _spotlight, "table": _table, "planks": _planks, "tiles": _tiles,
    "bokeh": _bokeh,
}  # fmt: skip
