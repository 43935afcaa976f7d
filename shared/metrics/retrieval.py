"""Retrieval metrics: how well embeddings alone find listings of the same label group.

There are three metrics. All of them fall as the pool grows, so its size stands beside them:

1. Recall@1 (Oh Song et al., arXiv 1511.06452, section 5): is the nearest other listing of the same group?
2. mAP@20: the average precision of the 20 nearest others. This is MAP@R (Musgrave et al., arXiv 2003.08505, section
   4.1), but over 20 ranks for every listing, because the task asks for lists, and divided by the value of a perfect
   list.
3. Row F1: the competition's metric if only the best threshold on cosine decides.

The neighbors are the exact ones of `shared.search.exact`; a listing with a similarity of zero or less is no neighbor.
Among equal similarities in a list, listings of other groups come first. So the metrics do not depend on the order of
rows, and embeddings that cannot distinguish listings gain nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.metrics.matching import group_sizes, midways, same_product, set_scores
from shared.schema import Candidates, Embeddings, Flags, Rows
from shared.search.exact import nearest

NEIGHBORS = 50  # nearest listings that may become matches, per listing
DEPTH = 20  # ranks that count for mAP
NO_MATCH = 1.01  # a threshold above any cosine, even one with rounding errors
DECIMALS = 9  # sums of F1 that agree to this many decimals are equal

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Retrieval:
    """The retrieval metrics of one pool.

    Attributes:
        pool_size: Number of listings that were searched, with those that have no label or no evidence.
        recall_at_1: Share of the listings whose nearest other listing is of their group, in [0, 1]. It is taken over
            the listings whose group has another one in the pool, with those that have no evidence; NaN if there is
            none.
        map_at_20: Mean average precision within the 20 nearest others, divided by min(20, others of the group), in
            [0, 1]; over the same listings.
        row_f1: Mean row F1 at the threshold, over all labeled listings and matches among them, in [0, 1]; NaN if there
            is none.
        threshold: The threshold with the best row F1; a pair with a cosine at or above it matches. It is midway
            between two neighboring distinct similarities or, for the lowest, between the lowest similarity and 0;
            `NO_MATCH` where it is best to match nothing. Of equals the highest.
    """

    pool_size: int
    recall_at_1: float
    map_at_20: float
    row_f1: float
    threshold: float

    def to_json(self) -> dict[str, float | None]:
        """Return the metrics by name; None for NaN, which JSON does not have."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def retrieval(vectors: Embeddings, codes: NDArray[np.integer]) -> Retrieval:
    """Return the retrieval metrics of the embeddings of a pool.

    Args:
        vectors: Embeddings of the pool. A listing without evidence has no neighbors, which counts as a miss.
        codes: Label code of each listing, int [n]. A listing with code -1 has no label: it does not count, but it is
            searched like any other, and a neighbor that is not of the group.

    Examples:
        >>> vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
        >>> metrics = retrieval(Embeddings(vectors, np.ones(3, dtype=bool)), np.array([0, 0, 1]))
        >>> metrics.recall_at_1, metrics.row_f1, round(metrics.threshold, 3)
        (1.0, 1.0, 0.7)
    """
    return retrieval_of(nearest(vectors, NEIGHBORS, np), codes)


def retrieval_of(candidates: Candidates, codes: NDArray[np.integer]) -> Retrieval:
    """Return the same for neighbors as `nearest` returns them: at least `DEPTH` per listing, similarities above 0."""
    recall, precision = _list_scores(candidates, codes)
    threshold = _best_threshold(candidates, codes)
    return Retrieval(candidates.n, recall, precision, row_f1_at(candidates, codes, threshold), threshold)


