"""Settings of the ensemble."""

from typing import Literal, get_args

from pydantic import Field, field_validator

from ensemble.decision.objective import Objective
from shared.config import ConfigSection

Rule = Literal["threshold", "min2", "average_link"]
Family = Literal["branches", "titles", "attributes", "images"]

VETO = "quantity_conflict"  # the pair feature that is 1 where two titles state different quantities; scores keep it


class EnsembleConfig(ConfigSection):
    """Section `ensemble`: which branches take part, and what is told of the pairs they propose."""

    branches: list[str] = Field(
        ["image", "distilbert", "tfidf", "phash"], min_length=1, description="folders of branches/, in order"
    )

    features: list[Family] = Field(
        ["branches", "titles", "attributes", "images"], min_length=1, description="families of pair features"
    )

    @field_validator("branches", "features")
    @classmethod
    def _once(cls, named: list[str]) -> list[str]:
        if len(set(named)) != len(named):
            raise ValueError("one is named twice")
        return named

    @field_validator("features")
    @classmethod
    def _needed(cls, features: list[Family]) -> list[Family]:
        if "branches" not in features:
            raise ValueError("branches are what all else stands on; to do without their features, see scorer.leave_out")
        return features


class ScorerConfig(ConfigSection):
    """Section `scorer`: the LightGBM model that scores each pair."""

    rounds: int = Field(1500, ge=1, description="most boosting rounds; early stopping chooses")
    patience: int = Field(40, ge=1, description="rounds without a better log loss before stopping")
    learning_rate: float = Field(0.05, gt=0, le=1, description="shrinkage of each tree")
    leaves: int = Field(24, ge=2, description="most leaves of a tree")
    min_pairs_in_leaf: int = Field(30, ge=1, description="fewest pairs in a leaf")
    feature_fraction: float = Field(0.4, gt=0, le=1, description="share of features tried by a tree")
    row_fraction: float = Field(0.8, gt=0, le=1, description="share of pairs used by a tree")
    l2: float = Field(5.0, ge=0, description="L2 penalty on leaf values")
    group_size_power: float = Field(
        0.4, ge=0, le=1, description="a pair weighs (group size)^-power, since the metric averages over listings"
    )
    leave_out: list[Family] = Field([], description="families of pair features that the scorer does without")
    models: int = Field(2, ge=1, le=2, description="2: a second model judges a pair by the first scores around it")


class TuneConfig(ConfigSection):
    """Section `tune`: what the decision is tuned for, and over which rules."""

    rules: list[Rule] = Field(
        list(get_args(Rule)),
        min_length=1,
        description="rules to choose from, the simplest first: it wins where the best is within one standard error",
    )
    objective: str = Field("row_f1", description="what is to be best: row_f1, pair_f1, or recall at precision>=0.95")
    thresholds: int = Field(200, ge=2, description="thresholds tried for each rule, at quantiles of the scores")
    smoothing: float = Field(
        0.4,
        ge=0,
        description="a threshold counts for as good as those around it; how far these lie, in logits; 0: none",
    )
    max_matches: int = Field(50, ge=1, description="most matches of a listing, itself not counted")
    veto: bool = Field(False, description="titles that state different quantities never match, whatever the rule")
    pool_size: int | None = Field(
        None, ge=1, description="listings of the pool that the threshold is for; null: of whatever pool is matched"
    )
    drift: float = Field(
        1.0, ge=0, le=1, description="how far the threshold moves with the pool's size; 1: as the odds of a match do"
    )
    resamples: int = Field(1000, ge=2, description="bootstrap resamples of the products, for how sure the choice is")

    @field_validator("objective")
    @classmethod
    def _known(cls, objective: str) -> str:
        return Objective.parse(objective).text

    @field_validator("rules")
    @classmethod
    def _once(cls, rules: list[Rule]) -> list[Rule]:
        if len(set(rules)) != len(rules):
            raise ValueError("a rule is named twice")
        return rules
