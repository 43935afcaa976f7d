"""What a scorer was trained on, kept as quantiles of its features, and how far another catalog is from it.

A model is right where its features are distributed as in its training. A catalog is compared feature by feature with
the nearest training pool, by the Kolmogorov-Smirnov distance. How far catalogs of the same kind are apart is measured:
by the distance of each training pool from those of the other folds.

Eight trainings (demos of both kinds, alone and together, Shopee, a price portal) were compared with catalogs of a tenth
to three times the size of their pools. Training pools of different folds were at most .013 to .054 apart. Other
catalogs of the same kind with about as many duplicates were at most .049 away and below the limit of their training:
1.25 times the largest distance between its pools, and at least .04. Catalogs of another kind were .041 to .42 away and
above it, and so were some of the same kind with far fewer duplicates in a pool of another size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.scorer.distribution import LEVELS, NEAREST, Distribution, PoolFeatures, nearest_pairs
from ensemble.scorer.feature_words import in_words
from shared.artifacts import checked_type, parse_json
from shared.errors import ArtifactError
from shared.schema import PairFeatures

FILE = "experience.parquet"
MAX_VALUES = 10**7  # in a file
MARGIN = 1.25  # the limit, as a multiple of the largest distance between training pools of different folds
LEAST_PAIRS = 200  # pairs of nearest neighbors; fewer tell too little of a catalog
LEAST_LIMIT = 0.04  # the limit is not lower; training pools of thousands of listings are very close to each other
REASONS = 3  # features that are told
NOTABLE = 0.15  # a feature whose distance is smaller is not told


@dataclass(frozen=True)
class Unlikeness:
    """How far a catalog is from the training.

    Args:
        distance: Mean distance of its features from the nearest training pool, weighted by importance, in [0, 1].
        limit: Largest distance of a catalog like those of the training.
        reasons: What differs, in words; first what contributes most to the distance.
    """

    distance: float
    limit: float
    reasons: tuple[str, ...] = ()

    @property
    def is_unlike(self) -> bool:
        """Return whether the catalog is unlike those of the training."""
        return self.distance > self.limit

    def to_json(self) -> dict[str, Any]:
        """Return the values that `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_json` was called on."""
        return checked_type(cls, values)


@dataclass(frozen=True)
class Experience:
    """What a scorer was trained on.

        Experience.of_pools([pool.pairs for pool in pools], [pool.fold for pool in pools], importance).save(folder)

    Args:
        pools: The training pools that have pairs.
        limit: Largest distance of a catalog like those of the training.
    """

    pools: tuple[PoolFeatures, ...]
    limit: float

    @classmethod
    def of_pools(cls, pools: Sequence[PairFeatures], folds: Sequence[int], importance: Mapping[str, float]) -> Self:
        """Return the experience of a scorer.

        Args:
            pools: The described pairs of each training pool.
            folds: The fold of each; pools of the same fold are not compared with each other.
            importance: Feature of the first model → its share in the gain; no other feature is kept.
        """
        names = _compared(importance)
        kept = [PoolFeatures.of(pairs, names, fold) for pairs, fold in zip(pools, folds, strict=True)]
        kept = [pool for pool in kept if pool.pairs]
        others = [[other for other in kept if other.fold != pool.fold] for pool in kept]
        distances = [
            mean_distance(pool.distances(rest), importance) for pool, rest in zip(kept, others, strict=True) if rest
        ]
        return cls(tuple(kept), max(MARGIN * max(distances), LEAST_LIMIT) if distances else 1.0)

    def compare(self, pairs: PairFeatures, importance: Mapping[str, float]) -> Unlikeness:
        """Return how far a catalog is from the training; no distance where it has too few pairs to tell.

        Args:
            pairs: Its candidate pairs with their features, all of them or those that `compared_pairs` returns.
            importance: As for `of_pools`.

        Raises:
            KeyError: The pairs lack a feature of the first model.
        """
        catalog = PoolFeatures.of(pairs, _compared(importance))
        if catalog.pairs < LEAST_PAIRS or not self.pools:
            return Unlikeness(0.0, self.limit)
        distances = catalog.distances(self.pools)
        reasons = self._reasons(catalog, distances, importance)
        return Unlikeness(mean_distance(distances, importance), self.limit, reasons)

    def _reasons(
        self, catalog: PoolFeatures, distances: Mapping[str, float], importance: Mapping[str, float]
    ) -> tuple[str, ...]:
        """Return in words what differs; features with the same words count together."""
        total: dict[str, float] = {}
        for name, distance in distances.items():
            if distance >= NOTABLE:
                words = in_words(name, self._change(name, catalog.features[name].missing, distance / 2))
                total[words] = total.get(words, 0.0) + distance * importance[name]
        return tuple(sorted(total, key=lambda words: -total[words])[:REASONS])

    def _change(self, name: str, missing: float, notable: float) -> Literal["", "no", "fewer", "more"]:
        """Return whether fewer or more pairs have a feature than in all training pools."""
        trained = [pool.features[name].missing for pool in self.pools]
        if missing - max(trained) > notable:
            return "no" if missing == 1 else "fewer"
        return "more" if min(trained) - missing > notable else ""

    def save(self, folder: Path) -> None:
        """Write `experience.parquet`: a row for each feature of each pool, float32."""
        rows = [
            (number, pool.fold, pool.pairs, name, of.missing, of.quantiles.astype(np.float32))
            for number, pool in enumerate(self.pools)
            for name, of in pool.features.items()
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        table = pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA
        )
        pq.write_table(table.replace_schema_metadata({"limit": json.dumps(self.limit)}), folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: There is no such file, since an older version trained the scorer, or it is damaged.
        """
        path = folder / FILE
        if not path.exists():
            raise ArtifactError(f"{path} is missing: the scorer was trained by an older version; train it again")
        try:
            if _count_values(path) > MAX_VALUES:
                raise ValueError(f"it holds more than {MAX_VALUES:,} values")
            table = pq.read_table(path)
            if not table.schema.equals(_SCHEMA):
                raise ValueError("its columns are others")
            limit = checked_type(float, parse_json(table.schema.metadata[b"limit"]))
            features: dict[tuple[int, int, int], dict[str, Distribution]] = {}  # number, pairs and fold → its own
            for row in table.to_pylist():
                of_pool = features.setdefault((row["pool"], row["pairs"], row["fold"]), {})
                of_pool[row["feature"]] = _distribution(row["missing"], row["quantiles"])
        except Exception as error:  # Arrow raises many
            raise ArtifactError(f"{path} is not of this version ({error}); train the scorer again") from error
        return cls(tuple(PoolFeatures(pairs, of_pool, fold) for (_, pairs, fold), of_pool in features.items()), limit)


