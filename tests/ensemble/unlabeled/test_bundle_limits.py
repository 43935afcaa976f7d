"""What forbids matches and how many there may be, in a run that starts from a bundle."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from ensemble.config import TuneConfig
from ensemble.decision.decision import Decision
from ensemble.review.questions import FIRST
from ensemble.training_stages import DECISION
from ensemble.unlabeled_stages import START, learn_scores
from shared.catalog.copies import content_digests
from shared.pipeline.pools import save_catalog
from shared.schema import PairFeatures, ScoredPairs
from tests.support.catalogs import titled


@pytest.mark.parametrize("count", [0, FIRST])
def test_answers_leave_the_limits_of_a_bundle(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, rows = titled([f"mug {number}" for number in range(60)]), np.arange(0, 60, 2, dtype=np.int32)
    score = np.linspace(0.1, 0.9, len(rows), dtype=np.float32)
    pairs = ScoredPairs(60, rows, rows + 1, score, np.zeros(len(rows), dtype=np.uint8))
    bundled, contents = Decision("threshold", 0.5, 7, ("size",), max_group=30), content_digests(catalog)
    folders = {name: tmp_path / name for name in ("pools/catalog", START, DECISION, "features")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    save_catalog(catalog, folders["pools/catalog"])
    pairs.save(folders[START] / "pairs.parquet")
    bundled.save(folders[DECISION] / "decision.json")
    AnswerFile(tmp_path / FILE).append(
        *(
            Answer(catalog.ids[k], catalog.ids[k + 1], contents[k], contents[k + 1], "yes", "Ann", now(), "uncertain")
            for k in rows[:count]
        )
    )
    described = PairFeatures(60, rows, rows + 1, pd.DataFrame({"tfidf_cosine": score, "all_cosine": score}))
    monkeypatch.setattr("ensemble.unlabeled_stages.load_features", lambda folder: described)
    answers = str(tmp_path / FILE)
    metrics = learn_scores(folders, {TuneConfig: TuneConfig()}, tmp_path, "features", answers, DECISION, FIRST)
    decision = Decision.load(tmp_path / "decision.json")
    assert metrics["answers_learned_from"] == count
    assert (decision == bundled) == (count == 0)
    assert (decision.max_matches, decision.forbid, decision.max_group) == (7, ("size",), 30)
