"""An index from Python: frames go in and out, other processes change its folder, and its matches are written."""

from pathlib import Path

import pandas as pd
import pytest

from ensemble.index.index import Index
from ensemble.matcher import Matcher
from shared.errors import MatcherError
from tests.support.indexes import assert_same


def test_frames_are_added_removed_and_asked_about(titles_alone: Matcher, data: Path, tmp_path: Path) -> None:
    listings = pd.read_csv(data / "train.csv", dtype=str)[["posting_id", "title"]]
    index = Index.open(tmp_path / "I", titles_alone)
    assert not (tmp_path / "I").exists()
    with pytest.raises(MatcherError, match="there is no index"):
        index.query(listings)
    assert index.add(listings[:100])["added"] == 100
    assert index.add(listings[90:])["added"] == 20
    assert index.remove([listings.posting_id[0]])["removed"] == 1
    other = Index.open(tmp_path / "I", titles_alone)
    assert_same(other.state, index.state)
    assert len(other.query(listings[5:8])) == 3
    index.remove([listings.posting_id[110]])
    assert listings.posting_id[110] not in {hit.posting_id for hit in other.query(listings[110:111], most=50)[0]}
    other.add(listings[110:111])
    assert listings.posting_id[110] in {hit.posting_id for hit in index.query(listings[110:111], most=50)[0]}
    other.rebuild()
    assert index.remove([listings.posting_id[1]])["unchanged"] == 118
    assert index.state.changed == 1  # what another process wrote was read


def test_matches_of_an_index_tell_the_threshold_that_they_were_decided_at(
    titles_alone: Matcher, data: Path, tmp_path: Path
) -> None:
    listings = pd.read_csv(data / "train.csv", dtype=str)[["posting_id", "title"]]
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(listings[:30])
    index.add(listings[30:])
    used = index.state.result().threshold
    assert used is not None
    assert used == index.state.used != index.state.threshold
    assert Index.open(tmp_path / "I", titles_alone).state.result().threshold == used
    index.rebuild()
    assert index.state.result().threshold == index.state.threshold


def test_matches_of_an_index_replace_those_of_another_catalog_with_their_report(
    titles_alone: Matcher, data: Path, tmp_path: Path
) -> None:
    for name in ("matches.parquet", "metrics.json", "report.html", "mine.txt"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("of another catalog")
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(pd.read_csv(data / "train.csv", dtype=str)[["posting_id", "title"]][:30])
    index.save(tmp_path / "out")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert ("metrics.json" in left, "report.html" in left, "mine.txt" in left) == (False, False, True)
