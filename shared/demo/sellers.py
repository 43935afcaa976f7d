"""What sellers do to a picture before they list it: crop it, frame it, write on it, mirror it, paste it into others."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from shared.demo.canvas import contrasting, font, lighter, mix
from shared.demo.chance import pick
from shared.demo.scenes import resized
from shared.demo.words import BRAND_ENDS, BRAND_STARTS, COLORS, RGB

SLOGANS = (
    "PROMO", "GRATIS ONGKIR", "COD", "READY STOCK", "SALE 50%", "BEST SELLER", "ORIGINAL 100%", "TERMURAH",
    "FLASH SALE", "BELI 1 GRATIS 1", "BISA COD", "DISKON", "STOK TERBATAS", "NEW ARRIVAL",
)  # fmt: skip
BADGES = ("PROMO", "COD", "SALE", "NEW", "ORI", "DISKON", "50%", "HOT", "BARU", "2021")
EDIT_COUNTS = (0.15, 0.45, 0.30, 0.10)  # shares of pictures with none, one, two and three edits
LOUD: tuple[RGB, ...] = ((255, 40, 40), (255, 150, 0), (0, 120, 220), (20, 160, 80))
WHITE: RGB = (255, 255, 255)
LONGEST, SHORTEST = 256, 160  # pixels of the longest side
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def edited(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A copy of an RGB picture after none to three different edits, its longest side 160 to 256 pixels."""
    count = rng.choice(len(EDIT_COUNTS), p=EDIT_COUNTS)
    names = rng.choice(list(EDITS), size=count, replace=False, p=_edit_shares())
    for name in names.tolist():
        picture = EDITS[name][0](picture, rng)
    return within_limits(picture)


def within_limits(picture: Image.Image) -> Image.Image:
    """The picture, resized if its longest side is out of bounds."""
    longest = max(picture.size)
    wanted = min(max(longest, SHORTEST), LONGEST)
    return picture if wanted == longest else resized(picture, wanted / longest)


