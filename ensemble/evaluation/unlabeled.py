"""What a run without labels says of itself: counts, the answers that it used, and what these say of its matches.

Without answers that were drawn at random, the quality of the matches is not known, and no number stands for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from branches import registry
from ensemble.answers.answers import Answers, PoolAnswers
from ensemble.answers.file import read_answers
from ensemble.config import EnsembleConfig
from ensemble.result_stages import MATCHES, load_scores
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.quality import CONFIDENCE, FEW, estimate, is_matched
from ensemble.review.questions import FIRST
from ensemble.training_stages import DECISION, load_decision
from ensemble.unlabeled_stages import LEARNED
from ensemble.written_matches import load_match_rows
from shared.artifacts import write_json
from shared.catalog.copies import copy_of
from shared.catalog.extra_data import extras_of
from shared.pipeline.catalog_stages import load_original
from shared.pipeline.pools import CATALOG_POOL, load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph

NOT_KNOWN = "not known"
LISTINGS_PER_YES = 4  # at most, for training on the groups of the answers: then these hold about half of the listings
_MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}


def unlabeled_metrics(run: RunFolder, graph: Graph) -> dict[str, Any]:
    """Return decision, answers, estimated quality and cost of a run without labels.

        unlabeled_metrics(run, graph)["quality"]

    Args:
        run: A finished run.
        graph: Its stages; what earlier data or settings left in the folder is no part of it.

    Raises:
        ArtifactError: The run is not finished, or its file of answers is damaged.
    """
    manifests = {name: manifest for name in graph if (manifest := run.manifest(name)) is not None}
    stages = {name: {key: of[key] for key in ("seconds", "peak_memory_mb")} for name, of in manifests.items()}
    catalog, scores = load_catalog(run.open(CATALOG_POOL.stage)), load_scores(run.open(LEARNED))
    path = graph[LEARNED].parameters["answers"]
    given = Answers() if path is None else read_answers(Path(path))
    answers = given.on(catalog, load_original(run, CATALOG_POOL.source))
    usable = PairAnswers.of(answers, scores)
    decision = load_decision(run.open(LEARNED))
    scores = scores.with_copies(copy_of(catalog))
    matched = is_matched(scores, load_match_rows(run.open(MATCHES), catalog.ids))
    learned_from = manifests[LEARNED]["metrics"]["answers_learned_from"]
    quality = estimate(scores, matched, usable, decision=decision) if learned_from else None
    return {
        "labels": False,
        "bundle": DECISION in graph,
        "quality": NOT_KNOWN if quality is None else asdict(quality) | {"confidence": CONFIDENCE},
        "answers": _counts(answers) | {"about_candidates": len(usable), "learned_from": learned_from},
        "decision": asdict(decision),
        "matches": manifests[MATCHES]["metrics"],
        "stages": stages,
        "total": {
            "seconds": round(sum(stage["seconds"] for stage in stages.values()), 3),
            "peak_memory_mb": max(stage["peak_memory_mb"] for stage in stages.values()),
        },
    }


def _counts(answers: PoolAnswers) -> dict[str, int]:
    verdicts = Counter(answers.verdict.tolist())
    left_out = sum(map(len, answers.left_out.values()))
    return {verdict: verdicts[verdict] for verdict in ("yes", "no", "unsure")} | {
        "left_out": left_out,
        "contradictions": len(answers.contradictions()),
    }


def write_unlabeled_metrics(run: RunFolder, graph: Graph) -> dict[str, Any]:
    """Write `metrics.json` into a run without labels and return its content."""
    metrics = unlabeled_metrics(run, graph)
    write_json(run.folder / "metrics.json", metrics)
    return metrics


def unused_extras(settings: Settings) -> str:
    """Return a line about data to learn from that a run without labels does not use; "" where none is named.

    Args:
        settings: Of the run.

    Examples:
        >>> from ensemble.sections import sections
        >>> unused_extras(Settings({}, sections()))
        ''
    """
    names = [name for name in settings[EnsembleConfig].branches if extras_of(settings[registry.get(name).Config])]
    if not names:
        return ""
    said = ", ".join(f"{name}.extra" for name in names)
    return f"warning: {said} not used: a run without labels trains no encoder"


# --- in words --------------------------------------------------------------------------------------------------------


def unlabeled_summary(run: RunFolder, metrics: Mapping[str, Any]) -> str:
    """Return the summary of a run without labels: what was matched, how good that is, and what to do next.

        print(unlabeled_summary(run, write_unlabeled_metrics(run, graph)))

    Args:
        run: The run.
        metrics: Content of its `metrics.json`.
    """
    counts, answers = metrics["matches"], metrics["answers"]
    lines = [
        f"Matched {counts['listings']:,} listings: {counts['groups_of_two_or_more']:,} groups, "
        f"{counts['listings_without_a_match']:,} listings without a match.",
        f"  {run.folder}/matches/    matches.parquet, groups.parquet, pairs.parquet (all scores), submission.csv",
        f"  {run.folder}/metrics.json",
        "",
        "Nobody has labeled these listings.",
        *_of_answers(answers),
        _quality(metrics["quality"]),
        *([] if answers["learned_from"] else [_of_start(metrics["bundle"])]),
        "",
        "Answers to the pairs that teach most improve the matches and say how good they are:",
        f"  python -m ensemble.review --run {run.folder}",
    ]
    if answers["yes"] * LISTINGS_PER_YES >= counts["listings"]:
        lines += [
            "With so many yes answers, encoders and scorer can be trained on the groups that these make:",
            f"  python -m ensemble.answers labels --run {run.folder} --out table.csv",
        ]
    return "\n".join(lines)


def _of_answers(answers: Mapping[str, int]) -> list[str]:
    """Return what became of the answers."""
    sure = answers["yes"] + answers["no"]
    if not sure + answers["unsure"] + answers["left_out"]:
        return []
    parts = [f"{answers['yes']:,} yes", f"{answers['no']:,} no", f"{answers['unsure']:,} unsure"]
    parts += [f"{answers['left_out']:,} left out"] if answers["left_out"] else []
    lines = [f"Answers: {', '.join(parts)}; what is yes matches, and what is no does not."]
    if answers["learned_from"]:
        lines.append(f"Scores and threshold are learned from {answers['learned_from']:,} of them.")
    else:
        given = f"these are {answers['about_candidates']:,}"
        lines.append(f"Scores and threshold are learned from {FIRST} answers about candidate pairs on; {given}.")
    if answers["contradictions"]:
        lines.append(f"warning: {answers['contradictions']:,} answers contradict others; the review shows them")
    return lines


def _of_start(bundle: bool) -> str:
    """Return how much the matches without enough answers may be trusted."""
    if bundle:
        return "The bundle was trained on other listings, and its scores may be off on these."
    return (
        "warning: these are first matches by titles and images alone, with encoders that have seen no label; true ones "
        "may be missing, and where the catalog is small or few products have two listings, many may be wrong"
    )


def _quality(quality: Mapping[str, Any] | str) -> str:
    if isinstance(quality, str):
        return f"How good the matches are is {quality}."
    few = " With so few, the intervals hold less often than that." if quality["answers"] < FEW else ""
    values = [f"{words} {_interval(quality[name])}" for name, words in _MEASURES.items()]
    return (
        f"Matched pairs, as estimated from the {quality['answers']:,} answers that were drawn at random, with "
        f"{quality['confidence']:.0%} intervals: {', '.join(values)}.{few}"
    )


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.2f} ({interval['low']:.2f}–{interval['high']:.2f})"
