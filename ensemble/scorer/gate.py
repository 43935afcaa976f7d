"""A gate for very many pairs: those that cheap features rule out are not described in full.

Most candidate pairs of a large pool are hopeless, and the similarities and ranks that the branches give them tell so.
To compare titles letter by letter and to run the first model takes ten times as long. So where there are more than
`MOST` pairs, a small model of the pool's own learns from a random sample of them which pairs the first model gives a
score near 0:

1. A sample of the pairs is described in full and scored by the first model.
2. Half of it teaches the gate whether the second model would see a pair, by the features that cost little.
3. The other half sets the gate's threshold, so that almost no such pair of it is dropped.

A dropped pair has score 0 from there on. The pair that is the nearest of one of its listings is never dropped. The gate
follows from the pairs and the seed alone, so that it is the same for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Family
from ensemble.features.assemble import BLOCK, Description
from ensemble.features.conflicts import conflict_mask
from ensemble.scorer.blocks import FirstScores
from ensemble.scorer.distribution import nearest_pairs
from ensemble.scorer.model import MIN_SCORE, StackedScorer
from shared.schema import Flags, Floats, PairFeatures, ScoredPairs

if TYPE_CHECKING:  # a second to import, which a run with nothing to do can save
    import lightgbm as lgb

MOST = 3_000_000  # pairs that are all described in full
SAMPLE = 300_000  # pairs that teach the gate and set its threshold
EXPENSIVE: tuple[Family, ...] = ("titles",)  # families of features that the gate does without
NEEDED = {"branches", *EXPENSIVE}  # families without which it saves nothing: where no pair has a rank, all pass
CERTAIN = 0.2  # a pair with a larger first score is never dropped, as far as the sample tells
ALMOST = 1e-3  # share of the sampled pairs that the second model would see and that may be dropped
MARGIN = 1.0  # that the threshold is set lower than the sample asks for, in logits
ROUNDS = 40
SETTINGS = {
    "objective": "binary",
    "num_leaves": 12,
    "min_data_in_leaf": 300,  # few leaves with many pairs: what is rare is not learned by heart
    "lambda_l2": 10,
    "learning_rate": 0.15,
    "verbosity": -1,
    "num_threads": 1,  # sums in another order would make another gate
    "deterministic": True,
    "force_row_wise": True,
}


@dataclass(frozen=True)
class Gate:
    """A small model that says which pairs are worth a full description.

    Args:
        booster: The LightGBM model, by the features that cost little.
        threshold: A pair passes from this on, in logits.
    """

    booster: lgb.Booster
    threshold: float

    @classmethod
    def learn(cls, described: PairFeatures, score: Floats, names: list[str]) -> Gate | None:
        """Return the gate that a sample of a pool's pairs teaches; None where it tells nothing.

        Args:
            described: p pairs with all features, drawn at random.
            score: Their first scores, float32 [p].
            names: The features that the gate may use.
        """
        import lightgbm as lgb

        table = described.features[names]
        teaches = np.arange(len(score)) % 2 == 0
        hopeful = score >= MIN_SCORE
        if not (hopeful[teaches].any() and hopeful[~teaches].any()):
            return None
        booster = lgb.train(SETTINGS, lgb.Dataset(table[teaches], hopeful[teaches]), ROUNDS)
        raw = np.asarray(booster.predict(table[~teaches], raw_score=True, num_threads=1))
        return cls(booster, lowest_passing(raw, score[~teaches]) - MARGIN)

    def passes(self, pairs: PairFeatures, threads: int) -> Flags:
        """Return which pairs go on, bool [p]: those from the threshold on, and the nearest ones of their listings."""
        table = pairs.features[self.booster.feature_name()]
        raw: NDArray[Any] = np.asarray(self.booster.predict(table, raw_score=True, num_threads=threads))
        passes: Flags = (raw >= self.threshold) | nearest_pairs(pairs)
        return passes


def lowest_passing(raw: NDArray[np.float64], score: Floats) -> float:
    """Return the highest threshold that drops almost no pair that the second model would see, and none that is certain.

    Args:
        raw: What the gate says of some pairs, [p].
        score: Their first scores, float32 [p].

    Examples:
        >>> lowest_passing(np.array([-9.0, -2.0, -3.0]), np.array([0.001, 0.3, 0.1], np.float32))
        -3.0
    """
    seen = np.sort(raw[score >= MIN_SCORE])
    return float(min(seen[int(len(seen) * ALMOST)], raw[score > CERTAIN].min(initial=np.inf)))


def first_scores(description: Description, scorer: StackedScorer, seed: int, threads: int = 0) -> FirstScores:
    """Return the first scores of a pool's pairs; where they are more than `MOST`, those that a gate drops score 0.

        first_scores(Description(pool, pairs), matcher.scorer, seed=0)

    Args:
        description: Of the pairs.
        scorer: The scorer.
        seed: Of the sample that teaches the gate.
        threads: Number of threads of LightGBM; 0: all cores.

    Raises:
        ArtifactError: A feature that the first model was trained on is missing.
    """
    is_gated = len(description) > MOST and description.families >= NEEDED
    gate = _learned(description, scorer, seed, threads) if is_gated else None
    if gate is None:
        return FirstScores.of_blocks(description.blocks(), scorer, threads)
    parts = []
    for start in range(0, len(description), BLOCK):
        cheap = description.block(slice(start, start + BLOCK), without=EXPENSIVE)
        passes = gate.passes(cheap, threads)
        first = FirstScores.of(description.block(start + np.flatnonzero(passes)), scorer, threads)
        score = np.zeros(len(cheap), dtype=np.float32)
        score[passes] = first.scored.score
        parts.append(FirstScores(ScoredPairs.of(cheap, score, conflict_mask(cheap)), first.compared))
    return FirstScores.concat(parts)


def _learned(description: Description, scorer: StackedScorer, seed: int, threads: int) -> Gate | None:
    """Return the gate that a sample of some pairs teaches."""
    rows = np.sort(np.random.default_rng(seed).choice(len(description), min(SAMPLE, len(description)), replace=False))
    sample = description.block(rows)
    names = [str(name) for name in description.block(slice(0, 0), without=EXPENSIVE).features]
    return Gate.learn(sample, scorer.first.score(sample, threads).score, names)
