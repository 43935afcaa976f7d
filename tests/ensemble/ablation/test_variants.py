"""The systems of a study: what each is left without, and how baselines score."""

import json
from pathlib import Path
from typing import Any, get_args

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from ensemble.ablation.scoring import any_thresholds, best_scaled
from ensemble.ablation.variants import FULL, systems
from ensemble.config import EnsembleConfig, Family, Rule, TuneConfig
from ensemble.features.assemble import feature_names
from ensemble.pair_stages import load_features
from ensemble.sections import sections
from shared.metrics.matching import row_f1
from shared.pipeline.settings import Settings
from shared.schema import CandidatePairs, Matches

USED = EnsembleConfig().features
Study = Any  # of conftest.py

# --- what a system is ------------------------------------------------------------------------------------------------


def features(folder: Path) -> set[str]:
    return set(lgb.Booster(model_file=str(folder / "ensemble/scorer/first.txt")).feature_name())


@pytest.mark.slow
def test_every_system_is_in_the_results(finished: Study) -> None:
    found = finished.results
    expected = [FULL, "tfidf alone", "phash alone", "tfidf or phash", "mean cosine"]
    expected += [
        *(f"scorer, {rule}" for rule in get_args(Rule)),
        "threshold as tuned",
        "the highest point of the curve",
        "no attribute forbids a match",
        "quantities forbid a match",
        "without tfidf",
        "without phash",
    ]
    expected += [f"without the features of {family}" for family in USED]
    expected += ["without thinned pools", "without the second model", "without row weights"]
    assert list(found) == expected
    for system in found.values():
        assert sum(fit["pool_size"] for fit in system["fits"]) == len(finished.catalog)
        assert {"missed_never_proposed", "missed_scored_wrong", "rule", "threshold"} <= system["fits"][0].keys()
        assert all(fit["at_best"] >= fit["row_f1"] for fit in system["fits"])
        assert system["interval"][0] <= system["difference"] <= system["interval"][1]


@pytest.mark.slow
def test_each_rule_alone_and_the_whole_system_by_one_of_them(finished: Study) -> None:
    found = finished.results
    for rule in get_args(Rule):
        assert {fit["rule"] for fit in found[f"scorer, {rule}"]["fits"]} == {rule}
    for at, fit in enumerate(found[FULL]["fits"]):
        assert fit == found[f"scorer, {fit['rule']}"]["fits"][at]
    assert {fit["rule"] for name in ("tfidf alone", "mean cosine") for fit in found[name]["fits"]} == {"threshold"}


@pytest.mark.slow
@pytest.mark.parametrize("left_out", ["tfidf", "phash"])
def test_variant_without_a_branch(finished: Study, left_out: str) -> None:
    stays = "phash" if left_out == "tfidf" else "tfidf"
    for half in (0, 1):
        base = finished.fit(half)
        system = base / "systems" / f"without-{left_out}"
        names = features(system)
        assert not [name for name in names if name.startswith(left_out)]
        assert f"{stays}_cosine" in names
        assert features(base) > names
        for pool in ("fold0", "fold1", "holdout"):
            pairs = CandidatePairs.load(system / f"ensemble/candidates/{pool}/pairs.parquet")
            own = pd.read_parquet(base / f"{stays}/candidates/{pool}/candidates.parquet")
            assert (pairs.left.tolist(), pairs.right.tolist()) == (own.left.tolist(), own.right.tolist())
            described = load_features(system / f"ensemble/features/{pool}").features
            same = described.all_cosine == described[f"{stays}_cosine"].clip(-1, 1)
            assert (same | described.all_cosine.isna()).all()  # the mean is taken again, without it


@pytest.mark.slow
@pytest.mark.parametrize("family", get_args(Family))
def test_system_without_a_family_has_none_of_its_features(finished: Study, family: Family) -> None:
    families = feature_names(["tfidf", "phash"])
    base = finished.fit(0)
    system = base / "systems" / f"without-the-features-of-{family}"
    assert features(base) == {name for used in USED for name in families[used]}
    assert features(system) == features(base) - set(families[family])
    assert not (system / "ensemble/features").exists()


def test_unused_family_is_added() -> None:
    found = systems(Settings({"ensemble": {"features": ["branches", "images", "attributes", "pool"]}}, sections()))
    assert [name for name in found if name.startswith("with the features")] == ["with the features of titles"]
    changes = found["with the features of titles"].changes
    assert changes == {"ensemble": {"features": ["branches", "images", "attributes", "pool", "titles"]}}


