"""A pool read from its files is the pool that was matched, and files that say something else are one error."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.answers.answers import Answers
from ensemble.decision.decision import Decision
from ensemble.match_result import FACTS, MatchResult
from ensemble.report.pool import load_matches
from shared.errors import ArtifactError
from shared.schema import ScoredPairs
from tests.support.answers import answer
from tests.support.catalogs import titled


@pytest.fixture
def matches(tmp_path: Path) -> Path:
    """A folder with the matches of four listings, of which people decided two pairs."""
    catalog = titled(["mug", "cup", "lamp", "chair"])
    a, b, c, d = catalog.ids
    answers = Answers((answer(a, b, "yes", catalog=catalog), answer(c, d, "no", catalog=catalog))).on(catalog)
    left, right = np.array([[0, 1], [1, 2]], np.int32)
    pairs = ScoredPairs(4, left, right, np.array([0.9, 0.8], np.float32))
    result = MatchResult.from_scores(Decision("threshold", 0.5), catalog, pairs, pins=answers.pins)
    replace(result, answers=answers).save(tmp_path)
    return tmp_path


@pytest.mark.fault(37)
def test_answers_are_read_from_the_files(matches: Path) -> None:
    pins = load_matches(matches).pins
    assert (pins.must.tolist(), pins.never.tolist()) == ([[0, 1]], [[2, 3]])


@pytest.mark.fault(20)
@pytest.mark.parametrize("answers", [[["nobody", "nothing", "yes"]], [["0", "1", "maybe"]], [["0", "1"]], "yes"])
def test_answers_about_other_listings_are_refused(matches: Path, answers: Any) -> None:
    facts = json.loads((matches / FACTS).read_text()) | {"answers": answers}
    (matches / FACTS).write_text(json.dumps(facts))
    with pytest.raises(ArtifactError, match="match the catalog again"):
        load_matches(matches)


@pytest.mark.fault(20)
@pytest.mark.parametrize("name", ["matches.parquet", "pairs.parquet"])
def test_tables_with_other_columns_are_refused(matches: Path, name: str) -> None:
    pq.write_table(pa.table({"left": ["0"]}), matches / name)
    with pytest.raises(ArtifactError, match="match the catalog again"):
        load_matches(matches)
