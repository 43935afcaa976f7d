"""The trained scorer: two LightGBM models of the probability that a candidate pair sells the same product.

The first model scores a pair by its features. The second one rescores the pairs that are likely enough, by the first
scores around them (`score_graph.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from ensemble.features.conflicts import conflict_mask
from ensemble.scorer.model_text import MAX_BYTES, check_model_text
from ensemble.scorer.score_graph import score_graph_features
from shared.artifacts import reading
from shared.errors import ArtifactError
from shared.schema import Flags, Floats, PairFeatures, ScoredPairs

if TYPE_CHECKING:  # a second to import, which a run with nothing to do can save
    import lightgbm as lgb

MIN_SCORE = 0.01  # a pair with a lower first score keeps it; the second model does not see it


@dataclass(frozen=True)
class Scorer:
    """One trained model.

    Args:
        booster: The LightGBM model; it knows its features by name.

    Examples:
        >>> left, right = (rows.astype(np.int32) for rows in np.triu_indices(30, 1))
        >>> table = pd.DataFrame({"cosine": np.linspace(0, 1, len(left), dtype=np.float32)})
        >>> import lightgbm as lgb
        >>> data = lgb.Dataset(table, table["cosine"] > 0.5)
        >>> scorer = Scorer(lgb.train({"objective": "binary", "verbosity": -1}, data))
        >>> scored = scorer.score(PairFeatures(30, left, right, table))
        >>> bool(scored.score[0] < 0.1), bool(scored.score[-1] > 0.9)
        (True, True)
    """

    booster: lgb.Booster

    def score(self, pairs: PairFeatures, threads: int = 0) -> ScoredPairs:
        """Return the same pairs with scores, and with `conflict` if their features say it.

        Args:
            pairs: Pairs with features; those that the model was not trained on are ignored.
            threads: Number of threads; 0: all cores.

        Raises:
            ArtifactError: A feature that the model was trained on is missing.
        """
        names = self.booster.feature_name()
        missing = sorted(set(names) - set(pairs.features))
        if missing:
            raise ArtifactError(f"the scorer needs features that the pairs lack: {', '.join(missing)}")
        score: Floats = np.zeros(0, dtype=np.float32)
        if len(pairs):
            score = np.asarray(self.booster.predict(pairs.features[names], num_threads=threads), dtype=np.float32)
        return ScoredPairs.of(pairs, score, conflict_mask(pairs))

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the total gain in the model's splits, the largest first."""
        gain = self.booster.feature_importance("gain")
        names = self.booster.feature_name()
        order = np.argsort(-gain, kind="stable")
        return {names[index]: round(float(gain[index] / max(gain.sum(), 1e-12)), 5) for index in order}

    def save(self, path: Path) -> None:
        """Write LightGBM's text format, without the number of threads, which changes nothing else."""
        text = self.booster.model_to_string(num_iteration=-1)
        path.write_text(re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: The file is missing or damaged, or no model of this kind.
        """
        import lightgbm as lgb

        with reading(path, "train the scorer again"):
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
            text = path.read_text(encoding="utf-8")
            check_model_text(text)
            return cls(lgb.Booster(model_str=text))


@dataclass(frozen=True)
class StackedScorer:
    """The trained scorer of one or two models; the second one uses the first scores of a whole pool.

    Args:
        first: Scores a pair by its features.
        second: Rescores it by the first scores around it; if None, the first scores are final.
    """

    first: Scorer
    second: Scorer | None = None

    def score(self, pairs: PairFeatures, xp: ModuleType = np, threads: int = 0) -> ScoredPairs:
        """Return the same pairs with scores, and with `conflict` if their features say it.

        Args:
            pairs: All candidate pairs of a pool with their features.
            xp: Array module to work with, numpy or CuPy.
            threads: Number of threads of LightGBM; 0: all cores.

        Raises:
            ArtifactError: A feature that the first model was trained on is missing.
        """
        return self.rescore(self.first.score(pairs, threads), xp, threads)

    def rescore(self, scored: ScoredPairs, xp: ModuleType = np, threads: int = 0) -> ScoredPairs:
        """Return pairs with their final scores.

        Args:
            scored: Pairs with their first scores. A pair's final score depends on the pairs of its two listings and of
                their neighbors, so these must be among them.
            xp: Array module to work with, numpy or CuPy.
            threads: Number of threads of LightGBM; 0: all cores.
        """
        if self.second is None:
            return scored
        mask = second_model_mask(scored)
        return replace_scores(scored, mask, self.second.score(describe_scores(scored.only(mask), xp), threads))

    def models(self) -> dict[str, Scorer]:
        """Return the models by name, in the order in which they score."""
        return {"first": self.first} | ({} if self.second is None else {"second": self.second})

    def save(self, folder: Path) -> None:
        """Write one file per model, in LightGBM's text format."""
        for name, model in self.models().items():
            model.save(folder / f"{name}.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; errors as for `Scorer.load`."""
        second = folder / "second.txt"
        return cls(Scorer.load(folder / "first.txt"), Scorer.load(second) if second.exists() else None)


def second_model_mask(scored: ScoredPairs) -> Flags:
    """Return which pairs the second model rescores, bool [p]: about one in ten, among them nearly all true pairs.

    Examples:
        >>> pair = np.array([0, 1], np.int32), np.array([1, 2], np.int32)
        >>> second_model_mask(ScoredPairs(3, *pair, np.array([0.001, 0.4], np.float32))).tolist()
        [False, True]
    """
    mask: Flags = scored.score >= MIN_SCORE
    return mask


def replace_scores(scored: ScoredPairs, mask: Flags, rescored: ScoredPairs) -> ScoredPairs:
    """Return the same pairs with new scores where the mask is set.

    Args:
        scored: p pairs.
        mask: bool [p].
        rescored: The pairs where the mask is set, with their new scores.
    """
    score = scored.score.copy()
    score[mask] = rescored.score
    return replace(scored, score=score)


def describe_scores(scored: ScoredPairs, xp: ModuleType) -> PairFeatures:
    """Return the same pairs with the features that the second model uses: the scores around each pair."""
    return PairFeatures(scored.n, scored.left, scored.right, pd.DataFrame(score_graph_features(scored, xp)))
