"""Pair features: a module a family, put together by `pair_features`; the same for (a, b) and (b, a)."""

from ensemble.features.assemble import (
    FAMILIES,
    feature_names,
    features_all,
    features_stage,
    load_features,
    pair_features,
)

__all__ = ["FAMILIES", "feature_names", "features_all", "features_stage", "load_features", "pair_features"]
