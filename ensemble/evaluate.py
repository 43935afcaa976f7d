"""Measures a run on its holdout, which no encoder, scorer or threshold has seen: the ensemble and each branch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.candidates import recall
from ensemble.config import EnsembleConfig, TuneConfig
from ensemble.decide import groups_of
from ensemble.match import decide, load_scores, match_all
from ensemble.report import summary
from ensemble.tune import fold_codes, load_decision, tune
from shared import branch
from shared.command import command
from shared.metrics import label_codes, measure
from shared.pools import HOLDOUT_POOL, Pool, fold_pools, pool_catalog
from shared.run import Run, write_json
from shared.schema import Catalog, Pairs
from shared.settings import Settings


def evaluate_stage(run: Run, settings: Settings) -> None:
    """Measure the ensemble and every branch alone on the holdout."""
    names, tuning = settings[EnsembleConfig].branches, settings[TuneConfig]

    def work(out: Path) -> Mapping[str, Any]:
        catalog = pool_catalog(run, settings, HOLDOUT_POOL)
        holdout = evaluate_ensemble(run, catalog)
        alone = {name: evaluate_branch(run, settings, name, catalog) for name in names}
        write_json(out / "evaluation.json", {"holdout": holdout, "branches": alone})
        return {"row F1 on the holdout": holdout["row_f1"], "in a pool of": holdout["pool_size"]}

    inputs = {"decision": run.digest_of("ensemble/decision"), "scores": run.digest_of("ensemble/scores/holdout")}
    for pool in [*fold_pools(settings), HOLDOUT_POOL]:
        inputs |= {f"{name}/{pool.name}": run.digest_of(f"{name}/candidates/{pool.name}") for name in names}
    inputs |= {"split": run.digest_of("split"), "catalogue": run.digest_of("catalogue/train")}
    run.stage("ensemble/evaluation", "ensemble.evaluate", inputs, {"tune": tuning.model_dump(mode="json")}, work)


def evaluate_ensemble(run: Run, catalog: Catalog) -> dict[str, Any]:
    """Figures of the ensemble on the holdout; true pairs it missed, apart by whether they were ever proposed."""
    codes = label_codes(catalog.labels)
    scored = load_scores(run, HOLDOUT_POOL)
    result = decide(run, catalog, scored)
    figures = measure(result.matches, result.groups, codes).to_json()
    proposed = recall(scored.left, scored.right, codes)
    missed = 1 - figures["pair_recall"]
    return figures | {
        "recall_of_candidates": proposed,
        "missed_never_proposed": min(1 - proposed, missed),
        "missed_scored_wrong": max(missed - (1 - proposed), 0.0),
    }


def evaluate_branch(run: Run, settings: Settings, name: str, catalog: Catalog) -> dict[str, Any]:
    """Figures of one branch alone on the holdout, at the threshold of its similarity that was best out of fold."""
    alone = {"rules": ["threshold"], "objective": "row_f1", "veto": False, "pool_size": None, "resamples": 2}
    rule = settings[TuneConfig].model_copy(update=alone)
    folds = [similarity_as_score(run, name, pool) for pool in fold_pools(settings)]
    tuned = tune(list(zip(folds, fold_codes(run, settings), strict=True)), rule)
    pairs = similarity_as_score(run, name, HOLDOUT_POOL)
    matches = tuned.decision.apply(pairs)
    codes = label_codes(catalog.labels)
    figures = measure(matches, groups_of(matches), codes).to_json()
    proposed = recall(pairs.left, pairs.right, codes)
    return figures | {"threshold": tuned.decision.threshold, "recall_of_candidates": proposed}


def similarity_as_score(run: Run, name: str, pool: Pool) -> Pairs:
    """A branch's candidates, scored by nothing but their similarity."""
    found = branch.load_candidates(run, name, pool)
    return Pairs(found.n, found.left, found.right, score=np.clip(found.similarity, 0, 1))


def write_metrics(run: Run, settings: Settings) -> dict[str, Any]:
    """Write and return `metrics.json`: figures of holdout and branches, the decision, the cost of each stage."""
    evaluation = json.loads((run.open("ensemble/evaluation") / "evaluation.json").read_text(encoding="utf-8"))
    curves = json.loads((run.open("ensemble/decision") / "curves.json").read_text(encoding="utf-8"))
    decision = load_decision(run)
    stages = {m["stage"]: {key: m[key] for key in ("seconds", "peak_memory_mb")} for m in run.stages()}
    metrics = {
        **evaluation,
        "out_of_fold": {name: curves[name] for name in ("row_f1", "threshold", "pool_sizes")},
        "decision": {"rule": decision.rule, "threshold": decision.threshold, "pool_size": decision.pool_size},
        "stages": stages,
        "total": {
            "seconds": round(sum(stage["seconds"] for stage in stages.values()), 3),
            "peak_memory_mb": max(stage["peak_memory_mb"] for stage in stages.values()),
        },
    }
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
        run.say("\n" + summary(run, write_metrics(run, settings)))

    about = "Measure a run on its holdout; does the steps before it if needed."
    return command(body, about, ["ensemble", "tune", "compute"], usage="python -m ensemble.evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
