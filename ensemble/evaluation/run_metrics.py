"""The metrics of a finished run, as `metrics.json` holds them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ensemble.result_stages import EVALUATION
from ensemble.training_stages import DECISION, load_decision
from shared.artifacts import read_json, write_json
from shared.pipeline.run import RunFolder


def metrics_of(run: RunFolder) -> dict[str, Any]:
    """Return the metrics of a run's holdout and branches, its decision, and the cost of each stage.

        metrics_of(RunFolder(Path("runs/default")))["holdout"]["row_f1"]

    In a run of several catalogs, `holdout` and `branches` are means over the catalogs, whose own metrics are in
    `by_source`.

    Raises:
        ArtifactError: The run has not been measured.
    """
    evaluation = read_json(run.open(EVALUATION) / "evaluation.json")
    curves = read_json(run.open(DECISION) / "curves.json")
    calibrated = evaluation.pop("calibration")
    decision = load_decision(run.open(DECISION))
    by_source = evaluation.get("by_source", {})
    thresholds = {} if by_source else {"holdout_threshold": evaluation["holdout"].pop("threshold")}
    for of_source in by_source.values():
        of_source["holdout_threshold"] = of_source["holdout"].pop("threshold")
    stages = {m["stage"]: {key: m[key] for key in ("seconds", "peak_memory_mb")} for m in run.manifests()}
    return {
        **evaluation,
        "out_of_fold": {name: curves[name] for name in ("row_f1", "threshold", "pool_sizes", "siblings")} | calibrated,
        "decision": asdict(decision) | thresholds,
        "stages": stages,
        "total": {
            "seconds": round(sum(stage["seconds"] for stage in stages.values()), 3),
            "peak_memory_mb": max(stage["peak_memory_mb"] for stage in stages.values()),
        },
    }


def write_metrics(run: RunFolder) -> dict[str, Any]:
    """Write `metrics.json` into a run and return its content."""
    metrics = metrics_of(run)
    write_json(run.folder / "metrics.json", metrics)
    return metrics
