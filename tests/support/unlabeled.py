"""Runs on a catalog without labels."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from ensemble.result_stages import load_scores
from ensemble.review.questions import next_questions
from ensemble.sections import sections
from ensemble.unlabeled_stages import START
from shared.catalog.copies import content_digests
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings

Call = Callable[..., tuple[int, str]]
Command = Callable[..., tuple[int, str, str]]
StageLines = Callable[[str], dict[str, str]]
LISTINGS = 80
ONE_CORE = ["--compute.threads=1", "--compute.device=cpu"]
QUICK = ["--ensemble.branches=tfidf,phash", *ONE_CORE]
SMALL = ["--image.size=64", "--image.embed_size=64", *ONE_CORE]
STAGES = {
    "catalog/train",
    "pools/catalog",
    *(f"{branch}/{part}/catalog" for branch in ("tfidf", "phash") for part in ("embeddings", "candidates")),
    "ensemble/candidates/catalog",
    "ensemble/features/catalog",
    "ensemble/start",
    "ensemble/scores/catalog",
    "matches",
}


def settings_of(run: Path) -> Settings:
    return Settings(remembered(run), sections())


def metrics_of(run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def ask(run: Path, labels: dict[str, str], count: int) -> None:
    """Answer the first questions of a review by the labels."""
    folder = RunFolder(run)
    catalog, scores = load_catalog(folder.open("pools/catalog")), load_scores(folder.open(START))
    contents, ids, nothing = content_digests(catalog), catalog.ids, pd.Series([], dtype="int64").to_numpy()
    for question in next_questions(scores, nothing, nothing > 0, count, seed=0):
        left, right = scores.left[question.position], scores.right[question.position]
        verdict = "yes" if labels[ids[left]] == labels[ids[right]] else "no"
        ends = ids[left], ids[right], contents[left], contents[right]
        AnswerFile(run / FILE).append(Answer(*ends, verdict, "Ann", now(), question.asked, question.stratum))
