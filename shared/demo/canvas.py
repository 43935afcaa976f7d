"""A drawing board of 100 × 100 units, and the textures and the light of the demo's products."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from shared.demo.words import RGB

BOARD = 300  # width and height in pixels, for 100 units
SCALE = BOARD / 100
Point = tuple[float, float]
Box = tuple[float, float, float, float]
Fill = RGB | Image.Image


class Look(NamedTuple):
    """The appearance of a product: everything that a drawing of it shows.

    Attributes:
        form: The silhouette, a key of `drawing.FORMS`.
        brand: Text on the label.
        line: Text on the label, smaller.
        option: The name of the flavor or scent, or empty.
        main: The color of the body.
        second: The color of caps, soles and trimmings.
        panel: The color of the label.
        ink: The color of the text on the label.
        pattern: A key of `PATTERNS`.
        layout: A key of `labels.LAYOUTS`.
        icon: A key of `labels.ICONS`.
        shape: Eight numbers in [0, 1] that set the proportions.
    """

    form: str
    brand: str
    line: str
    option: str
    main: RGB
    second: RGB
    panel: RGB
    ink: RGB
    pattern: str
    layout: str
    icon: str
    shape: tuple[float, ...]

    def between(self, low: float, high: float, number: int) -> float:
        """Return proportion `number` of `shape`, scaled from [0, 1] to [low, high]."""
        return low + (high - low) * self.shape[number]


class Sketch:
    """A transparent square board of 100 × 100 units to draw on."""

    def __init__(self) -> None:
        """Start with an empty board."""
        self.image = Image.new("RGBA", (BOARD, BOARD))
        self.pen = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], fill: Fill) -> None:
        """Fill a polygon with a color or a texture."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._fill(lambda pen, ink: pen.polygon(scaled, fill=ink), fill)

    def block(self, box: Box, fill: Fill, radius: float = 0) -> None:
        """Fill a rectangle (left, top, right, bottom), with corners of a radius."""
        self._fill(lambda pen, ink: pen.rounded_rectangle(_to_pixels(box), radius * SCALE, fill=ink), fill)

    def oval(self, box: Box, fill: Fill) -> None:
        """Fill the ellipse inscribed in a box."""
        self._fill(lambda pen, ink: pen.ellipse(_to_pixels(box), fill=ink), fill)

    def stroke(self, points: Sequence[Point], fill: RGB, width: float) -> None:
        """Draw a line through points, `width` units thick, with round joints."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.pen.line(scaled, fill=fill, width=max(1, round(width * SCALE)), joint="curve")

    def ring(self, box: Box, fill: RGB, width: float, start: float = 0, end: float = 360) -> None:
        """Draw the outline of an ellipse, or its arc between two angles in degrees."""
        self.pen.arc(_to_pixels(box), start, end, fill=fill, width=max(1, round(width * SCALE)))

    def lathe(self, profile: Sequence[Point], fill: Fill, center: float = 50) -> None:
        """Fill a shape that is symmetric about a vertical axis, given as (half width, y) from top to bottom."""
        right = [(center + half, y) for half, y in profile]
        left = [(center - half, y) for half, y in reversed(profile)]
        self.polygon(right + left, fill)

    def text(self, center: Point, words: str, height: float, width: float, ink: RGB, bold: bool = False) -> None:
        """Write one line around a center, `height` units high, or less where it would be wider than `width`."""
        if not words:
            return
        size = _fitting_size(words, round(height * SCALE), width * SCALE)
        position = (center[0] * SCALE, center[1] * SCALE)
        self.pen.text(position, words, ink, font(size), anchor="mm", stroke_width=int(bold))

    def _fill(self, draw: Callable[[ImageDraw.ImageDraw, RGB | int], None], fill: Fill) -> None:
        if isinstance(fill, tuple):
            draw(self.pen, fill)
            return
        mask = Image.new("L", self.image.size)
        draw(ImageDraw.Draw(mask), 255)
        self.image.paste(fill, (0, 0), mask)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font in a size in pixels; no font needs to be installed."""
    return ImageFont.load_default(size)


def _fitting_size(words: str, size: int, width: float) -> int:
    length = font(size).getlength(words)
    return max(6, size if length <= width else int(size * width / length))


def _to_pixels(box: Box) -> Box:
    left, top, right, bottom = box
    return left * SCALE, top * SCALE, right * SCALE, bottom * SCALE


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """Return a color between two colors: 0 gives the first, 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def darker(color: RGB, share: float = 0.3) -> RGB:
    """Return a color mixed with a share of black."""
    return mix(color, (0, 0, 0), share)


def lighter(color: RGB, share: float = 0.4) -> RGB:
    """Return a color mixed with a share of white."""
    return mix(color, (255, 255, 255), share)


def contrasting(color: RGB) -> RGB:
    """Return near black or near white, whichever is easier to read on a color."""
    red, green, blue = color
    return (30, 30, 34) if 0.3 * red + 0.59 * green + 0.11 * blue > 140 else (250, 250, 248)


def texture(look: Look) -> Image.Image:
    """Return a sheet of the board's size with the pattern of a look on its main color."""
    sheet = Image.new("RGB", (BOARD, BOARD), look.main)
    accent = look.second if look.shape[7] < 0.5 else mix(look.main, contrasting(look.main), 0.3)
    PATTERNS[look.pattern](ImageDraw.Draw(sheet), accent, round(16 + 34 * look.shape[6]))
    return sheet