def _count_values(path: Path) -> int:
    """Return how many values a Parquet file says to hold, which may be far more than it has bytes."""
    about = pq.read_metadata(path)
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    return sum(group.column(number).num_values for group in groups for number in range(group.num_columns))


def _distribution(missing: float, quantiles: Sequence[float]) -> Distribution:
    values = np.array(quantiles, dtype=np.float64)
    if len(values) not in (0, len(LEVELS)) or np.isnan(values).any() or (np.diff(values) < 0).any():
        raise ValueError(f"{len(values)} numbers are not the quantiles of a feature")
    return Distribution(checked_type(float, missing), values)


_SCHEMA = pa.schema(
    {
        "pool": pa.int32(),
        "fold": pa.int32(),
        "pairs": pa.int64(),
        "feature": pa.string(),
        "missing": pa.float32(),
        "quantiles": pa.list_(pa.float32()),
    }
)


def mean_distance(distances: Mapping[str, float], importance: Mapping[str, float]) -> float:
    """Return the mean of the features' distances, weighted by importance, in [0, 1]; 0 if no feature has any.

    Examples:
        >>> mean_distance({"tfidf_cosine": 0.5, "title_ratio": 0.0}, {"tfidf_cosine": 0.3, "title_ratio": 0.1})
        0.375
    """
    total = sum(importance[name] for name in distances)
    weighted = sum(importance[name] * distance for name, distance in distances.items())
    return round(weighted / total, 4) if total else 0.0


def compared_pairs(pairs: PairFeatures, importance: Mapping[str, float]) -> PairFeatures:
    """Return of described pairs those that `Experience.compare` looks at, about one per listing, and their features.

    Args:
        pairs: Some of the candidate pairs of a pool; all that is looked at is in those of its parts.
        importance: As for `Experience.compare`.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> table = pd.DataFrame({"all_rank_low": [1.0, 2.0], "size": [5.0, 6.0]}, dtype=np.float32)
        >>> pairs = PairFeatures(3, np.array([0, 0], np.int32), np.array([1, 2], np.int32), table)
        >>> compared_pairs(pairs, {"size": 0.5}).features.to_dict("list")
        {'all_rank_low': [1.0], 'size': [5.0]}
    """
    names = [NEAREST, *_compared(importance)] if NEAREST in pairs.features else _compared(importance)
    rows = nearest_pairs(pairs)
    features = pairs.features.loc[rows, list(dict.fromkeys(names))].reset_index(drop=True)
    return PairFeatures(pairs.n, pairs.left[rows], pairs.right[rows], features)


def _compared(importance: Mapping[str, float]) -> list[str]:
    """Return the features whose distributions are compared: those of the whole pool are one value, not many."""
    return [name for name in importance if "_pool_lead" not in name]
