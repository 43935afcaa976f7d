"""Make the listings of a family: choose an image for each seller, edit it, and write a title.

A listing may lack one clue but not two: where the image does not show the flavor the title names it, and sizes, which
no image shows, are nearly always named. So titles, images and hashes each fail for some pairs that the others get
right.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from shared.demo.canvas import Look
from shared.demo.chance import pick_by_share
from shared.demo.drawing import look_of
from shared.demo.plan import FamilyPlan
from shared.demo.products import Product, sample_family
from shared.demo.rows import Row, perceptual_hash, to_jpeg, write_image
from shared.demo.scenes import Shot, arrange, draw_pose, photograph, seller_shot, stock_shot
from shared.demo.sellers import collage, edit, inset, shop_card
from shared.demo.titles import generic_title, official_title, retouch, seller_title

IMAGE_SHARES = {"stock": 0.42, "edited": 0.29, "seller": 0.17, "collage": 0.08, "family": 0.03, "shop card": 0.01}
TITLE_SHARES = {"official": 0.64, "seller": 0.345, "generic": 0.015}
NAMES_OPTION = 0.88  # share of titles that name color or flavor although the image shows it
NAMES_AMOUNT = {True: 0.97, False: 0.75}  # share of titles that name the size, by whether siblings differ in it
STOCK_QUALITY = 88
SHOP_CARDS = 12


class Family(NamedTuple):
    """The common properties of a family's listings.

    Attributes:
        products: The siblings.
        looks: The appearance of each of them.
        shots: The shots of each that exist as stock photos, most popular first.
        title_seeds: Seeds of the title that most shops copy.
    """

    products: list[Product]
    looks: list[Look]
    shots: list[Shot]
    title_seeds: tuple[int, ...]


def make_listings(plan: FamilyPlan, seed: int, families: int, images: Path) -> list[tuple[int, Row]]:
    """Return all listings of a family, and write their images.

    Args:
        plan: The family.
        seed: The marketplace's seed.
        families: Number of families of the marketplace; collages show products of other families.
        images: The folder for the JPEG files.

    Returns:
        (row number, row) of each listing.
    """
    rng = np.random.default_rng([seed, 2, plan.index])
    family = _family(plan, seed, rng)
    listings = []
    for member, (label, rows) in enumerate(zip(plan.labels, plan.rows, strict=True)):
        for row in rows:
            kind = pick_by_share(IMAGE_SHARES, rng)
            stranger = _other_look(seed, int(rng.integers(families))) if kind == "collage" else None
            image, quality = _image(family, member, kind, stranger, rng)
            title = listing_title(family, member, kind, rng)
            jpeg = to_jpeg(image, quality)
            listings.append((row, _listing(row, label, title, jpeg, plan.gaps.get(row, ""), images)))
    return listings


def _family(plan: FamilyPlan, seed: int, rng: np.random.Generator) -> Family:
    products = sample_family(len(plan.labels), np.random.default_rng([seed, 1, plan.index]))
    shots = [stock_shot(rng) for _ in range(rng.integers(2, 5))]
    return Family(products, [look_of(product) for product in products], shots, (seed, 3, plan.index))


def _other_look(seed: int, index: int) -> Look:
    return look_of(sample_family(1, np.random.default_rng([seed, 1, index]))[0])


def _image(
    family: Family, member: int, kind: str, stranger: Look | None, rng: np.random.Generator
) -> tuple[Image.Image, int]:
    """Return the image of a listing, and the quality to save it in."""
    look = family.looks[member]
    favorite = min(int(rng.exponential(0.6)), len(family.shots) - 1)
    stock = _photograph(look, family.shots[favorite])
    quality = int(rng.integers(68, 94))
    if kind == "stock":
        return stock, STOCK_QUALITY
    if kind == "shop card":
        return shop_card(int(rng.integers(SHOP_CARDS))), STOCK_QUALITY
    if kind == "seller":
        return edit(photograph(look, seller_shot(rng)), rng), quality
    if kind == "family":
        return edit(arrange([draw_pose(other, "front") for other in family.looks], family.shots[0]), rng), quality
    if kind == "collage":
        return _collage(family, look, stock, stranger, rng), quality
    return edit(stock, rng), quality


def _collage(
    family: Family, look: Look, stock: Image.Image, stranger: Look | None, rng: np.random.Generator
) -> Image.Image:
    shots = [*family.shots[1:], seller_shot(rng)][: rng.integers(1, 4)]
    others = [_photograph(look, shot) for shot in shots]
    if stranger is not None and rng.random() < 0.35:
        others[-1] = photograph(stranger, stock_shot(rng))
    return inset(stock, others[-1], rng) if rng.random() < 0.4 else collage([stock, *others], rng)


_photograph = lru_cache(maxsize=16)(photograph)  # stock photos are used again and again


def listing_title(family: Family, member: int, image_kind: str, rng: np.random.Generator) -> str:
    """Return the title of a listing.

    Args:
        family: Its family.
        member: The place of its product in the family.
        image_kind: A key of `IMAGE_SHARES`; what the image does not show, the title names.
        rng: Decides the wording.
    """
    product = family.products[member]
    shows_option = image_kind not in ("family", "shop card")
    names_option = bool(rng.random() < NAMES_OPTION) or not shows_option
    sizes_differ = len({sibling.amount for sibling in family.products}) > 1
    names_amount = bool(rng.random() < NAMES_AMOUNT[sizes_differ])
    kind = pick_by_share(TITLE_SHARES, rng)
    if kind == "generic" and shows_option and not sizes_differ:
        return generic_title(product, rng)
    if kind == "seller":
        return seller_title(product, rng, names_option, names_amount)
    title = official_title(product, family.title_seeds, names_option, names_amount)
    return title if rng.random() < 0.35 else retouch(title, rng)


def _listing(row: int, label: str, title: str, jpeg: bytes, gap: str, images: Path) -> Row:
    """Return a row, and write its image, unless that is to be missing, to a file named after its content."""
    posting_id = f"demo_{row:06d}"
    if gap == "no image":
        return Row(posting_id, "", "", title, label)
    name = f"lost{row:06d}.jpg" if gap == "lost image" else write_image(jpeg, images)
    return Row(posting_id, name, perceptual_hash(jpeg), "" if gap == "no title" else title, label)
