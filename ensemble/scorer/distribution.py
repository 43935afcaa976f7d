"""The distribution of features over the pairs of a pool, kept as quantiles, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import Flags, PairFeatures

LEVELS = np.linspace(0, 1, 21)  # levels of the quantiles
NEAREST = "all_rank_low"  # 1: one listing is the nearest one of the other by the mean cosine of all branches
BY_CHANCE = 0.87  # mean Kolmogorov-Smirnov distance of a sample of p to its own distribution, times the root of p

Quantiles = NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """The distribution of a feature; a missing value counts as smaller than all others.

    Args:
        missing: Share of the pairs without a value, in [0, 1].
        quantiles: Of the values at `LEVELS`, rising, float64 [21]; empty if every value is missing.

    Examples:
        >>> values = np.array([0, 1, np.nan, np.nan], np.float32)
        >>> low, high = Distribution.of(values), Distribution.of(values + 2)
        >>> low.missing, low.distance(low), low.distance(high)
        (0.5, 0.0, 0.5)
    """

    missing: float
    quantiles: Quantiles

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Self:
        """Return the distribution of values, float [p]; NaN: missing."""
        present = values[~np.isnan(values)].astype(np.float64)
        quantiles = np.quantile(present, LEVELS) if len(present) else np.zeros(0)
        return cls(1 - len(present) / max(len(values), 1), quantiles)

    def distance(self, other: Distribution) -> float:
        """Return the Kolmogorov-Smirnov distance, in [0, 1]: the largest difference of the shares below a value.

        The shares are estimated from the quantiles, by linear interpolation. The distance is at least the difference of
        the shares of missing values.
        """
        points = np.concatenate([self.quantiles, other.quantiles])
        below = np.abs(self._share(points, "left") - other._share(points, "left"))
        up_to = np.abs(self._share(points, "right") - other._share(points, "right"))
        return float(np.max([abs(self.missing - other.missing), *below, *up_to]))

    def _share(self, points: Quantiles, side: Literal["left", "right"]) -> Quantiles:
        """Return the share below each point; with `right` the share up to and with it."""
        if len(self.quantiles) == 0:
            return np.ones(len(points))
        count = np.searchsorted(self.quantiles, points, side=side)  # of the quantiles below the point
        lower, upper = np.clip(count - 1, 0, None), np.clip(count, None, len(LEVELS) - 1)
        start, width = self.quantiles[lower], self.quantiles[upper] - self.quantiles[lower]
        part = np.divide(points - start, width, out=np.zeros(len(points)), where=width > 0)
        share = LEVELS[lower] + part * (LEVELS[upper] - LEVELS[lower])
        share = np.where(count == 0, 0, np.where(count == len(LEVELS), 1, share))
        with_missing: Quantiles = self.missing + (1 - self.missing) * share
        return with_missing


@dataclass(frozen=True)
class PoolFeatures:
    """The distribution of each feature over the pairs of a pool in which one listing is the nearest of the other.

    All other pairs are hopeless in most catalogs, and there are so many that they hide how catalogs differ.

    Args:
        pairs: Number of these pairs.
        features: Feature → its distribution.
        fold: Fold of a training pool; -1 for another catalog.
    """

    pairs: int
    features: Mapping[str, Distribution]
    fold: int = -1

    @classmethod
    def of(cls, described: PairFeatures, names: Sequence[str], fold: int = -1) -> Self:
        """Return the distributions of some features of a pool.

        Args:
            described: All pairs of the pool.
            names: The features.
            fold: Fold of the pool.

        Raises:
            KeyError: The pairs lack one of the features.
        """
        rows = nearest_pairs(described)
        features = {name: Distribution.of(described.features[name].to_numpy()[rows]) for name in names}
        return cls(int(rows.sum()), features, fold)

    def distances(self, others: Sequence[PoolFeatures]) -> dict[str, float]:
        """Return for each feature the distance to the nearest of some pools, in [0, 1].

        What chance alone makes of samples of these sizes is taken off.

        Args:
            others: One or more pools with the same features.
        """
        distances = {}
        for name, distribution in self.features.items():
            raw = [distribution.distance(other.features[name]) for other in others]
            nearest = int(np.argmin(raw))
            chance = BY_CHANCE * np.sqrt(1 / max(self.pairs, 1) + 1 / max(others[nearest].pairs, 1))
            distances[name] = max(float(raw[nearest] - chance), 0.0)
        return distances


def nearest_pairs(pairs: PairFeatures) -> Flags:
    """Return in which pairs one listing is the nearest one of the other, bool [p]; all if there are no ranks.

    Examples:
        >>> import pandas as pd
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> table = pd.DataFrame({"all_rank_low": np.array([1, 2], np.float32)})
        >>> nearest_pairs(PairFeatures(3, *rows, table)).tolist()
        [True, False]
    """
    if NEAREST not in pairs.features:
        return np.ones(len(pairs), dtype=np.bool_)
    mask: Flags = pairs.features[NEAREST].to_numpy() == 1
    return mask
