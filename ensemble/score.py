"""Scores the pairs of a run's holdout and catalog, and decides the matches of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble.decision.tuning import load_decision, tune_all
from ensemble.features import load_features
from ensemble.match_result import MatchResult
from ensemble.scorer.training import load_scorer
from shared.compute import ComputeConfig
from shared.pipeline.pools import CATALOG_POOL, HOLDOUT_POOL, Pool, pool_catalog, pool_inputs
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings
from shared.schema import ScoredPairs


def score_stage(run: Run, settings: Settings, pool: Pool) -> None:
    """Score the pairs of the holdout or of the catalog."""

    def work(out: Path) -> Mapping[str, Any]:
        compute = settings[ComputeConfig]
        scored = load_scorer(run).score(load_features(run, pool), compute.xp(), compute.cpu_threads)
        scored.save(out / "pairs.parquet")
        return {"pairs": len(scored)}

    inputs = {"scorer": run.digest_of("ensemble/scorer"), "pairs": run.digest_of(f"ensemble/features/{pool.name}")}
    run.stage(f"ensemble/scores/{pool.name}", "ensemble.score", inputs, {}, work)


def load_scores(run: Run, pool: Pool) -> ScoredPairs:
    """The scored pairs of the holdout or of the catalog."""
    return ScoredPairs.load(run.open(f"ensemble/scores/{pool.name}") / "pairs.parquet")


def match_stage(run: Run, settings: Settings) -> None:
    """Write the matches of the run's catalog: its test listings where it has any, else all of them."""

    def work(out: Path) -> Mapping[str, Any]:
        catalog, scored = pool_catalog(run, settings, CATALOG_POOL), load_scores(run, CATALOG_POOL)
        result = MatchResult.from_scores(load_decision(run), catalog, scored)
        result.save(out)
        return result.summary()

    inputs = pool_inputs(run, settings, CATALOG_POOL)
    inputs |= {"decision": run.digest_of("ensemble/decision"), "scores": run.digest_of("ensemble/scores/catalog")}
    run.stage("matches", "ensemble.score", inputs, {}, work)


def match_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the matches of its catalog."""
    tune_all(run, settings)
    for pool in (HOLDOUT_POOL, CATALOG_POOL):
        score_stage(run, settings, pool)
    match_stage(run, settings)
