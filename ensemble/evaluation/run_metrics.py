"""The metrics of a finished run, as `metrics.json` holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ensemble.result_stages import EVALUATION, MATCHES
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
    thresholds = _take_threshold(evaluation["holdout"])
    for of_source in by_source.values():
        of_source |= _take_threshold(of_source["holdout"])
    targets = [EVALUATION, *([MATCHES] if _is_of_decision(run, MATCHES) else [])]
    stages = {
        name: {key: manifest[key] for key in ("seconds", "peak_memory_mb")}
        for name in stages_behind(run, targets)
        if (manifest := run.manifest(name)) is not None
    }
    return {
        **evaluation,
        "out_of_fold": {name: curves[name] for name in ("row_f1", "threshold", "pool_sizes", "siblings")} | calibrated,
        "decision": asdict(decision) | ({} if by_source else thresholds),
        "stages": stages,
        "total": {
            "seconds": round(sum(stage["seconds"] for stage in stages.values()), 3),
            "peak_memory_mb": max(stage["peak_memory_mb"] for stage in stages.values()),
        },
    }


def _take_threshold(holdout: dict[str, Any]) -> dict[str, Any]:
    """Take from the metrics of a holdout the threshold that was used there, and whether the guard raised it."""
    return {f"holdout_{name}": holdout.pop(name, None) for name in ("threshold", "threshold_raised")}


def ancestors(run: RunFolder, stage: str) -> set[str]:
    """Return the names of all stages that a finished stage was made from; none that lies in the folder unused.

    Examples:
        >>> from pathlib import Path
        >>> ancestors(RunFolder(Path("no/such/run")), "matches")
        set()
    """
    names, queue = set[str](), [stage]
    while queue:
        inputs = set((run.manifest(queue.pop()) or {"key": {"inputs": {}}})["key"]["inputs"]) - names
        names |= inputs
        queue += inputs
    return names


def stages_behind(run: RunFolder, targets: Sequence[str]) -> list[str]:
    """Return the names of some finished stages and of all that they were made from, in the order of the run.

    What earlier settings left in the folder is not among them.

    Examples:
        >>> from pathlib import Path
        >>> stages_behind(RunFolder(Path("no/such/run")), ["matches"])
        []
    """
    names = {name for target in targets for name in (target, *ancestors(run, target))}
    return [manifest["stage"] for manifest in run.manifests() if manifest["stage"] in names]


def _is_of_decision(run: RunFolder, stage: str) -> bool:
    """Return whether a stage was made from the decision that the run has now."""
    manifest = run.manifest(stage)
    return manifest is not None and manifest["key"]["inputs"].get(DECISION) == run.digest_of(DECISION)


def write_metrics(run: RunFolder) -> dict[str, Any]:
    """Write `metrics.json` into a run and return its content."""
    metrics = metrics_of(run)
    write_json(run.folder / "metrics.json", metrics)
    return metrics
