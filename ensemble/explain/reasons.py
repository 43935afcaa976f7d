"""Explains in words why two listings may or may not sell the same product."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rapidfuzz import fuzz

from ensemble.explain.title_differences import quantity_conflicts
from ensemble.features.attributes import statement
from ensemble.features.conflicts import IN_WORDS
from ensemble.features.quantities import alternative_quantities
from ensemble.pool_views import PoolViews
from shared.units import BASES


def reasons(pool: PoolViews, one: int, other: int) -> str:
    """Return in words how alike the titles and images of a pair are, and which attributes agree or differ.

    Quantities differ as `ensemble.features.attributes.quantity_conflict` says: in a dimension that both titles state.

    Args:
        pool: Listings with every branch's view of them.
        one: Row of a listing.
        other: Row of another listing.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["tea 100 g", "tea 250 g"]})
        >>> reasons(PoolViews(catalog, {}), 0, 1)
        'titles 75 % alike · quantity differs'
    """
    return " · ".join([*_titles(pool, one, other), *_branches(pool, one, other), *_hashes(pool, one, other)])


def _titles(pool: PoolViews, one: int, other: int) -> Iterator[str]:
    a, b = pool.titles[one], pool.titles[other]
    other_values = [alternative_quantities(pool.written_titles[row]) for row in (one, other)]
    if not a or not b:
        return
    yield "equal titles" if a == b else f"titles {fuzz.ratio(a, b):.0f} % alike"
    for kind, name in IN_WORDS.items():
        of_a, of_b = statement(pool, one, kind), statement(pool, other, kind)
        if of_a & of_b:
            yield f"both say {', '.join(sorted(map(_plain, of_a & of_b)))}"
        if kind == "quantity" and quantity_conflicts(of_a, of_b, *other_values):
            yield f"{'another ' if of_a & of_b else ''}quantity differs"
        elif kind != "quantity" and of_a and of_b and not of_a & of_b:
            yield f"{name} differs"


def _plain(attribute: str) -> str:
    """Return a quantity such as `volume:500` as `500 ml`, and any other attribute as it is."""
    dimension, colon, amount = attribute.partition(":")
    return f"{amount} {BASES[dimension][1]}" if colon else attribute


def _branches(pool: PoolViews, one: int, other: int) -> Iterator[str]:
    rows = np.array([one], dtype=np.int32), np.array([other], dtype=np.int32)
    for name, view in pool.branches.items():
        cosine = float(view.embeddings.similarity(*rows)[0])
        if not np.isnan(cosine) and name != "phash":
            yield f"{name} {cosine:.2f}"


def _hashes(pool: PoolViews, one: int, other: int) -> Iterator[str]:
    sha, has_hash, hashes = pool.catalog.column("image_sha"), pool.catalog.has_phash, pool.catalog.phashes
    if sha[one] and sha[one] == sha[other]:
        yield "the same image"
    elif has_hash[one] and has_hash[other]:
        bits = int(np.bitwise_count(hashes[one] ^ hashes[other]))
        yield f"hashes {bits} bit{'s' * (bits != 1)} apart"
