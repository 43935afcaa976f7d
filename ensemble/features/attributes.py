"""Features of the attributes that two titles state: quantities, pack counts, model numbers, colors, sizes.

Variants of a product share all their words but one number or color, and that one word decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ensemble.features.incidence import incidence, shared_weight
from ensemble.pool_views import PoolViews
from shared.schema import CandidatePairs, Flags, Floats, PairFeatures

Values = frozenset[str]

QUANTITY_CONFLICT = "quantity_conflict"  # name of the feature

# The dimension of a unit, its size in the dimension's base unit, and its spellings.
_UNITS = """
volume 1       ml mili cc
volume 1000    l lt ltr liter litre litres liters
mass   0.001   mg
mass   1       g gr gram grams grm gm
mass   1000    kg kilo kilogram
length 0.1     mm
length 1       cm
length 100     m mtr meter metre
length 2.54    inch inci in
memory 1       gb
memory 1024    tb
power  1       w watt watts
charge 1       mah
count  1       pcs pc pce pieces piece buah bh biji lembar sheet sheets pasang pair pairs pack pak pax box sachet
count  1       tablet tablets kapsul caps roll set
count  12      lusin dozen lsn
"""
UNITS: dict[str, tuple[str, float]] = {
    unit: (dimension, float(factor))
    for dimension, factor, *units in (line.split() for line in _UNITS.strip().splitlines())
    for unit in units
}
_NUMBER = r"(?<![\d.])(?<![^\W\dx])(\d{1,9}(?:\.\d{1,9})?)"  # no part of a number or word, but "2x500ml"
_QUANTITY = re.compile(_NUMBER + r"\s?(" + "|".join(sorted(UNITS, key=len, reverse=True)) + r")\b")
_ISI = re.compile(r"\b(?:isi|contents?|pack of|set of)\s?(\d{1,9})\b")  # "isi 10": ten in the pack
_TIMES = re.compile(r"\b(\d{1,3})\s*x\b|\bx\s*(\d{1,3})\b")
_MODEL = re.compile(r"\b(?=\w*\d)(?=\w*[a-z])[a-z0-9]+(?:[-/][a-z0-9]+)*\b")
_DIGITS = re.compile(r"\d+(?:[.,]\d+)?")
_SIZES = "xs s m l xl xxl xxxl 2xl 3xl 4xl 5xl jumbo mini besar kecil large small medium"
SIZES = frozenset(_SIZES.split())
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


@lru_cache(maxsize=1 << 17)
def quantities(title: str) -> Values:
    """Return the quantities in a normalized title, in base units.

    Examples:
        >>> sorted(quantities("sabun 0.5 l isi 2"))
        ['count:2', 'volume:500']
    """
    values = set()
    for number, unit in _QUANTITY.findall(title):
        dimension, factor = UNITS[unit]
        values.add(f"{dimension}:{float(number) * factor:.4g}")
    values |= {f"count:{int(number)}" for number in _ISI.findall(title)}
    return frozenset(values | {f"count:{int(a or b)}" for a, b in _TIMES.findall(title)})


def models(title: str) -> Values:
    """Return the words of letters and digits that are no quantity, such as model numbers.

    Examples:
        >>> sorted(models("samsung sm-g950 case a5s 500 ml"))
        ['a5s', 'g950']
    """
    return frozenset(_MODEL.findall(_QUANTITY.sub(" ", title)))


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
    """Return the sizes of garments and packs in a title.

    Examples:
        >>> sorted(sizes("kaos xl besar"))
        ['besar', 'xl']
    """
    return SIZES.intersection(title.split())


PARSERS: dict[str, Callable[[str], Values]] = {
    "quantity": quantities,
    "model": models,
    "number": numbers,
    "color": colors,
    "size": sizes,
}


def attribute_features(pool: PoolViews, pairs: CandidatePairs) -> dict[str, Floats]:
    """Return the features of each kind of attribute, float32 [p] each.

    `<kind>_shared` is the number of values in both titles. `<kind>_odd_low` and `<kind>_odd_high` are the numbers of
    values in one title alone, the lower and the higher of the two; both above zero is a conflict. All three are NaN
    where neither title has a value.

    Args:
        pool: n listings.
        pairs: p pairs of them.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["red mug xl", "red mug xxl"]})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> features = attribute_features(PoolViews(catalog, {}), pairs)
        >>> features["color_shared"].tolist(), features["size_shared"].tolist(), features["size_odd_low"].tolist()
        ([1.0], [0.0], [1.0])
    """
    features: dict[str, Floats] = {}
    for kind, parse in PARSERS.items():
        has = incidence([parse(title) if title else frozenset() for title in pool.titles])
        count = np.asarray(has.sum(axis=1)).ravel()
        common = shared_weight(has, has, pairs)
        left_odd, right_odd = count[pairs.left] - common, count[pairs.right] - common
        absent = common + left_odd + right_odd == 0
        for name, column in (
            ("shared", common),
            ("odd_low", np.minimum(left_odd, right_odd)),
            ("odd_high", np.maximum(left_odd, right_odd)),
        ):
            features[f"{kind}_{name}"] = np.where(absent, np.nan, column).astype(np.float32)
    return features | {QUANTITY_CONFLICT: quantity_conflict(pool, pairs)}


def quantity_conflict(pool: PoolViews, pairs: CandidatePairs) -> Floats:
    """Return whether titles state different quantities, float32 [p].

    1 where both state quantities of some dimension and none of them agrees, 0 where they agree in every dimension that
    both state, NaN where they state no dimension in common.

    Examples:
        >>> from shared.schema import Catalog
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["tea 100 g", "tea 250 g"]})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> quantity_conflict(PoolViews(catalog, {}), pairs).tolist()
        [1.0]
    """
    values = [quantities(title) for title in pool.titles]
    comparable = np.zeros(len(pairs), dtype=bool)
    conflict = np.zeros(len(pairs), dtype=bool)
    for dimension in sorted({dimension for dimension, _ in UNITS.values()}):
        has = incidence([[q for q in of_title if q.startswith(dimension)] if of_title else () for of_title in values])
        states = np.asarray(has.sum(axis=1)).ravel() > 0
        both = states[pairs.left] & states[pairs.right]
        comparable |= both
        conflict |= both & (shared_weight(has, has, pairs) == 0)
    return np.where(comparable, conflict, np.nan).astype(np.float32)


def has_conflict(pairs: PairFeatures) -> Flags | None:
    """Return where two titles state different quantities, bool [p]; None if the pairs lack that feature.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({QUANTITY_CONFLICT: np.array([1, np.nan], np.float32)})
        >>> has_conflict(PairFeatures(3, np.array([0, 1], np.int32), np.array([1, 2], np.int32), table)).tolist()
        [True, False]
    """
    if QUANTITY_CONFLICT not in pairs.features:
        return None
    conflict: Flags = pairs.features[QUANTITY_CONFLICT].to_numpy() == 1
    return conflict
