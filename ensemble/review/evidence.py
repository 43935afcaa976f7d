"""The evidence for and against a match of two listings, as a few standardized columns that mean the same everywhere.

Every column is oriented so that more of it speaks for a match. Similarities and gaps are standardized over the
`REFERENCE · n` most similar pairs of the pool, so that a value says how a pair stands among those in question, not how
high a cosine happens to be in this catalog; what two titles state is 0 or 1, less its mean. The weights are what the
start without labels gives a column, in log odds. They are rounded means of logistic regressions on catalogs of two
kinds, a marketplace's and a price portal's; which signs hold in both decided what is here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.schema import Flags, Floats, PairFeatures

REFERENCE = 4  # pairs per listing that columns are standardized over
CLIP = 3.0  # standard deviations
EQUAL = 0.999  # cosine of two hashes from which on they are equal

Column = NDArray[np.float64]

# Branch → log odds per standard deviation of its cosine, and of its gap to the nearest neighbor.
BRANCHES = {"tfidf": (0.6, 0.2), "image": (0.6, 0.25), "phash": (0.7, 0.0)}
OTHER_BRANCH = (0.12, 0.25)  # such as a title encoder that has seen no label
TITLES = {"title_jaro_winkler": 0.15, "title_idf_high_share": 0.2, "title_idf_jaccard": 0.0}
ATTRIBUTES = {"number": (0.4, 0.4), "model": (0.4, 0.2), "color": (0.3, 0.1), "quantity": (0.25, 0.0), "size": (0, 0)}
SHARES = {"number": 0.3, "model": 0.1}


@dataclass(frozen=True)
class Evidence:
    """The evidence on p pairs.

    Args:
        names: Of the k columns.
        values: float32 [p, k]; more speaks for a match, 0 is unknown or usual.
        weights: Log odds that the start gives per unit of each column, float64 [k].
        rank: Rank of each pair by how similar its titles are, or its images where no title tells; float64 [p], from 1.

    Examples:
        >>> import pandas as pd
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> table = pd.DataFrame({"tfidf_cosine": [0.25, 0.75]}, dtype=np.float32)
        >>> evidence = Evidence.of(PairFeatures(3, *rows, table))
        >>> evidence.names, evidence.values.ravel().tolist(), evidence.rank.tolist()
        (('tfidf_cosine',), [-1.0, 1.0], [2.0, 1.0])
    """

    names: tuple[str, ...]
    values: Floats
    weights: NDArray[np.float64]
    rank: Column

    @classmethod
    def of(cls, described: PairFeatures) -> Evidence:
        """Return the evidence on described pairs; a column that is the same for all pairs in question is left out."""
        rank = _similarity_rank(described)
        reference = rank <= REFERENCE * described.n
        names, weights, values = [], [], []
        for name, column, is_scaled, weight in _columns(described):
            if (standard := _standardized(column, reference, is_scaled)) is not None:
                names.append(name)
                weights.append(weight)
                values.append(standard)
        stacked = np.stack(values, axis=1) if values else np.zeros((len(described), 0), dtype=np.float32)
        return cls(tuple(names), stacked, np.array(weights, dtype=np.float64), rank)


def branches_of(described: PairFeatures) -> list[str]:
    """Return the branches that described pairs have a cosine of, in the order of the columns.

    Examples:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"tfidf_cosine": [1], "all_cosine": [1], "title_ratio": [1]}, dtype=np.float32)
        >>> branches_of(PairFeatures(2, np.array([0], np.int32), np.array([1], np.int32), table))
        ['tfidf']
    """
    ending = "_cosine"
    names = [name.removesuffix(ending) for name in map(str, described.features) if name.endswith(ending)]
    return [name for name in names if name != "all"]


def _columns(described: PairFeatures) -> Iterator[tuple[str, Column, bool, float]]:
    """Yield name, values, whether they are scaled by their spread, and the start's weight of every column."""

    def read(name: str) -> Column:
        return _read(described, name)

    for branch in branches_of(described):
        weight, gap_weight = BRANCHES.get(branch, OTHER_BRANCH)
        yield f"{branch}_cosine", read(f"{branch}_cosine"), True, weight
        gap = (read(f"{branch}_gap_low") + read(f"{branch}_gap_high")) / 2
        yield f"{branch}_gap", gap, True, gap_weight
    hashes = read("phash_cosine")
    yield "phash_near", _flag(read("phash_rank_low") > 0), False, 1.0
    yield "phash_equal", _flag(hashes > EQUAL), False, 0.5
    yield "image_equal", np.nan_to_num(read("image_equal")), False, 0.5
    for name, weight in TITLES.items():
        yield name, read(name), True, weight
    yield "title_fuzzy", (read("title_token_set_ratio") + read("title_token_sort_ratio")) / 2, True, 0.0
    for name in ("title_idf_odd_low", "title_idf_odd_high"):
        yield name, -read(name), True, 0.0
    for side in ("low", "high"):
        rank = np.nan_to_num(read(f"tfidf_rank_{side}"), nan=60.0)
        yield f"tfidf_rank_{side}", -np.log(rank), True, 0.0
    yield from _attributes(described)


