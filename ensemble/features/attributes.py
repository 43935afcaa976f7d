"""Features of the attributes that two titles state: quantities, pack counts, model numbers, colors, sizes.

Variants of a product share all their words but one number or color, and that one word decides.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ensemble.features.conflicts import QUANTITY_CONFLICT
from ensemble.features.incidence import distinct_items, incidence, shared_weight
from ensemble.features.quantities import UNSPACED, Values, alternative_quantities, quantities, read_quantities
from ensemble.pool_views import Chosen, Describe, PoolViews
from shared.schema import CandidatePairs, Floats
from shared.units import BASES

_BESIDE = rf"[^\W{UNSPACED}]"  # a letter or digit of a script with spaces between words
_MODEL = re.compile(rf"(?<!{_BESIDE})(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]+(?:[-/][a-z0-9]+)*(?!{_BESIDE})")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)?")
# Size → its words.
_SIZES = {
    **dict.fromkeys(["xxs", "xs", "xl", "4xl", "5xl", "6xl", "jumbo", "mini"], ""),
    **{"s": "small kecil", "m": "medium", "l": "large besar", "2xl": "xxl", "3xl": "xxxl"},
}
SIZES = {word: size for size, words in _SIZES.items() for word in [size, *words.split()]}
COLORS = {
    word: color
    for color, words in {
        "black": "black hitam blk",
        "white": "white putih wht",
        "red": "red merah maroon marun",
        "blue": "blue biru navy denim",
        "green": "green hijau army olive tosca toska mint",
        "yellow": "yellow kuning mustard",
        "orange": "orange oranye jingga",
        "pink": "pink peach salem fanta dusty",
        "purple": "purple ungu lilac lavender violet",
        "brown": "brown coklat cokelat khaki mocca moka tan",
        "grey": "grey gray abu silver perak",
        "gold": "gold emas golden rosegold",
        "cream": "cream krem beige nude ivory",
    }.items()
    for word in words.split()
}


def models(title: str) -> Values:
    """Return the words of letters and digits that are no quantity, such as model numbers.

    Examples:
        >>> sorted(models("samsung sm-g950 case a5s 500 ml"))
        ['a5s', 'g950']
        >>> sorted(models("适用小米13pro手机壳"))
        ['13pro']
    """
    return frozenset(_MODEL.findall(read_quantities(title)[1]))


def numbers(title: str) -> Values:
    """Return all numbers in a title, as written.

    Examples:
        >>> sorted(numbers("lamp 5 watt 0.5 m"))
        ['0.5', '5']
    """
    return frozenset(_DIGITS.findall(title))


def colors(title: str) -> Values:
    """Return the colors in a title, Indonesian or English, by their English names.

    Examples:
        >>> sorted(colors("tas merah hitam"))
        ['black', 'red']
    """
    return frozenset(COLORS[word] for word in title.split() if word in COLORS)


def sizes(title: str) -> Values:
    """Return the sizes of garments and packs in a title, Indonesian or English, in letters.

    Examples:
        >>> sorted(sizes("kaos xxl besar"))
        ['2xl', 'l']
    """
    return frozenset(SIZES[word] for word in title.split() if word in SIZES)


def other_words(title: str) -> Values:
    """Return the words of a normalized title that state no attribute and hold no digit.

    Examples:
        >>> sorted(other_words("tas merah xl 2 pcs sm-g950 asli"))
        ['asli', 'sm', 'tas']
    """
    words = set(read_quantities(title)[1].replace("-", " ").split())
    return frozenset(w for w in words if w not in COLORS and w not in SIZES and not _DIGITS.search(w))


PARSERS: dict[str, Callable[[str], Values]] = {
    "quantity": quantities,
    "model": models,
    "number": numbers,
    "color": colors,
    "size": sizes,
}


def statement(pool: PoolViews, row: int, kind: str) -> Values:
    """Return what a title states of a kind of attribute, a key of `PARSERS`.

    Quantities are read from the title as it is written, whose signs say what a number means; all others from the
    normalized title.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a"], "title": ["Tea ½ kg"]})
        >>> sorted(statement(PoolViews(catalog, {}), 0, "quantity"))
        ['mass:500']
    """
    title = (pool.written_titles if kind == "quantity" else pool.titles)[row]
    return PARSERS[kind](title) if title else frozenset()


def attribute_features(pool: PoolViews, pairs: CandidatePairs) -> Describe:
    """Return what describes some of the pairs by each kind of attribute, float32.

    `<kind>_shared` is the number of values in both titles. `<kind>_odd_low` and `<kind>_odd_high` are the numbers of
    values in one title alone, the lower and the higher of the two; both above zero is a conflict. All three are NaN
    where neither title has a value. `quantity_conflict` is that of `quantity_conflict`.

    Args:
        pool: n listings.
        pairs: p pairs of them.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["red mug xl", "red mug xxl"]})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> features = attribute_features(PoolViews(catalog, {}), pairs)(slice(None))
        >>> features["color_shared"].tolist(), features["size_shared"].tolist(), features["size_odd_low"].tolist()
        ([1.0], [0.0], [1.0])
    """
    statements = {kind: _statements(pool, kind) for kind in PARSERS if kind != "quantity"}
    statements["quantity"], roundings = _quantities(pool)
    conflict = _conflict(statements["quantity"], roundings, pairs)
    stated = {kind: incidence(of_kind) for kind, of_kind in statements.items()}
    counts = {kind: np.asarray(has.sum(axis=1)).ravel() for kind, has in stated.items()}

    def describe(rows: Chosen) -> dict[str, Floats]:
        block = CandidatePairs(pairs.n, pairs.left[rows], pairs.right[rows])
        features: dict[str, Floats] = {}
        for kind, has in stated.items():
            common = shared_weight(has, has, block)
            left_odd, right_odd = counts[kind][block.left] - common, counts[kind][block.right] - common
            absent = common + left_odd + right_odd == 0
            for name, column in (
                ("shared", common),
                ("odd_low", np.minimum(left_odd, right_odd)),
                ("odd_high", np.maximum(left_odd, right_odd)),
            ):
                features[f"{kind}_{name}"] = np.where(absent, np.nan, column).astype(np.float32)
        return features | conflict(rows)

    return describe


def _statements(pool: PoolViews, kind: str) -> list[Values]:
    """Return what each listing's title states of a kind of attribute but quantities; equal titles are read once."""
    titles = pool.titles.tolist()
    read = {title: PARSERS[kind](title) if title else frozenset[str]() for title in dict.fromkeys(titles)}
    return [read[title] for title in titles]


