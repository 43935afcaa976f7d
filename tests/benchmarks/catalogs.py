"""Large catalogs to measure with: titles of the demo, and hashes and embeddings that follow its products.

Nothing is drawn and no network runs, so a million listings take minutes. The same seed gives the same catalog.

- Titles are those of the demo of the kind `mixed`: half a marketplace, half lists of shops.
- Hashes: a product has up to two photos, and listings show one of them with some bits changed. Photos of products that
  look alike are near each other, as those of real catalogs are.
- Embeddings stand for those of the encoders: unit vectors of 384 (titles) and 256 dimensions (images), with members of
  a product near each other, and products of a category nearer than others. Noise differs by listing; the nearest
  neighbor of nine tenths of the listings that have a match is one, at 5,000 listings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.demo.chance import pick_by_share
from shared.demo.listings import IMAGE_SHARES, Family, listing_title
from shared.demo.plan import FamilyPlan, plan_families
from shared.demo.products import sample_family
from shared.demo.shops import plan as shops_plan
from shared.demo.shops import products as shops_products
from shared.demo.shops.styles import shops_of
from shared.demo.shops.titles import shop_title
from shared.folders import atomic_folder
from shared.schema import Embeddings

TABLE = "listings.parquet"  # posting_id, title, image_phash, label_group: what a user has
BITS = np.uint64(1) << np.arange(64, dtype=np.uint64)


@dataclass(frozen=True)
class Cloud:
    """How the embeddings of one branch lie: shares of the squared length of a vector.

    Args:
        width: Dimensions.
        category: Share that products of a category have in common.
        product: Share that listings of a product have in common.
        noise: Least and largest share of a listing's own.
        decay: Dimension j has a standard deviation of (1 + j) ** -decay before a vector is scaled to unit length, as
            real embeddings fill their dimensions unevenly.
        present: Share of the listings with evidence.
    """

    width: int
    category: float
    product: float
    noise: tuple[float, float]
    decay: float
    present: float


CLOUDS = {
    "distilbert": Cloud(384, 0.45, 0.42, (0.05, 1.2), 0.4, 0.995),
    "image": Cloud(256, 0.45, 0.48, (0.02, 1.3), 0.4, 0.92),
}
PRODUCTS_PER_CATEGORY = 40
SAME_PHOTO, SECOND_PHOTO = 0.6, 0.2  # shares of the listings; the others show one of their own
CHANGED_BITS = {"like the product": 0.05, "like the category": 0.25}  # share of the bits, on average
WITH_HASH = 0.92


def make_catalog(folder: Path, listings: int, seed: int = 0) -> None:
    """Write a catalog and its embeddings into a new folder; do nothing where it exists.

        make_catalog(Path("cache/35000"), 35_000)

    Args:
        folder: Gets `listings.parquet` and `<branch>.safetensors` for the branches of `CLOUDS`.
        listings: At least 4.
        seed: The same seed gives the same files.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as partial:
        titles, products, families = _titles(listings, seed)
        rng = np.random.default_rng([seed, listings])
        category = rng.integers(max(1, products.max() // PRODUCTS_PER_CATEGORY), size=families.max() + 1)[families]
        hashes, shown = _hashes(products, category, rng)
        columns = {
            "posting_id": [f"demo_{row:07d}" for row in range(listings)],
            "title": titles,
            "image_phash": [f"{value:016x}" if ok else None for value, ok in zip(hashes.tolist(), shown, strict=True)],
            "label_group": pa.array(products).cast(pa.string()),
        }
        pq.write_table(pa.table(columns), partial / TABLE)
        for name, cloud in CLOUDS.items():
            _embeddings(cloud, products, category, rng).save(partial / f"{name}.safetensors")


# --- titles -----------------------------------------------------------------------------------------------------------


def _titles(listings: int, seed: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return the title, the product and the family of each listing."""
    order, half = np.random.default_rng([seed, 13]).permutation(listings).tolist(), listings // 2
    titles, products, families = [""] * listings, np.zeros(listings, np.int64), np.zeros(listings, np.int64)
    number = 0
    for family, (plan, written) in enumerate(_families(order, half, seed)):
        for rows, of_product in zip(plan.rows, written, strict=True):
            for row, title in zip(rows, of_product, strict=True):
                titles[row] = "" if plan.gaps.get(row) == "no title" else title
            products[rows], families[rows] = number, family
            number += 1
    return titles, products, families


def _families(order: list[int], half: int, seed: int) -> Iterator[tuple[FamilyPlan, list[list[str]]]]:
    """Yield each family with the titles of each of its products."""
    of_marketplace, of_shops = order[:half], order[half:]
    for plan in plan_families(half, seed):
        yield plan.with_rows(of_marketplace), _marketplace_titles(plan, seed)
    for plan in shops_plan.plan_families(len(order) - half, seed):
        yield plan.with_rows(of_shops), _shop_titles(plan, seed)


def _marketplace_titles(plan: FamilyPlan, seed: int) -> list[list[str]]:
    rng = np.random.default_rng([seed, 2, plan.index])
    products = sample_family(len(plan.labels), np.random.default_rng([seed, 1, plan.index]))
    family = Family(products, [], [], (seed, 3, plan.index))
    return [
        [listing_title(family, member, pick_by_share(IMAGE_SHARES, rng), rng) for _ in rows]
        for member, rows in enumerate(plan.rows)
    ]


def _shop_titles(plan: FamilyPlan, seed: int) -> list[list[str]]:
    rng, shops = np.random.default_rng([seed, 12, plan.index]), shops_of(seed)
    family = shops_products.sample_family(len(plan.labels), rng)
    axis = family.axis if len(family.products) > 1 else ""
    weights = np.array([shop.weight for shop in shops])
    titles = []
    for product, rows in zip(family.products, plan.rows, strict=True):
        numbers = rng.choice(len(shops), size=len(rows), replace=False, p=weights / weights.sum())
        titles.append([shop_title(product, axis, shops[number], rng) for number in numbers])
    return titles


# --- hashes and embeddings --------------------------------------------------------------------------------------------


def _hashes(
    products: NDArray[np.int64], category: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the hash of each listing, uint64 [n], and whether it has one, bool [n]."""
    n = len(products)
    look = rng.integers(2**64, size=int(category.max()) + 1, dtype=np.uint64)[category]
    chance, own = rng.random(n), np.arange(n) + 2 * (products.max() + 1)  # a photo of the listing alone
    shared = 2 * products + (chance >= SAME_PHOTO)
    photo = np.where(chance < SAME_PHOTO + SECOND_PHOTO, shared, own)
    _, first, place = np.unique(photo, return_index=True, return_inverse=True)
    photos = look[first] ^ _changes(len(first), CHANGED_BITS["like the category"], rng)
    edited = _changes(n, CHANGED_BITS["like the product"], rng) * (rng.random(n) < 0.5)  # half keep the photo as it is
    return photos[place] ^ edited, rng.random(n) < WITH_HASH


def _changes(count: int, share: float, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return numbers of which each bit is set with a probability, uint64 [count]."""
    changed = np.zeros(count, dtype=np.uint64)
    for bit in BITS:
        changed |= bit * (rng.random(count, dtype=np.float32) < share)
    return changed


def _embeddings(
    cloud: Cloud, products: NDArray[np.int64], category: NDArray[np.int64], rng: np.random.Generator
) -> Embeddings:
    """Return the embeddings of all listings by one branch."""
    spread = (1 + np.arange(cloud.width, dtype=np.float32)) ** -np.float32(cloud.decay)
    spread /= np.linalg.norm(spread)
    centers = _directions(int(category.max()) + 1, spread, rng) * np.float32(cloud.category**0.5)
    offsets = _directions(int(products.max()) + 1, spread, rng) * np.float32(cloud.product**0.5)
    vectors = _directions(len(products), spread, rng)
    noise = rng.uniform(*cloud.noise, size=len(products)).astype(np.float32)
    vectors *= np.sqrt(noise)[:, None]
    present = rng.random(len(products)) < cloud.present
    for start in range(0, len(products), 1 << 14):  # in place, a block at a time: a million rows are gigabytes
        rows = slice(start, start + (1 << 14))
        vectors[rows] += centers[category[rows]] + offsets[products[rows]]
        vectors[rows] *= (present[rows] / np.linalg.norm(vectors[rows], axis=1))[:, None]
    return Embeddings(vectors, present)


def _directions(count: int, spread: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return random vectors with a squared length of about one, float32 [count, width]."""
    vectors = rng.standard_normal((count, len(spread)), dtype=np.float32)
    vectors *= spread
    return vectors
