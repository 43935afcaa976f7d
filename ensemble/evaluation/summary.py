"""What a run tells a stranger at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.pipeline.run import RunFolder

COLUMNS = ("row_f1", "row_precision", "row_recall", "pair_f1", "b3_f1")
HEADS = ("row F1", "precision", "recall", "pair F1", "B³ F1")
_HEAD = f"  {'':<22}" + "".join(f"{head:>11}" for head in HEADS)


def summary(run: RunFolder, metrics: Mapping[str, Any]) -> str:
    """The figures of a run and where its files are, as lines for a terminal.

    Args:
        run: The run.
        metrics: Content of its `metrics.json`.
    """
    holdout, total = metrics["holdout"], metrics["total"]
    lines = [
        f"Measured on {holdout['pool_size']:,} listings that took no part in training (their products neither):",
        "",
        _HEAD,
        *(_row(f"{name} alone", figures) for name, figures in metrics["branches"].items()),
        _row("ensemble", holdout),
        "",
        "  row F1: the mean over listings of F1 between found and true matches; it falls as the pool grows.",
        _missed(holdout),
        _decided(metrics["decision"], metrics["out_of_fold"]),
        *_calibration(metrics["out_of_fold"]),
        "",
        *_files(run),
        f"All stages together took {_duration(total['seconds'])} and at most {total['peak_memory_mb'] / 1024:.1f} GB.",
    ]
    return "\n".join(lines)


def judged(figures: Mapping[str, Any]) -> str:
    """How good the matches of a labeled catalog are, as lines for a terminal.

    Args:
        figures: As `figures_of` gives them, and how many listings are `labeled`.
    """
    whom = f"the labels of {figures['labeled']:,} listings, in a pool of {figures['pool_size']:,}"
    return "\n".join([f"Judged by {whom}:", "", _HEAD, _row("ensemble", figures), "", _missed(figures)])


def _missed(figures: Mapping[str, Any]) -> str:
    return (
        f"  Of the true pairs, {figures['pair_recall']:.1%} were found, {figures['missed_scored_wrong']:.1%} were "
        f"proposed but decided wrong, {figures['missed_never_proposed']:.1%} were proposed by no branch."
    )


def _decided(decision: Mapping[str, Any], out_of_fold: Mapping[str, Any]) -> str:
    rule, size = decision["rule"], f"a pool of {decision['pool_size']:,} listings"
    best = f"{out_of_fold['threshold']:.3f}, row F1 {out_of_fold['row_f1']:.3f} out of fold"
    if decision["threshold"] != out_of_fold["threshold"]:
        return f"  Decision: {rule} at {decision['threshold']:.3f} for {size}; as tuned at {best}."
    if not decision["drift"]:
        return f"  Decision: {rule} at {best}."
    here = f"{decision['holdout_threshold']:.3f} in the holdout"
    return f"  Decision: {rule} at {best} in {size}; it moves with the pool's size, to {here}."


def _row(name: str, figures: Mapping[str, Any]) -> str:
    return f"  {name:<22}" + "".join(f"{figures[column]:>11.3f}" for column in COLUMNS)


def _calibration(out_of_fold: Mapping[str, Any]) -> list[str]:
    if out_of_fold["open_ece"] is None:
        return []
    return [
        f"  As a probability a score is off by {out_of_fold['ece']:.3f} over all {out_of_fold['pairs']:,} candidate "
        f"pairs out of fold, by {out_of_fold['open_ece']:.3f} over the {out_of_fold['open_pairs']:,} that score "
        ".05–.95 (ECE)."
    ]


def _files(run: RunFolder) -> list[str]:
    manifest = run.manifest("matches") or {"metrics": {}}
    metrics = manifest["metrics"]
    return [
        f"Matched {metrics.get('listings', 0):,} listings: {metrics.get('groups_of_two_or_more', 0):,} groups, "
        f"{metrics.get('listings_without_a_match', 0):,} listings without a match.",
        f"  {run.folder}/matches/    matches.parquet, groups.parquet, pairs.parquet (all scores), submission.csv",
        f"  {run.folder}/metrics.json",
        "",
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} minutes"