def _quantities(pool: PoolViews) -> tuple[list[Values], list[Values]]:
    """Return the quantities of each listing's title, and their alternatives; equal titles are read once."""
    titles = pool.written_titles.tolist()
    read = {title: (quantities(title), alternative_quantities(title)) for title in dict.fromkeys(titles)}
    return [read[title][0] for title in titles], [read[title][1] for title in titles]


def quantity_conflict(pool: PoolViews, pairs: CandidatePairs) -> Describe:
    """Return what says of some of the pairs whether their titles state different quantities, `quantity_conflict`.

    1 where both state quantities of some dimension and none of them agrees, 0 where they agree in every dimension that
    both state, NaN where they state no dimension in common. A title without a count is not compared in counts: it may
    leave out a pack as well as a single piece. Ounces, inches and the like agree with how people round them in metric
    units, and a terabyte with 1000 gigabytes, see `alternative_quantities`.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["tea 100 g", "tea 250 g"]})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> quantity_conflict(PoolViews(catalog, {}), pairs)(slice(None))["quantity_conflict"].tolist()
        [1.0]
    """
    return _conflict(*_quantities(pool), pairs)


def _conflict(stated: Sequence[Values], others: Sequence[Values], pairs: CandidatePairs) -> Describe:
    """Return what `quantity_conflict` does, for the quantities that each title states and their alternatives."""
    both_kinds = [*stated, *others]
    names, has_all, of_dimension = distinct_items(both_kinds), incidence(both_kinds), list[tuple[Any, Any]]()
    for dimension in BASES:
        columns = slice(*(bisect_left(names, dimension + sign) for sign in ":;"))  # ";" comes next after ":"
        of_dimension.append((has_all[: len(stated), columns], has_all[len(stated) :, columns]))
    states = [np.asarray(has.sum(axis=1)).ravel() > 0 for has, _ in of_dimension]

    def describe(rows: Chosen) -> dict[str, Floats]:
        left, right = pairs.left[rows], pairs.right[rows]
        comparable, conflict = np.zeros(len(left), dtype=bool), np.zeros(len(left), dtype=bool)
        for (has, other), of_listing in zip(of_dimension, states, strict=True):
            both = of_listing[left] & of_listing[right]
            comparable |= both
            block = CandidatePairs(pairs.n, left[both], right[both])
            alike = shared_weight(has, has, block)
            alike += shared_weight(has, other, block) + shared_weight(other, has, block)
            conflict[both] |= alike == 0
        return {QUANTITY_CONFLICT: np.where(comparable, conflict, np.nan).astype(np.float32)}

    return describe
