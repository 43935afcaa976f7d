"""What a decision is tuned for, as a figure of sums over listings: a resample of listings only weighs them anew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.metrics.matching import group_sizes, row_scores
from shared.schema import Matches
from shared.search.sorting import distinct

Figures = NDArray[np.float64]
JUDGED, ROW_F1, HITS, FOUND, TRUE = range(5)  # columns of what `listing_figures` returns
_AT_PRECISION = re.compile(r"\s*precision\s*>=\s*(\d*\.?\d+)\s*")


def listing_figures(matches: Matches, codes: NDArray[np.integer]) -> Figures:
    """What each listing brings to the figures of a pool, float64 [n, 5].

    Columns: 1 if it is judged (labeled), its row F1, and its share (half of each unordered pair it is in) of the pairs
    that are found and true, found, and true; all 0 for an unlabeled listing.
    """
    judged = codes >= 0
    low = np.minimum(matches.listing, matches.match).astype(np.int64)
    ends = np.divmod(distinct(low * matches.n + np.maximum(matches.listing, matches.match)), max(matches.n, 1))
    left, right = (rows[judged[ends[0]] & judged[ends[1]]] for rows in ends)
    hit = codes[left] == codes[right]

    def halves(keep: NDArray[np.bool_]) -> Figures:
        return np.bincount(np.concatenate([left[keep], right[keep]]), minlength=len(codes)) / 2

    row_f1 = np.nan_to_num(row_scores(matches, codes)[:, 2])
    true = np.maximum(group_sizes(codes) - 1, 0) / 2
    return np.stack([judged.astype(np.float64), row_f1, halves(hit), halves(np.ones_like(hit)), true], axis=1)


@dataclass(frozen=True)
class Objective:
    """An aim of tuning.

    Args:
        text: As it is set: `row_f1` (mean row F1), `pair_f1`, or `precision>=P`: the highest pair recall where the pair
            precision, the share of the matched pairs that are right, is at least P. Pairs, since every listing's own
            row counts as right and would flatter a row precision.
        least_precision: P, in (0, 1]; None for the other aims.
    """

    text: str = "row_f1"
    least_precision: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an aim as it is set.

        Raises:
            ValueError: It is none of the three.
        """
        if text in ("row_f1", "pair_f1"):
            return cls(text)
        found = _AT_PRECISION.fullmatch(text)
        if not found or not 0 < float(found[1]) <= 1:
            raise ValueError("an objective is row_f1, pair_f1, or precision>=P with P above 0 and at most 1")
        return cls(f"precision>={found[1]}", float(found[1]))

    @property
    def name(self) -> str:
        """What `values` are, in words."""
        names = {"row_f1": "row F1", "pair_f1": "pair F1"}
        return names.get(self.text, f"pair recall at {self.text}")

    def values(self, sums: Figures) -> Figures:
        """How good a decision is, from the sums of its `listing_figures`, [..., 5] → [...].

        Rounded to 12 digits, so that what is equal but for the order of a sum is equal. A demanded precision is not
        looked at here: `reached` says where it holds.
        """
        value = {"row_f1": row_f1, "pair_f1": pair_f1}.get(self.text, pair_recall)(sums)
        return np.round(value, 12)

    def reached(self, sums: Figures) -> NDArray[np.bool_]:
        """Where a demanded precision is reached by at least one match, bool [...]; everywhere if none is demanded."""
        if self.least_precision is None:
            return np.ones(sums.shape[:-1], dtype=bool)
        enough: NDArray[np.bool_] = (sums[..., FOUND] > 0) & (pair_precision(sums) >= self.least_precision)
        return enough


def row_f1(sums: Figures) -> Figures:
    """Mean row F1 over the labeled listings."""
    return sums[..., ROW_F1] / np.maximum(sums[..., JUDGED], 1)


def pair_precision(sums: Figures) -> Figures:
    """Share of the found pairs that are true; 1 where none is found."""
    return _share(sums[..., HITS], sums[..., FOUND])


def pair_recall(sums: Figures) -> Figures:
    """Share of the true pairs that are found; 1 where there is none."""
    return _share(sums[..., HITS], sums[..., TRUE])


def pair_f1(sums: Figures) -> Figures:
    """Harmonic mean of pair precision and pair recall."""
    precision, recall = pair_precision(sums), pair_recall(sums)
    return np.where(precision + recall > 0, 2 * precision * recall / np.maximum(precision + recall, 1e-300), 0.0)


def _share(part: Figures, whole: Figures) -> Figures:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)
