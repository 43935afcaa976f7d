"""What a run without labels says of itself: counts, the answers that it used, and no quality that nobody measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ensemble.result_stages import MATCHES
from ensemble.training_stages import load_decision
from ensemble.unlabeled_stages import LEARNED
from shared.artifacts import write_json
from shared.pipeline.run import RunFolder
from shared.pipeline.stage import Graph

NOT_KNOWN = "not known"


def unlabeled_metrics(run: RunFolder, graph: Graph) -> dict[str, Any]:
    """Return the decision of a run without labels, counts of its matches, and the cost of each stage.

        unlabeled_metrics(run, graph)["quality"]

    Args:
        run: A finished run.
        graph: Its stages; what earlier data or settings left in the folder is no part of it.

    Raises:
        ArtifactError: The run is not finished.
    """
    manifests = {name: run.manifest(name) for name in graph}
    stages = {
        name: {key: manifest[key] for key in ("seconds", "peak_memory_mb")}
        for name, manifest in manifests.items()
        if manifest is not None
    }
    return {
        "labels": False,
        "quality": NOT_KNOWN,
        "decision": asdict(load_decision(run.open(LEARNED))),
        "matches": (manifests[MATCHES] or {"metrics": {}})["metrics"],
        "stages": stages,
        "total": {
            "seconds": round(sum(stage["seconds"] for stage in stages.values()), 3),
            "peak_memory_mb": max(stage["peak_memory_mb"] for stage in stages.values()),
        },
    }


def write_unlabeled_metrics(run: RunFolder, graph: Graph) -> dict[str, Any]:
    """Write `metrics.json` into a run without labels and return its content."""
    metrics = unlabeled_metrics(run, graph)
    write_json(run.folder / "metrics.json", metrics)
    return metrics


def unlabeled_summary(run: RunFolder, metrics: Mapping[str, Any]) -> str:
    """Return the summary of a run without labels: what was matched, how little is known of it, and what to do next.

        print(unlabeled_summary(run, write_unlabeled_metrics(run, graph)))

    Args:
        run: The run.
        metrics: Content of its `metrics.json`.
    """
    counts = metrics["matches"]
    lines = [
        f"Matched {counts['listings']:,} listings: {counts['groups_of_two_or_more']:,} groups, "
        f"{counts['listings_without_a_match']:,} listings without a match.",
        f"  {run.folder}/matches/    matches.parquet, groups.parquet, pairs.parquet (all scores), submission.csv",
        "",
        "Nobody has labeled these listings, so the quality of the matches is not known.",
        "warning: the matches are careful ones: pairs that look alike were left apart where nothing tells how sure "
        "they are",
        "",
        "Yes and no answers to some pairs improve the matches and say how good they are:",
        f"  python -m ensemble.review --run {run.folder}",
    ]
    return "\n".join(lines)