def _attributes(described: PairFeatures) -> Iterator[tuple[str, Column, bool, float]]:
    """Yield the columns of what two titles state: that they differ, that they agree in something, in everything."""
    for kind, (differ_weight, agree_weight) in ATTRIBUTES.items():
        shared, low, high = (
            np.nan_to_num(_read(described, f"{kind}_{part}")) for part in ("shared", "odd_low", "odd_high")
        )
        yield f"{kind}_differs", -_flag(low > 0), False, differ_weight
        yield f"{kind}_agrees", _flag(shared > 0), False, agree_weight
        yield f"{kind}_equal", _flag((shared > 0) & (high == 0)), False, 0.0
        if kind in SHARES:
            yield f"{kind}_share", np.log((1 + shared) / (1 + low + high / 2)), True, SHARES[kind]
    conflict = _read(described, "quantity_conflict")
    yield "quantity_conflict", -np.nan_to_num(conflict), False, 0.4
    yield "quantity_agrees_in_all", _flag(conflict == 0), False, 0.1


def _similarity_rank(described: PairFeatures) -> Column:
    """Return the rank of each pair, float64 [p]: by its titles' TF-IDF or by hashes that a branch proposed, the better.

    Where neither tells, the other branches count. Equal similarities share their mean rank.
    """
    from scipy.stats import rankdata  # half a second to import, which a run with nothing to do can save

    best = np.full(len(described), np.inf)
    for leading in (True, False):
        for branch in branches_of(described):
            if (branch in ("tfidf", "phash")) == leading:
                cosine = _read(described, f"{branch}_cosine")
                counts = np.isfinite(cosine)
                if branch == "phash":
                    counts &= _read(described, "phash_rank_low") > 0
                if not leading:
                    counts &= ~np.isfinite(best)
                best[counts] = np.minimum(best[counts], rankdata(-cosine[counts]))
    return rankdata(best) if len(best) else best


def _standardized(column: Column, reference: Flags, is_scaled: bool) -> Floats | None:
    """Return a column less its mean over the pairs in question, and scaled by their spread; None if it is constant."""
    usual = column[reference & np.isfinite(column)]
    deviation = usual.std() if len(usual) > 1 else 0.0
    if deviation < 1e-6 or (not is_scaled and deviation < 1e-3):
        return None
    scaled = (column - usual.mean()) / (deviation if is_scaled else 1)
    values: Floats = np.clip(np.nan_to_num(scaled), -CLIP, CLIP).astype(np.float32)
    return values


def _read(described: PairFeatures, name: str) -> Column:
    if name not in described.features:
        return np.full(len(described), np.nan)
    return described.features[name].to_numpy(dtype=np.float64)


def _flag(condition: Any) -> Column:
    return np.asarray(condition, dtype=np.float64)