def row_f1_at(candidates: Candidates, codes: NDArray[np.integer], threshold: float) -> float:
    """Return the mean row F1 of a pool at a threshold, such as the best threshold of another pool.

    Args:
        candidates: Pairs of which one listing is among the `NEIGHBORS` nearest of the other.
        codes: Label code of each listing, int [n]; -1 where there is no label.
        threshold: A pair with a cosine at or above it matches.

    Returns:
        The mean over the labeled listings, in [0, 1]; NaN if there is none.
    """
    kept = candidates.similarity >= np.float64(threshold)  # not rounded to float32
    left, right = candidates.left[kept], candidates.right[kept]
    f1 = set_scores(np.concatenate([left, right]), np.concatenate([right, left]), codes)[:, 2]
    return _mean(f1[codes >= 0])


def _list_scores(candidates: Candidates, codes: NDArray[np.integer]) -> tuple[float, float]:
    """Return Recall@1 and mAP@20."""
    pair = np.concatenate([np.flatnonzero(candidates.rank_left), np.flatnonzero(candidates.rank_right)])
    sides = np.repeat([0, 1], [np.count_nonzero(candidates.rank_left), np.count_nonzero(candidates.rank_right)])
    listing = np.where(sides == 0, candidates.left[pair], candidates.right[pair])
    same = same_product(candidates.left, candidates.right, codes)[pair]
    order = np.lexsort((same, -candidates.similarity[pair], listing))
    listing, same = listing[order], same[order]
    place, hits = _running(listing, same, candidates.n)
    gain = np.where(same & (place < DEPTH), hits / (place + 1), 0)
    precision = _sums(listing, gain, candidates.n)
    first = _sums(listing, same & (place == 0), candidates.n)
    others = group_sizes(codes) - 1
    judged = others > 0
    return _mean(first[judged]), _mean(precision[judged] / np.minimum(others[judged], DEPTH))


def _best_threshold(candidates: Candidates, codes: NDArray[np.integer]) -> float:
    """Return the threshold with the best mean row F1, of all that select different pairs.

    Pairs become matches one after the other, by falling similarity. The F1 that each pair adds to its two listings
    follows from the matches these have by then, so one sort gives the whole curve: O(p log p) for p pairs.
    """
    order = np.argsort(-candidates.similarity, kind="stable")
    left, right, similarity = candidates.left[order], candidates.right[order], candidates.similarity[order]
    total = np.append(0, np.cumsum(_gains(left, right, codes)))  # sum of F1 with the first 0, 1, … p pairs, less with 0
    ends = np.flatnonzero(np.diff(similarity, prepend=np.inf, append=-np.inf))  # equal similarities match together
    cuts = np.append(NO_MATCH, midways(np.append(similarity, 0))[::-1])
    return float(cuts[np.argmax(np.round(total[ends], DECIMALS))])


def _gains(left: Rows, right: Rows, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return what each pair adds to the sum of row F1 when pairs become matches in this order, float64 [p].

    A pair with an unlabeled listing adds nothing.
    """
    judged = np.flatnonzero((codes[left] >= 0) & (codes[right] >= 0))
    pair, listing = np.tile(judged, 2), np.concatenate([left[judged], right[judged]])
    order = np.lexsort((pair, listing))
    listing, pair = listing[order], pair[order]
    same = same_product(left, right, codes)[pair]
    place, hits = _running(listing, same, len(codes))
    true = group_sizes(codes)[listing]
    before, after = 2 * (1 + hits - same) / (1 + place + true), 2 * (1 + hits) / (2 + place + true)
    return _sums(pair, after - before, len(left))


def _running(listing: Rows, same: Flags, n: int) -> tuple[Index, Index]:
    """Return the place of each entry in its listing's list, from 0, and the number of hits up to and with it.

    Args:
        listing: The listing whose list an entry is in, int [m], rising.
        same: Whether the entry is of that listing's group, a hit, bool [m].
        n: Number of listings in the pool.
    """
    counts = np.bincount(listing, minlength=n)
    start = (np.cumsum(counts) - counts)[listing]
    before = np.append(0, np.cumsum(same, dtype=np.int64))
    return np.arange(len(listing)) - start, before[1:] - before[start]


def _sums(index: Index | Rows, values: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Return the sum of the values with each index, float64 [n]."""
    return np.asarray(np.bincount(index, weights=values, minlength=n), dtype=np.float64)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
