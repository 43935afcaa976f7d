"""Evaluates a run on its holdout, which no encoder, scorer or threshold has seen: the ensemble and each branch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches import stages as branch
from ensemble.candidates import missed, recall
from ensemble.config import EnsembleConfig, TuneConfig
from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.tuning import best_threshold, fold_codes, load_decision
from ensemble.evaluation.calibration import calibration
from ensemble.evaluation.summary import summary
from ensemble.match_result import MatchResult
from ensemble.score import load_scores, match_all
from ensemble.scorer.training import load_fold_scores
from shared.metrics.matching import label_codes, measure, same_product
from shared.pipeline.cli import command
from shared.pipeline.pools import HOLDOUT_POOL, Pool, fold_pools, pool_catalog
from shared.pipeline.run import Run, write_json
from shared.pipeline.settings import Settings
from shared.schema import CandidatePairs, Catalog, Matches, ScoredPairs


def evaluate_stage(run: Run, settings: Settings) -> None:
    """Measure the ensemble and every branch alone on the holdout."""
    names, tuning = settings[EnsembleConfig].branches, settings[TuneConfig]

    def work(out: Path) -> Mapping[str, Any]:
        catalog = pool_catalog(run, settings, HOLDOUT_POOL)
        holdout = evaluate_ensemble(run, catalog)
        alone = {name: evaluate_branch(run, settings, name, catalog) for name in names}
        found = {"holdout": holdout, "branches": alone, "calibration": evaluate_calibration(run, settings)}
        write_json(out / "evaluation.json", found)
        return {"row F1 on the holdout": holdout["row_f1"], "in a pool of": holdout["pool_size"]}

    inputs = {"decision": run.digest_of("ensemble/decision"), "scores": run.digest_of("ensemble/scores/holdout")}
    inputs |= {name: run.digest_of(name) for name in ("ensemble/scorer", "ensemble/candidates/holdout")}
    for pool in [*fold_pools(settings), HOLDOUT_POOL]:
        inputs |= {f"{name}/{pool.name}": run.digest_of(f"{name}/candidates/{pool.name}") for name in names}
    inputs |= {"split": run.digest_of("split"), "catalog": run.digest_of("catalog/train")}
    run.stage("ensemble/evaluation", "ensemble.evaluate", inputs, {"tune": tuning.model_dump(mode="json")}, work)


def evaluate_ensemble(run: Run, catalog: Catalog) -> dict[str, Any]:
    """Return the metrics of the ensemble on the holdout, and the recall of the branches' candidates there by rank."""
    result = MatchResult.from_scores(load_decision(run), catalog, load_scores(run, HOLDOUT_POOL))
    recalls = json.loads((run.open("ensemble/candidates/holdout") / "recall.json").read_text(encoding="utf-8"))
    metrics = metrics_of_matches(result.match_rows, result.scored_pairs, label_codes(catalog.labels))
    return metrics | {"recall_by_rank": recalls["by_rank"]}


def metrics_of_matches(matches: Matches, pairs: CandidatePairs, codes: NDArray[np.integer]) -> dict[str, Any]:
    """Return the metrics of matches by name, with the shares of the true pairs that were missed, and why.

    Args:
        matches: The matches of n listings.
        pairs: The candidate pairs that the matches were decided on.
        codes: Label code of each listing, int [n]; -1 where there is no label.
    """
    metrics = measure(matches, groups_of(matches), codes).to_json()
    proposed = recall(pairs.left, pairs.right, codes)
    return metrics | {"recall_of_candidates": proposed} | missed(proposed, metrics["pair_recall"])


def evaluate_calibration(run: Run, settings: Settings) -> dict[str, Any]:
    """How well the out-of-fold scores of all fold pools' candidate pairs do as probabilities."""
    scored = [load_fold_scores(run, pool) for pool in fold_pools(settings)]
    codes = fold_codes(run, settings)
    match = [same_product(pairs.left, pairs.right, of_pool) for pairs, of_pool in zip(scored, codes, strict=True)]
    return calibration(np.concatenate([pairs.score for pairs in scored]), np.concatenate(match))


def evaluate_branch(run: Run, settings: Settings, name: str, catalog: Catalog) -> dict[str, Any]:
    """Return the metrics of one branch alone on the holdout, at its best threshold on cosine out of fold."""
    config = settings[TuneConfig]
    folds = [similarity_as_score(run, name, pool) for pool in fold_pools(settings)]
    pools = list(zip(folds, fold_codes(run, settings), strict=True))
    best = best_threshold(pools, "threshold", count=config.thresholds, max_matches=config.max_matches)
    pairs = similarity_as_score(run, name, HOLDOUT_POOL)
    matches = Decision("threshold", best.threshold, config.max_matches).apply(pairs)
    return metrics_of_matches(matches, pairs, label_codes(catalog.labels)) | {"threshold": best.threshold}


def similarity_as_score(run: Run, name: str, pool: Pool) -> ScoredPairs:
    """Return a branch's candidates with their cosine, clipped to [0, 1], as score."""
    candidates = branch.load_candidates(run, name, pool)
    return ScoredPairs.of(candidates, np.clip(candidates.similarity, 0, 1))


def metrics_of(run: Run) -> dict[str, Any]:
    """Figures of a run's holdout and branches, its decision, and the cost of each stage.

    Raises:
        ArtifactError: The run has not been measured.
    """
    evaluation = json.loads((run.open("ensemble/evaluation") / "evaluation.json").read_text(encoding="utf-8"))
    curves = json.loads((run.open("ensemble/decision") / "curves.json").read_text(encoding="utf-8"))
    calibrated = evaluation.pop("calibration")
    decision = load_decision(run)
    stages = {m["stage"]: {key: m[key] for key in ("seconds", "peak_memory_mb")} for m in run.stages()}
    return {
        **evaluation,
        "out_of_fold": {name: curves[name] for name in ("row_f1", "threshold", "pool_sizes")} | calibrated,
        "decision": asdict(decision)
        | {"holdout_threshold": decision.threshold_for(evaluation["holdout"]["pool_size"])},
        "stages": stages,
        "total": {
            "seconds": round(sum(stage["seconds"] for stage in stages.values()), 3),
            "peak_memory_mb": max(stage["peak_memory_mb"] for stage in stages.values()),
        },
    }


def write_metrics(run: Run) -> dict[str, Any]:
    """Write `metrics.json` into a run, and return what it holds."""
    metrics = metrics_of(run)
    write_json(run.folder / "metrics.json", metrics)
    return metrics


def evaluate_all(run: Run, settings: Settings) -> None:
    """Every step of a run."""
    match_all(run, settings)
    evaluate_stage(run, settings)


def main() -> int:
    """The command `python -m ensemble.evaluate`."""

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        run.force = ("ensemble/evaluation",) if arguments.force else ()
        evaluate_all(run, settings)
        run.say("\n" + summary(run, write_metrics(run)))

    about = "Measure a run on its holdout; does the steps before it if needed."
    return command(body, about, ["ensemble", "tune", "compute"], usage="python -m ensemble.evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
