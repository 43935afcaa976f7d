"""Pairs and pools to train scorers with, and quick settings."""

import numpy as np
import pandas as pd

from ensemble.config import ScorerConfig
from ensemble.scorer.training import (
    LabeledPool,
    TrainingPairs,
)
from shared.compute import ComputeConfig
from shared.schema import PairFeatures

QUICK = ScorerConfig(rounds=40, patience=10, min_pairs_in_leaf=10)
CPU = ComputeConfig(device="cpu", threads=1)
TRUTH = {"a": 2.0, "b": -1.5, "c": 1.0, "noise": 0.0}  # coefficients of the logistic model that made the pairs


def described(p: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, matches and true probabilities of pairs from a logistic model with known parameters."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame({name: rng.standard_normal(p).astype(np.float32) for name in TRUTH})
    probability = 1 / (1 + np.exp(1.0 - features.to_numpy(dtype=np.float64) @ np.array(list(TRUTH.values()))))
    return features, rng.random(p) < probability, probability


def training(p: int, pools: int = 2, seed: int = 0) -> TrainingPairs:
    features, match, _ = described(p, seed)
    return TrainingPairs(features, match, np.ones(p, dtype=np.float32), np.arange(p) * pools // p)


def labeled_pool(n: int, seed: int, fold: int | None = None, source: str = "") -> LabeledPool:
    """All pairs of n listings in groups of about three; a feature that tells, and one that does not."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n // 3, n)
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    tells = (codes[left] == codes[right]) + rng.normal(0, 0.3, len(left))
    columns = {"tells": tells, "noise": rng.standard_normal(len(left))}
    pairs = PairFeatures(n, left, right, pd.DataFrame(columns).astype(np.float32))
    return LabeledPool(pairs, codes, seed if fold is None else fold, source)


def unscored(features: pd.DataFrame) -> PairFeatures:
    n = len(features) + 1
    return PairFeatures(n, np.zeros(n - 1, dtype=np.int32), np.arange(1, n, dtype=np.int32), features)
