"""Edits that sellers make to an image before they list it: crop, frame, write on, mirror, combine."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from shared.demo.canvas import contrasting, font, lighter, mix
from shared.demo.chance import pick
from shared.demo.scenes import scale
from shared.demo.words import BRAND_ENDS, BRAND_STARTS, COLORS, RGB

SLOGANS = (
    "PROMO", "GRATIS ONGKIR", "COD", "READY STOCK", "SALE 50%", "BEST SELLER", "ORIGINAL 100%", "TERMURAH",
    "FLASH SALE", "BELI 1 GRATIS 1", "BISA COD", "DISKON", "STOK TERBATAS", "NEW ARRIVAL",
)  # fmt: skip
BADGES = ("PROMO", "COD", "SALE", "NEW", "ORI", "DISKON", "50%", "HOT", "BARU", "2021")
EDIT_COUNTS = (0.15, 0.45, 0.30, 0.10)  # shares of images with none, one, two and three edits
LOUD: tuple[RGB, ...] = ((255, 40, 40), (255, 150, 0), (0, 120, 220), (20, 160, 80))
WHITE: RGB = (255, 255, 255)
LONGEST, SHORTEST = 256, 160  # limits of the longer side in pixels
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return an RGB image after none to three different random edits, its longer side 160 to 256 pixels."""
    count = rng.choice(len(EDIT_COUNTS), p=EDIT_COUNTS)
    names = rng.choice(list(EDITS), size=count, replace=False, p=_edit_shares())
    for name in names.tolist():
        image = EDITS[name][0](image, rng)
    return limit_size(image)


def limit_size(image: Image.Image) -> Image.Image:
    """Return an image, scaled if its longer side is out of the limits."""
    longest = max(image.size)
    target = min(max(longest, SHORTEST), LONGEST)
    return image if target == longest else scale(image, target / longest)


