"""The objectives a decision is tuned for, computed from sums over listings.

Every listing contributes five numbers (`listing_metrics`). The metrics of any set of listings follow from the sums of
these, so a bootstrap resample only weighs the listings anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ensemble.config import normalize_objective
from shared.metrics.matching import group_sizes, row_scores, same_product, unordered_pairs
from shared.schema import Matches

Doubles = NDArray[np.float64]
LABELED, ROW_F1, HITS, MATCHED, TRUE = range(5)  # columns of `listing_metrics`


def listing_metrics(matches: Matches, codes: NDArray[np.integer]) -> Doubles:
    """Return what each listing contributes to the metrics of a pool, float64 [n, 5].

    Columns: 1 if the listing is labeled; its row F1; and its share of the unordered pairs that are matched and true, of
    those that are matched, and of those that are true. Each pair counts half for either listing. Unlabeled listings
    contribute 0.

    Args:
        matches: The matches of n listings.
        codes: Label code of each listing, int [n]; -1 where there is no label.

    Examples:
        >>> pair = np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.9, 0.9], np.float32)
        >>> listing_metrics(Matches(3, *pair), np.array([0, 0, 1])).sum(axis=0).tolist()
        [3.0, 3.0, 1.0, 1.0, 1.0]
    """
    labeled = codes >= 0
    ends = unordered_pairs(matches)
    left, right = (rows[labeled[ends[0]] & labeled[ends[1]]] for rows in ends)
    hit = same_product(left, right, codes)

    def half_pairs(keep: NDArray[np.bool_]) -> Doubles:
        return np.bincount(np.concatenate([left[keep], right[keep]]), minlength=len(codes)) / 2

    row_f1 = np.nan_to_num(row_scores(matches, codes)[:, 2])
    true = np.maximum(group_sizes(codes) - 1, 0) / 2
    return np.stack([labeled.astype(np.float64), row_f1, half_pairs(hit), half_pairs(np.ones_like(hit)), true], axis=1)


@dataclass(frozen=True)
class Objective:
    """An objective of tuning.

    Args:
        text: `row_f1` (mean row F1), `pair_f1`, or `precision>=P`: the highest pair recall at which the pair precision,
            the share of the matched pairs that are true, is at least P. It is a precision of pairs because every
            listing's own row counts as true in a row precision, which would look too good.
        min_precision: P, in (0, 1]; None for the other objectives.

    Examples:
        >>> Objective.parse("precision >= 0.95")
        Objective(text='precision>=0.95', min_precision=0.95)
        >>> Objective.parse("pair_f1").name
        'pair F1'
    """

    text: str = "row_f1"
    min_precision: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an objective as the setting `tune.objective` writes it.

        Raises:
            ValueError: The text is none of the three objectives.
        """
        text = normalize_objective(text)
        _, is_precision, minimum = text.partition(">=")
        return cls(text, float(minimum) if is_precision else None)

    @property
    def name(self) -> str:
        """The name of the metric that `values` returns, for people."""
        names = {"row_f1": "row F1", "pair_f1": "pair F1"}
        return names.get(self.text, f"pair recall at {self.text}")

    def values(self, sums: Doubles) -> Doubles:
        """Return the metric to maximize, from sums of `listing_metrics`; [..., 5] → [...].

        It is rounded to 12 digits, so that equal decisions stay equal whatever the order of a sum. A minimum precision
        is not considered here; `is_reached` does that.
        """
        value = {"row_f1": row_f1, "pair_f1": pair_f1}.get(self.text, pair_recall)(sums)
        return np.round(value, 12)

    def is_reached(self, sums: Doubles) -> NDArray[np.bool_]:
        """Return where the minimum precision is reached by at least one match, bool [...]; True where there is none."""
        if self.min_precision is None:
            return np.ones(sums.shape[:-1], dtype=bool)
        reached: NDArray[np.bool_] = (sums[..., MATCHED] > 0) & (pair_precision(sums) >= self.min_precision)
        return reached


def row_f1(sums: Doubles) -> Doubles:
    """Return the mean row F1 over the labeled listings; [..., 5] → [...]."""
    return sums[..., ROW_F1] / np.maximum(sums[..., LABELED], 1)


def pair_precision(sums: Doubles) -> Doubles:
    """Return the share of the matched pairs that are true, 1 where none is matched; [..., 5] → [...]."""
    return _share(sums[..., HITS], sums[..., MATCHED])


def pair_recall(sums: Doubles) -> Doubles:
    """Return the share of the true pairs that are matched, 1 where there is none; [..., 5] → [...]."""
    return _share(sums[..., HITS], sums[..., TRUE])


def pair_f1(sums: Doubles) -> Doubles:
    """Return the harmonic mean of pair precision and pair recall; [..., 5] → [...]."""
    precision, recall = pair_precision(sums), pair_recall(sums)
    return np.where(precision + recall > 0, 2 * precision * recall / np.maximum(precision + recall, 1e-300), 0.0)


def _share(part: Doubles, whole: Doubles) -> Doubles:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)