def collage(pictures: list[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Two to four pictures side by side, or one with the others small beneath it."""
    side = int(rng.integers(110, 128))
    tiles = [picture.resize((side, side), Image.Resampling.BILINEAR) for picture in pictures]
    if rng.random() < 0.5 or len(tiles) == 2:
        across = 2
        sheet = Image.new("RGB", (side * across, side * -(-len(tiles) // across)), (255, 255, 255))
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (number % across * side, number // across * side))
        return within_limits(sheet)
    sheet = Image.new("RGB", (190, 250), (255, 255, 255))
    sheet.paste(pictures[0].resize((190, 190)))
    for number, tile in enumerate(tiles[1:]):
        sheet.paste(tile.resize((60, 58)), (2 + number * 64, 191))
    return sheet


def inset(picture: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture with another one small in a corner."""
    small = other.resize((picture.width // 3, picture.height // 3))
    corner = (picture.width - small.width - 3, 3 if rng.random() < 0.5 else picture.height - small.height - 3)
    result = picture.copy()
    result.paste(small, corner)
    edge = (*corner, corner[0] + small.width, corner[1] + small.height)
    ImageDraw.Draw(result).rectangle(edge, outline=(255, 90, 30))
    return result


def shop_card(number: int) -> Image.Image:
    """A shop's own card, which it uses as the picture of quite different products."""
    rng = np.random.default_rng([number])
    tone = pick(COLORS, rng).rgb
    card = Image.new("RGB", (220, 220), tone)
    pen = ImageDraw.Draw(card)
    pen.rectangle((14, 60, 206, 160), fill=lighter(tone, 0.75))
    pen.text((110, 95), shop_name(rng), (30, 30, 34), font(26), anchor="mm", stroke_width=1)
    pen.text((110, 135), pick(SLOGANS, rng), (180, 30, 40), font(16), anchor="mm")
    return card


def shop_name(rng: np.random.Generator) -> str:
    """An invented shop's name."""
    return pick(BRAND_STARTS, rng) + pick(BRAND_ENDS, rng) + pick((" Store", " Shop", " Official", " ID", " Mart"), rng)


def _shrink(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return resized(picture, rng.uniform(0.7, 0.95))


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    left, top, right, bottom = rng.uniform(0.02, 0.15, size=4)
    width, height = picture.size
    return picture.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def _frame(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    margin = int(rng.uniform(0.04, 0.13) * max(picture.size))
    top, bottom = margin, margin * int(rng.choice([1, 1, 3]))
    framed = Image.new("RGB", (picture.width + 2 * margin, picture.height + top + bottom), _loud(rng))
    framed.paste(picture, (margin, top))
    if bottom > top:
        _write(framed, pick(SLOGANS, rng), (framed.width / 2, framed.height - bottom / 2), bottom * 0.5)
    return framed


def _pad(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(max(picture.size) * rng.uniform(1.0, 1.15))
    padded = Image.new("RGB", (side, side), (255, 255, 255) if rng.random() < 0.6 else (0, 0, 0))
    padded.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return padded


def _banner(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    result = picture.copy()
    height = int(picture.height * rng.uniform(0.12, 0.22))
    top = 0 if rng.random() < 0.4 else picture.height - height
    tone = _loud(rng)
    ImageDraw.Draw(result).rectangle((0, top, picture.width, top + height), fill=tone)
    _write(result, pick(SLOGANS, rng), (picture.width / 2, top + height / 2), height * 0.62, contrasting(tone))
    return result


def _badge(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    result = picture.copy()
    half = min(picture.size) * rng.uniform(0.12, 0.19)
    x = half + 3 if rng.random() < 0.5 else picture.width - half - 3
    y = half + 3 if rng.random() < 0.6 else picture.height - half - 3
    tone = _loud(rng)
    ImageDraw.Draw(result).ellipse((x - half, y - half, x + half, y + half), fill=tone)
    _write(result, pick(BADGES, rng), (x, y), half * 0.5, contrasting(tone))
    return result


def _watermark(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    ink = Image.new("L", picture.size)
    height = max(12, int(picture.height * rng.uniform(0.08, 0.13)))
    at = (picture.width / 2, picture.height * rng.uniform(0.35, 0.8))
    ImageDraw.Draw(ink).text(at, shop_name(rng), int(rng.integers(110, 190)), font(height), anchor="mm")
    if rng.random() < 0.4:
        ink = ink.rotate(30, Image.Resampling.BILINEAR)
    result = picture.copy()
    result.paste((255, 255, 255) if rng.random() < 0.4 else (70, 70, 74), (0, 0), ink)
    return result


def _flip(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _tilt(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    corner = picture.getpixel((1, 1))
    return picture.rotate(rng.uniform(3, 9) * rng.choice([-1, 1]), Image.Resampling.BILINEAR, fillcolor=corner)


def _tint(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A phone camera's idea of the light: warmer or colder, darker or brighter, duller or harsher."""
    warm = rng.uniform(-18, 18)
    cast = (round(245 + warm / 2), 245, round(245 - warm))
    tinted = ImageChops.multiply(picture, Image.new("RGB", picture.size, cast))
    tinted = ImageEnhance.Brightness(tinted).enhance(rng.uniform(0.8, 1.2))
    return ImageEnhance.Contrast(tinted).enhance(rng.uniform(0.8, 1.25))


def _blur(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture that went through a messenger: shrunk and enlarged again."""
    return resized(picture, rng.uniform(0.4, 0.6)).resize(picture.size, Image.Resampling.BILINEAR)


EDITS: dict[str, tuple[Edit, float]] = {
    "shrink": (_shrink, 2), "crop": (_crop, 3), "frame": (_frame, 3), "pad": (_pad, 2), "banner": (_banner, 3),
    "badge": (_badge, 2), "watermark": (_watermark, 2), "flip": (_flip, 1), "tilt": (_tilt, 1), "tint": (_tint, 2),
    "blur": (_blur, 1),
}  # fmt: skip


def _edit_shares() -> list[float]:
    weights = [weight for _, weight in EDITS.values()]
    return [weight / sum(weights) for weight in weights]


def _write(picture: Image.Image, words: str, at: tuple[float, float], height: float, ink: RGB = WHITE) -> None:
    size = max(8, int(height))
    size = max(8, min(size, int(size * 0.92 * picture.width / font(size).getlength(words))))
    ImageDraw.Draw(picture).text(at, words, ink, font(size), anchor="mm", stroke_width=1)


def _loud(rng: np.random.Generator) -> RGB:
    """A color that shouts."""
    return mix(pick(COLORS, rng).rgb, pick(LOUD, rng), 0.6)
