"""Scores the pairs of a run's holdout and catalogue, and decides the matches of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ensemble.features import load_features
from ensemble.result import Result
from ensemble.train import load_scorer
from ensemble.tune import load_decision, tune_all
from shared.compute import ComputeConfig
from shared.pools import CATALOGUE_POOL, HOLDOUT_POOL, Pool, pool_catalog, pool_inputs
from shared.run import Run
from shared.schema import Pairs
from shared.settings import Settings


def score_stage(run: Run, settings: Settings, pool: Pool) -> None:
    """Score the pairs of the holdout or of the catalogue."""

    def work(out: Path) -> Mapping[str, Any]:
        compute = settings[ComputeConfig]
        scored = load_scorer(run).score(load_features(run, pool), compute.xp(), compute.cpu_threads)
        scored.save(out / "pairs.parquet")
        return {"pairs": len(scored)}

    inputs = {"scorer": run.digest_of("ensemble/scorer"), "pairs": run.digest_of(f"ensemble/features/{pool.name}")}
    run.stage(f"ensemble/scores/{pool.name}", "ensemble.scores", inputs, {}, work)


def load_scores(run: Run, pool: Pool) -> Pairs:
    """The scored pairs of the holdout or of the catalogue."""
    return Pairs.load(run.open(f"ensemble/scores/{pool.name}") / "pairs.parquet")


def match_stage(run: Run, settings: Settings) -> None:
    """Write the matches of the run's catalogue: its test listings where it has any, else all of them."""

    def work(out: Path) -> Mapping[str, Any]:
        catalog, scored = pool_catalog(run, settings, CATALOGUE_POOL), load_scores(run, CATALOGUE_POOL)
        result = Result.decided(load_decision(run), catalog, scored)
        result.save(out)
        return result.summary()

    inputs = pool_inputs(run, settings, CATALOGUE_POOL)
    inputs |= {"decision": run.digest_of("ensemble/decision"), "scores": run.digest_of("ensemble/scores/catalogue")}
    run.stage("matches", "ensemble.scores", inputs, {}, work)


def match_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the matches of its catalogue."""
    tune_all(run, settings)
    for pool in (HOLDOUT_POOL, CATALOGUE_POOL):
        score_stage(run, settings, pool)
    match_stage(run, settings)
