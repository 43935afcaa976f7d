"""Make the listings of a family of products: choose the shops that list each, write titles, take photos."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from shared.demo.canvas import font
from shared.demo.plan import FamilyPlan
from shared.demo.rows import Row, perceptual_hash, to_jpeg, write_image
from shared.demo.scenes import Shot, photograph, scale, stock_shot
from shared.demo.shops.looks import look_of
from shared.demo.shops.products import Product, sample_family
from shared.demo.shops.styles import Shop, shops_of
from shared.demo.shops.titles import shop_title

PHOTO_QUALITY, SHOP_QUALITY = 90, 80  # of JPEG files: the manufacturer's, and those that shops save anew
POSES = ("front", "front", "front", "angled")
SECOND_PHOTO = 0.15  # share of the listings with the manufacturer's other photo


def make_listings(plan: FamilyPlan, seed: int, images: Path) -> list[tuple[int, Row]]:
    """Return all listings of a family, and write their images.

    Args:
        plan: The family.
        seed: The catalog's seed.
        images: The folder for the JPEG files.

    Returns:
        (row number, row) of each listing.
    """
    rng = np.random.default_rng([seed, 12, plan.index])
    family = sample_family(len(plan.labels), rng)
    axis = family.axis if len(family.products) > 1 else ""
    shots = [_photo_shot(rng) for _ in range(2)]
    shops = shops_of(seed)
    weights = np.array([shop.weight for shop in shops])
    listings = []
    for product, label, rows in zip(family.products, plan.labels, plan.rows, strict=True):
        numbers = rng.choice(len(shops), size=len(rows), replace=False, p=weights / weights.sum())
        for row, number in zip(rows, numbers.tolist(), strict=True):
            shop = shops[number]
            title = shop_title(product, axis, shop, rng)
            shot = shots[int(rng.random() < SECOND_PHOTO)]
            image = _photo(product, shot, shop) if rng.random() < shop.photos else None
            listings.append((row, _listing(row, label, title, image, images)))
    return listings


def _photo_shot(rng: np.random.Generator) -> Shot:
    """Return a shot of a manufacturer's photo: the product large before white."""
    white = (255, 255, 255)
    pose = POSES[int(rng.integers(len(POSES)))]
    return stock_shot(rng)._replace(pose=pose, backdrop="plain", tone=white, second=white)


def _photo(product: Product, shot: Shot, shop: Shop) -> bytes:
    """Return the JPEG file of the manufacturer's photo as a shop has it."""
    photo = photograph(look_of(product), shot)
    if not shop.side:
        return to_jpeg(photo, PHOTO_QUALITY)
    photo = scale(photo, shop.side / max(photo.size))
    return to_jpeg(_with_watermark(photo, shop.name) if shop.watermark else photo, SHOP_QUALITY)


def _with_watermark(photo: Image.Image, name: str) -> Image.Image:
    """Return a photo with the name of a shop in a corner."""
    copy = photo.copy()
    ImageDraw.Draw(copy).text((4, photo.height - 4), name, (150, 150, 155), font(12), anchor="ls")
    return copy


def _listing(row: int, label: str, title: str, jpeg: bytes | None, images: Path) -> Row:
    posting_id = f"demo_{row:06d}"
    if jpeg is None:
        return Row(posting_id, "", "", title, label)
    return Row(posting_id, write_image(jpeg, images), perceptual_hash(jpeg), title, label)