def test_attributes_forbid_a_match_only_where_titles_are_compared_by_them() -> None:
    row = "quantities forbid a match"
    assert row in systems(Settings({}, sections()))
    assert row not in systems(Settings({"ensemble": {"features": ["branches", "titles"]}}, sections()))


@pytest.mark.slow
def test_variants_without_second_model_or_row_weights(finished: Study) -> None:
    systems_of = finished.fit(0) / "systems"
    kept = {path.name for path in (systems_of / "without-the-second-model/ensemble/scorer").glob("*.txt")}
    assert kept == {"first.txt"}
    base, bare = (
        json.loads((folder / "ensemble/scorer/manifest.json").read_text())["key"]["settings"]["scorer"]
        for folder in (finished.fit(0), systems_of / "without-row-weights")
    )
    assert {name for name in base if base[name] != bare[name]} == {"group_size_power"}
    assert bare["group_size_power"] == 0
    first = (systems_of / "without-the-second-model/ensemble/scorer/first.txt").read_text()
    assert first == (finished.fit(0) / "ensemble/scorer/first.txt").read_text()


def test_union_of_branches_that_do_not_learn() -> None:
    names = list(systems(Settings({}, sections())))
    assert "tfidf or phash" in names
    assert "image or distilbert or tfidf or phash" in names
    assert "without image" in names
    alone = list(systems(Settings({"ensemble": {"branches": ["image"]}}, sections())))
    assert not [name for name in alone if " or " in name or name == "without image"]


def test_baselines_are_tuned_plainly() -> None:
    base = Settings({"tune": {"rules": ["min2"], "max_matches": 7}}, sections())
    made = {name: base.changed(system.changes)[TuneConfig] for name, system in systems(base).items()}
    for name, tuning in made.items():
        plain = " alone" in name or " or " in name or name == "mean cosine"
        assert tuning.rules == (["threshold"] if plain else ["min2"]), name
        assert tuning.max_matches == 7


# --- thresholds of several branches ----------------------------------------------------------------------------------


def united(n: int, seed: int) -> tuple[CandidatePairs, np.ndarray, np.ndarray]:
    """All pairs of n listings; two branches each find their own part of the true ones."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n // 3, n)
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    same = codes[left] == codes[right]
    seen = rng.random((2, len(left))) < 0.6
    similarity = np.where(same & seen, rng.uniform(0.5, 1, seen.shape), rng.uniform(0, 0.75, seen.shape))
    return CandidatePairs(n, left, right), similarity.astype(np.float32), codes


def f1_at(pool: tuple[CandidatePairs, np.ndarray, np.ndarray], thresholds: tuple[float, float]) -> float:
    pairs, similarity, codes = pool
    kept = (similarity >= np.array(thresholds)[:, None]).any(axis=0)
    ends = np.concatenate([np.stack([pairs.left, pairs.right]), np.stack([pairs.right, pairs.left])], axis=1)
    ends = ends[:, np.tile(kept, 2)]
    order = np.lexsort(ends[::-1])
    listing, match = ends[:, order]
    return row_f1(Matches(pairs.n, listing, match, np.ones(len(order), dtype=np.float32)), codes)


@pytest.mark.parametrize("seed", range(3))
def test_any_thresholds_equal_the_best_of_a_grid(seed: int) -> None:
    pool = united(60, seed)
    config = TuneConfig(rules=["threshold"], thresholds=400, smoothing=0)
    found = any_thresholds([pool], config)
    grid = np.linspace(0.4, 1.02, 32)
    best = max(f1_at(pool, (a, b)) for a in grid for b in grid)
    alone = max(f1_at(pool, (a, 2.0)) for a in grid), max(f1_at(pool, (2.0, b)) for b in grid)
    assert f1_at(pool, (found[0], found[1])) > max(alone) + 0.02
    assert f1_at(pool, (found[0], found[1])) > best - 0.02


def test_best_scaled_is_a_half_at_the_threshold() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.random((3, 500)).astype(np.float32)
    similarity[:, :3] = np.eye(3)
    thresholds = np.array([0.3, 0.9, 2.0])  # the last one is never reached
    scaled = best_scaled(similarity, thresholds)
    assert ((scaled >= 0.5) == (similarity >= thresholds[:, None]).any(axis=0)).all()
    assert ((scaled >= 0) & (scaled <= 1)).all()
    rising = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (3, 1))
    assert (np.diff(best_scaled(rising, thresholds)) > 0).all()
