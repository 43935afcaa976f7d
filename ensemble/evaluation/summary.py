"""The summary of a run, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ensemble.config import Kind
from ensemble.decision.siblings import describe_forbidden, describe_siblings
from shared.pipeline.run import RunFolder

COLUMNS = ("row_f1", "row_precision", "row_recall", "pair_f1", "b3_f1")
FEW_HELD_OUT = 100  # listings; of fewer the metrics say little
HEADS = ("row F1", "precision", "recall", "pair F1", "B³ F1")
_HEAD = f"  {'':<22}" + "".join(f"{head:>11}" for head in HEADS)


def summary(run: RunFolder, metrics: Mapping[str, Any]) -> str:
    """Return the summary of a run: its metrics and the places of its files.

        print(summary(run, write_metrics(run)))

    Args:
        run: The run.
        metrics: Content of its `metrics.json`.
    """
    holdout, total, by_source = metrics["holdout"], metrics["total"], metrics.get("by_source", {})
    lines = [
        _evaluated(holdout, by_source),
        "",
        _HEAD,
        *(_row(f"{name} alone", of_branch) for name, of_branch in metrics["branches"].items()),
        _row("ensemble", holdout),
        *(_row(f"… {source}", of["holdout"]) for source, of in by_source.items()),
        "",
        "  Row F1 is the mean F1 over listings between predicted and true matches; it falls as the pool grows.",
        _missed(holdout),
        _decision(metrics["decision"], metrics["out_of_fold"], by_source),
        *_siblings(metrics["out_of_fold"]["siblings"], metrics["decision"]["forbid"]),
        *_calibration(metrics["out_of_fold"]),
        "",
        *_files(run, by_source),
        f"All stages took {_duration(total['seconds'])} in total and at most {total['peak_memory_mb'] / 1024:.1f} GB.",
    ]
    return "\n".join(lines)


def summarize_labeled(metrics: Mapping[str, Any]) -> str:
    """Return the summary of the metrics of a labeled catalog that was matched.

    Args:
        metrics: As returned by `evaluate_matches`, and the number of listings that are `labeled`.
    """
    listings = f"{metrics['labeled']:,} labeled listings in a pool of {metrics['pool_size']:,}"
    return "\n".join([f"Evaluated on {listings}:", "", _HEAD, _row("ensemble", metrics), "", _missed(metrics)])


def _evaluated(holdout: Mapping[str, Any], by_source: Mapping[str, Any]) -> str:
    unseen = "no product among them was used for training."
    if not by_source:
        few = f" So few say little (fewer than {FEW_HELD_OUT})." if holdout["pool_size"] < FEW_HELD_OUT else ""
        return f"Evaluated on {holdout['pool_size']:,} held-out listings; {unseen}{few}"
    pools = ", ".join(f"{of['holdout']['pool_size']:,} of {source}" for source, of in by_source.items())
    return (
        f"Evaluated on the held-out listings of {len(by_source)} catalogs, each a pool of its own: {pools};\n"
        f"{unseen} The first rows are means over the catalogs, the last ones each catalog alone."
    )


def _missed(metrics: Mapping[str, Any]) -> str:
    return (
        f"  Of the true pairs, {metrics['pair_recall']:.1%} were matched, {metrics['missed_scored_wrong']:.1%} were "
        f"candidates but not matched, {metrics['missed_never_proposed']:.1%} were not among the candidates."
    )


def _decision(decision: Mapping[str, Any], out_of_fold: Mapping[str, Any], by_source: Mapping[str, Any]) -> str:
    tuned, size = f"{out_of_fold['threshold']:.3f}", decision["pool_size"]
    row_f1, holdout = f"row F1 {out_of_fold['row_f1']:.3f} out of fold", _of_holdout(decision, by_source)
    at = f"{tuned} for pools of {size:,} listings, corrected to {holdout}" if holdout else tuned
    if decision["threshold"] != out_of_fold["threshold"]:
        at = f"{decision['threshold']:.3f}, corrected from {tuned} for a pool of {size:,} listings"
        at += f", then to {holdout}" if holdout else ""
        row_f1 += " before the correction"
    return f"  Decision: {decision['rule']} at {at}; {row_f1}."


def _of_holdout(decision: Mapping[str, Any], by_source: Mapping[str, Any]) -> str:
    """Return the threshold of each holdout, and why it is another one than the tuned; "" if nothing changes it."""
    of_holdouts = {f" ({source})": of for source, of in by_source.items()} or {"": decision}
    causes = {"size": decision["prior_shift"], "share of listings with a match": decision["singles_shift"]}
    kinds = [cause for cause, strength in causes.items() if strength]
    reasons = [f"for the holdout's {' and '.join(kinds)}"] if kinds else []
    if unlike := [name for name, of in of_holdouts.items() if of["holdout_threshold_raised"]]:
        reasons.append(f"because the holdout{','.join(unlike)} is unlike the training (tune.guard)")
    thresholds = ", ".join(f"{of['holdout_threshold']:.3f}{name}" for name, of in of_holdouts.items())
    return f"{thresholds} {' and '.join(reasons)}" if reasons else ""


def _siblings(counts: Mapping[Kind, int] | None, forbid: Sequence[Kind]) -> list[str]:
    if counts is None:
        return []
    return [f"  Siblings: {describe_siblings(counts)}; {describe_forbidden(forbid)}."]


def _row(name: str, metrics: Mapping[str, Any]) -> str:
    return f"  {name:<22}" + "".join(f"{metrics[column]:>11.3f}" for column in COLUMNS)


def _calibration(out_of_fold: Mapping[str, Any]) -> list[str]:
    if out_of_fold["open_ece"] is None:
        return []
    return [
        f"  Expected calibration error of the scores out of fold: {out_of_fold['ece']:.3f} over all "
        f"{out_of_fold['pairs']:,} candidate pairs, {out_of_fold['open_ece']:.3f} over the "
        f"{out_of_fold['open_pairs']:,} that score .05–.95."
    ]


def _files(run: RunFolder, by_source: Mapping[str, Any]) -> list[str]:
    folder = f"{run.folder}/matches" + ("/<catalog>" if by_source else "")
    counts = (run.manifest("matches") or {"metrics": {}})["metrics"]
    return [
        f"Matched {counts.get('listings', 0):,} listings: {counts.get('groups_of_two_or_more', 0):,} groups, "
        f"{counts.get('listings_without_a_match', 0):,} listings without a match.",
        f"  {folder}/    matches.parquet, groups.parquet, pairs.parquet (all scores), submission.csv",
        f"  {run.folder}/metrics.json",
        "",
    ]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} minutes"