def collage(images: list[Image.Image], rng: np.random.Generator) -> Image.Image:
    """Return two to four images side by side, or one with the others small beneath it."""
    side = int(rng.integers(110, 128))
    tiles = [image.resize((side, side), Image.Resampling.BILINEAR) for image in images]
    if rng.random() < 0.5 or len(tiles) == 2:
        across = 2
        sheet = Image.new("RGB", (side * across, side * -(-len(tiles) // across)), (255, 255, 255))
        for number, tile in enumerate(tiles):
            sheet.paste(tile, (number % across * side, number // across * side))
        return limit_size(sheet)
    sheet = Image.new("RGB", (190, 250), (255, 255, 255))
    sheet.paste(images[0].resize((190, 190)))
    for number, tile in enumerate(tiles[1:]):
        sheet.paste(tile.resize((60, 58)), (2 + number * 64, 191))
    return sheet


def inset(image: Image.Image, other: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return an image with another one small in a corner."""
    small = other.resize((image.width // 3, image.height // 3))
    corner = (image.width - small.width - 3, 3 if rng.random() < 0.5 else image.height - small.height - 3)
    result = image.copy()
    result.paste(small, corner)
    edge = (*corner, corner[0] + small.width, corner[1] + small.height)
    ImageDraw.Draw(result).rectangle(edge, outline=(255, 90, 30))
    return result


def shop_card(number: int) -> Image.Image:
    """Return the card of a shop, which it uses as the image of quite different products."""
    rng = np.random.default_rng([number])
    tone = pick(COLORS, rng).rgb
    card = Image.new("RGB", (220, 220), tone)
    pen = ImageDraw.Draw(card)
    pen.rectangle((14, 60, 206, 160), fill=lighter(tone, 0.75))
    pen.text((110, 95), shop_name(rng), (30, 30, 34), font(26), anchor="mm", stroke_width=1)
    pen.text((110, 135), pick(SLOGANS, rng), (180, 30, 40), font(16), anchor="mm")
    return card


def shop_name(rng: np.random.Generator) -> str:
    """Return the invented name of a shop."""
    return pick(BRAND_STARTS, rng) + pick(BRAND_ENDS, rng) + pick((" Store", " Shop", " Official", " ID", " Mart"), rng)


def _shrink(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return scale(image, rng.uniform(0.7, 0.95))


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    left, top, right, bottom = rng.uniform(0.02, 0.15, size=4)
    width, height = image.size
    return image.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def _frame(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    margin = int(rng.uniform(0.04, 0.13) * max(image.size))
    top, bottom = margin, margin * int(rng.choice([1, 1, 3]))
    frame = Image.new("RGB", (image.width + 2 * margin, image.height + top + bottom), _loud(rng))
    frame.paste(image, (margin, top))
    if bottom > top:
        _write(frame, pick(SLOGANS, rng), (frame.width / 2, frame.height - bottom / 2), bottom * 0.5)
    return frame


def _pad(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(max(image.size) * rng.uniform(1.0, 1.15))
    square = Image.new("RGB", (side, side), (255, 255, 255) if rng.random() < 0.6 else (0, 0, 0))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _banner(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    result = image.copy()
    height = int(image.height * rng.uniform(0.12, 0.22))
    top = 0 if rng.random() < 0.4 else image.height - height
    tone = _loud(rng)
    ImageDraw.Draw(result).rectangle((0, top, image.width, top + height), fill=tone)
    _write(result, pick(SLOGANS, rng), (image.width / 2, top + height / 2), height * 0.62, contrasting(tone))
    return result


def _badge(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    result = image.copy()
    half = min(image.size) * rng.uniform(0.12, 0.19)
    x = half + 3 if rng.random() < 0.5 else image.width - half - 3
    y = half + 3 if rng.random() < 0.6 else image.height - half - 3
    tone = _loud(rng)
    ImageDraw.Draw(result).ellipse((x - half, y - half, x + half, y + half), fill=tone)
    _write(result, pick(BADGES, rng), (x, y), half * 0.5, contrasting(tone))
    return result


def _watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    ink = Image.new("L", image.size)
    height = max(12, int(image.height * rng.uniform(0.08, 0.13)))
    center = (image.width / 2, image.height * rng.uniform(0.35, 0.8))
    ImageDraw.Draw(ink).text(center, shop_name(rng), int(rng.integers(110, 190)), font(height), anchor="mm")
    if rng.random() < 0.4:
        ink = ink.rotate(30, Image.Resampling.BILINEAR)
    result = image.copy()
    result.paste((255, 255, 255) if rng.random() < 0.4 else (70, 70, 74), (0, 0), ink)
    return result


def _flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _tilt(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    corner = image.getpixel((1, 1))
    return image.rotate(rng.uniform(3, 9) * rng.choice([-1, 1]), Image.Resampling.BILINEAR, fillcolor=corner)


def _tint(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Change the light as phone cameras do: warmer or colder, darker or brighter, less or more contrast."""
    warm = rng.uniform(-18, 18)
    cast = (round(245 + warm / 2), 245, round(245 - warm))
    result = ImageChops.multiply(image, Image.new("RGB", image.size, cast))
    result = ImageEnhance.Brightness(result).enhance(rng.uniform(0.8, 1.2))
    return ImageEnhance.Contrast(result).enhance(rng.uniform(0.8, 1.25))


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shrink and enlarge an image, as messengers do."""
    return scale(image, rng.uniform(0.4, 0.6)).resize(image.size, Image.Resampling.BILINEAR)


EDITS: dict[str, tuple[Edit, float]] = {
    "shrink": (_shrink, 2), "crop": (_crop, 3), "frame": (_frame, 3), "pad": (_pad, 2), "banner": (_banner, 3),
    "badge": (_badge, 2), "watermark": (_watermark, 2), "flip": (_flip, 1), "tilt": (_tilt, 1), "tint": (_tint, 2),
    "blur": (_blur, 1),
}  # fmt: skip


def _edit_shares() -> list[float]:
    weights = [weight for _, weight in EDITS.values()]
    return [weight / sum(weights) for weight in weights]


def _write(image: Image.Image, words: str, center: tuple[float, float], height: float, ink: RGB = WHITE) -> None:
    size = max(8, int(height))
    size = max(8, min(size, int(size * 0.92 * image.width / font(size).getlength(words))))
    ImageDraw.Draw(image).text(center, words, ink, font(size), anchor="mm", stroke_width=1)


def _loud(rng: np.random.Generator) -> RGB:
    """Return a glaring color."""
    return mix(pick(COLORS, rng).rgb, pick(LOUD, rng), 0.6)
