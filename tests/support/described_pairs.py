"""Described pairs of listings, and scorers that learned from them."""

import lightgbm as lgb
import numpy as np
import pandas as pd

from ensemble.scorer.model import Scorer, StackedScorer, describe_scores, second_model_mask
from shared.schema import PairFeatures


def described_pairs(n: int, share: float = 1.0) -> PairFeatures:
    """A share of all pairs of n listings, with features of three families, some of them unknown."""
    rng = np.random.default_rng(1)
    left, right = np.triu_indices(n, 1)
    keep = rng.random(len(left)) < share
    left, right = left[keep].astype(np.int32), right[keep].astype(np.int32)
    names = ["tfidf_cosine", "tfidf_rank_low", "title_ratio", "color_shared", "quantity_conflict"]
    values = rng.normal(size=(len(left), len(names))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    return PairFeatures(n, left, right, pd.DataFrame(values, columns=names))


def model(table: pd.DataFrame, match: np.ndarray) -> Scorer:
    return Scorer(lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lgb.Dataset(table, match), 30))


def scorer_of(pairs: PairFeatures, models: int = 2) -> StackedScorer:
    """A scorer that learned from these pairs that few of them match."""
    table = pairs.features.fillna(0)
    match = (table["tfidf_cosine"] + table["title_ratio"] - table["quantity_conflict"] > 2.5).to_numpy()
    first = model(pairs.features, match)
    scored = first.score(pairs, threads=1)
    mask = second_model_mask(scored)
    return StackedScorer(
        first, model(describe_scores(scored.only(mask), np).features, match[mask]) if models == 2 else None
    )