def _plain(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    """Leave the sheet as it is."""


def _stripes(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for x in range(0, BOARD, step):
        pen.rectangle((x, 0, x + step // 2, BOARD), fill=accent)


def _hoops(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for y in range(0, BOARD, step):
        pen.rectangle((0, y, BOARD, y + step // 3), fill=accent)


def _diagonals(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for x in range(-BOARD, BOARD, step):
        pen.line((x, BOARD, x + BOARD, 0), fill=accent, width=step // 3)


def _dots(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for row, y in enumerate(range(0, BOARD, step)):
        for x in range(row % 2 * step // 2, BOARD, step):
            pen.ellipse((x, y, x + step // 2.4, y + step // 2.4), fill=accent)


def _checks(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for row, y in enumerate(range(0, BOARD, step)):
        for x in range(row % 2 * step, BOARD, 2 * step):
            pen.rectangle((x, y, x + step - 1, y + step - 1), fill=accent)


def _plaid(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for start in range(step // 2, BOARD, 2 * step):
        pen.rectangle((start, 0, start + step // 2, BOARD), fill=accent)
        pen.rectangle((0, start, BOARD, start + step // 3), fill=darker(accent))


def _waves(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    x = np.arange(0, BOARD + 10, 10)
    for y in range(0, BOARD + step, step):
        crest = y + step / 3 * np.sin(x / step * 2)
        pen.line(list(zip(x.tolist(), crest.tolist(), strict=True)), fill=accent, width=max(3, step // 5))


def _splash(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    pen.ellipse((-step, BOARD * 0.55, BOARD * 0.8, BOARD * 1.3), fill=accent)
    pen.ellipse((BOARD * 0.45, BOARD * 0.68, BOARD * 1.2, BOARD * 1.4), fill=lighter(accent, 0.3))


def _halves(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    pen.polygon([(0, BOARD * 0.4), (BOARD, BOARD * 0.4 + 2 * step), (BOARD, BOARD), (0, BOARD)], fill=accent)


def _flowers(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    petal = step * 0.28
    for row, y in enumerate(range(0, BOARD + step, step)):
        for x in range(row % 2 * step // 2, BOARD + step, step + 8):
            for dx, dy in ((-petal, 0), (petal, 0), (0, -petal), (0, petal)):
                pen.ellipse((x + dx - petal, y + dy - petal, x + dx + petal, y + dy + petal), fill=accent)
            pen.ellipse((x - petal / 2, y - petal / 2, x + petal / 2, y + petal / 2), fill=(248, 214, 90))


def _rays(pen: ImageDraw.ImageDraw, accent: RGB, step: int) -> None:
    for angle in range(0, 360, max(12, step)):
        pen.pieslice((-BOARD, -BOARD, 2 * BOARD, 2 * BOARD), angle, angle + max(12, step) / 2, fill=accent)


PATTERNS: dict[str, Callable[[ImageDraw.ImageDraw, RGB, int], None]] = {
    "plain": _plain, "stripes": _stripes, "hoops": _hoops, "diagonals": _diagonals, "dots": _dots, "checks": _checks,
    "plaid": _plaid, "waves": _waves, "splash": _splash, "halves": _halves, "flowers": _flowers, "rays": _rays,
}  # fmt: skip


def add_light(image: Image.Image, light: str) -> Image.Image:
    """Shade a drawing in place, as if light came from the upper left, and return it.

    Args:
        image: RGBA drawing.
        light: "round" for bottles and the like, "flat" for boxes and screens, "soft" for cloth and foil.
    """
    box = image.getbbox()
    if box is None:
        return image
    size = (box[2] - box[0], box[3] - box[1])
    alpha = image.getchannel("A")
    body = image.crop(box).convert("RGB")
    shade, shine = (part.resize(size, Image.Resampling.BILINEAR).convert("RGB") for part in _light(light))
    image.paste(ImageChops.screen(ImageChops.multiply(body, shade), shine), box)
    image.putalpha(alpha)
    return image


@cache
def _light(light: str) -> tuple[Image.Image, Image.Image]:
    """Return factors below 1 (shade) and brightness to add (shine), each 48 × 48 pixels."""
    y, x = np.mgrid[0:1:48j, 0:1:48j]
    if light == "round":
        shade = 1 - 0.5 * np.abs(2 * x - 0.85) ** 2.5
        shine = 0.35 * np.exp(-(((x - 0.27) / 0.06) ** 2)) + 0.12 * np.exp(-(((x - 0.86) / 0.03) ** 2))
    elif light == "soft":
        shade = 0.9 - 0.12 * np.sin(9 * x + 4 * y) * np.sin(5 * y + 1) - 0.1 * x * y
        shine = 0.12 * np.clip(np.sin(7 * x - 6 * y + 1), 0, 1) ** 4
    else:
        shade = 1.02 - 0.22 * (x + y) / 2
        shine = 0.14 * np.exp(-(((x + y - 0.6) / 0.16) ** 2))
    return _gray(shade), _gray(shine)


def _gray(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image.Image:
    return Image.fromarray((255 * values.clip(0, 1)).astype(np.uint8))
