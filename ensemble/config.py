"""Settings of the ensemble."""

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from shared.config import ConfigSection

Rule = Literal["average_link", "threshold", "min2"]
Kind = Literal["quantity", "size", "model", "color"]  # of attributes in which two titles can be in conflict
Family = Literal["branches", "titles", "attributes", "images", "pool"]

MAX_GROUP = 1000  # listings in a group, unless `tune.max_group` says otherwise
_MIN_PRECISION = re.compile(r"\s*precision\s*>=\s*(\d*\.?\d+)\s*")


def normalize_objective(text: str) -> str:
    """Return an objective of tuning without blanks: `row_f1`, `pair_f1` or `precision>=P`.

    Raises:
        ValueError: The text is none of the three objectives.

    Examples:
        >>> normalize_objective(" precision >= 0.95")
        'precision>=0.95'
    """
    if text in ("row_f1", "pair_f1"):
        return text
    parts = _MIN_PRECISION.fullmatch(text)
    if not parts or not 0 < float(parts[1]) <= 1:
        raise ValueError("an objective is row_f1, pair_f1, or precision>=P with P above 0 and at most 1")
    return f"precision>={parts[1]}"


class EnsembleConfig(ConfigSection):
    """Section `ensemble`: which branches and families of pair features to use."""

    branches: list[str] = Field(
        ["image", "distilbert", "tfidf", "phash"], min_length=1, description="folders of branches/, in order"
    )

    features: list[Family] = Field(
        ["branches", "titles", "attributes", "images", "pool"], min_length=1, description="families of pair features"
    )

    @field_validator("branches", "features")
    @classmethod
    def _check_unique(cls, names: list[str]) -> list[str]:
        if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"{', '.join(repeated)} is named twice")
        return names

    @field_validator("features")
    @classmethod
    def _check_required(cls, features: list[Family]) -> list[Family]:
        if "branches" not in features:
            raise ValueError(
                "branches is required in ensemble.features; to exclude it from the scorer set "
                "scorer.exclude_features=branches"
            )
        return features


class StartConfig(ConfigSection):
    """Section `start`: what the matches of a catalog without labels start from."""

    bundle: str = Field(
        "",
        description="bundle whose encoders, scorer and decision match a catalog without labels; empty: pretrained "
        "encoders and no scorer",
    )


class ReviewConfig(ConfigSection):
    """Section `review`: people's answers about pairs of the run's catalog."""

    answers: str = Field("", description="file of people's answers; empty: answers.jsonl in the run folder")


class ScorerConfig(ConfigSection):
    """Section `scorer`: the LightGBM models that score each pair."""

    rounds: int = Field(1500, ge=1, description="maximum boosting rounds; early stopping chooses")
    patience: int = Field(40, ge=1, description="rounds without a lower log loss before training stops")
    learning_rate: float = Field(0.05, gt=0, le=1, description="shrinkage of each tree")
    leaves: int = Field(24, ge=2, description="maximum leaves per tree")
    min_pairs_in_leaf: int = Field(30, ge=1, description="minimum pairs per leaf")
    feature_fraction: float = Field(0.4, gt=0, le=1, description="share of the features used per tree")
    row_fraction: float = Field(0.8, gt=0, le=1, description="share of the pairs used per tree")
    l2: float = Field(5.0, ge=0, description="L2 penalty on leaf values")
    group_size_power: float = Field(
        0.4, ge=0, le=1, description="a pair weighs (group size)^-power, because the metric is a mean over listings"
    )
    exclude_features: list[Family] = Field([], description="families of pair features that the scorer must not use")
    thinned: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.0, 0.1, 0.3, 0.6],
        description="pools thinned from each fold pool to learn from: in each, the share of the products that keep "
        "more than one listing, once of all products and once of a third; [] where every catalog to be matched has a "
        "match for each listing",
    )
    models: int = Field(2, ge=1, le=2, description="2: a second model rescores pairs by the first scores around them")


class TuneConfig(ConfigSection):
    """Section `tune`: what the decision is tuned for, and over which rules."""

    rules: list[Rule] = Field(
        list(get_args(Rule)),
        min_length=1,
        description="rules to choose from; the first one wins that is not clearly worse than the best",
    )
    objective: str = Field(
        "row_f1", description="what to maximize: row_f1, pair_f1, or precision>=0.95 (recall at that pair precision)"
    )
    thresholds: int = Field(200, ge=2, description="thresholds to try per rule, at quantiles of the scores")
    smoothing: float = Field(
        0.4, ge=0, description="bandwidth in logits for smoothing the objective over thresholds; 0: no smoothing"
    )
    max_matches: int = Field(50, ge=1, description="maximum matches per listing, itself not counted")
    max_group: int | None = Field(
        MAX_GROUP,
        ge=2,
        description="most listings in a group, those of equal content counted once; larger groups are split; null: any",
    )
    forbid: list[Kind | Literal["auto", "none"]] = Field(
        ["auto"],
        description="attributes that forbid a match where two titles contradict each other in them: some of quantity, "
        "size, model, color; auto: those that tuning finds to do no harm; none",
    )
    pool_size: int | None = Field(
        None, ge=1, description="number of listings to correct the threshold for; null: of the pool that is matched"
    )
    prior_shift: float = Field(
        0.7,
        ge=0,
        le=1,
        description="strength of the threshold's correction for pool size; 0: none, 1: full prior shift",
    )
    singles_shift: float | None = Field(
        None,
        ge=0,
        le=30,  # moves any threshold to any other
        description="how much the logit of the threshold rises as the share of listings that have a match falls from "
        "1 to 0; null: tuned on the thinned pools",
    )
    guard: bool = Field(
        True,
        description="raise the threshold of average_link in a catalog that is unlike those of the training",
    )
    resamples: int = Field(1000, ge=2, description="bootstrap resamples of the products for the choice of the rule")

    @field_validator("objective")
    @classmethod
    def _normalize(cls, objective: str) -> str:
        return normalize_objective(objective)

    @field_validator("rules", "forbid")
    @classmethod
    def _check_unique(cls, names: list[str]) -> list[str]:
        if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"{', '.join(repeated)} is named twice")
        return names

    @field_validator("forbid", mode="before")
    @classmethod
    def _split(cls, names: object) -> object:
        return names.split(",") if isinstance(names, str) else names

    @field_validator("forbid")
    @classmethod
    def _check_alone(cls, names: list[str]) -> list[str]:
        if len(names) > 1 and (alone := [name for name in names if name in ("auto", "none")]):
            raise ValueError(f"{alone[0]} stands alone, or kinds of attributes are named")
        return names

    @property
    def forbidden(self) -> tuple[Kind, ...]:
        """The kinds of attributes that are set to forbid a match; none where tuning chooses them."""
        return tuple(kind for kind in get_args(Kind) if kind in self.forbid)
