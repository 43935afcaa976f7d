"""An index from Python: frames go in and out, other processes change its folder, and its matches are written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble.index.index import Index
from ensemble.index.state import State
from ensemble.matcher import Matcher
from shared.errors import ArtifactError, MatcherError
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


def ids(index: Index) -> list[str]:
    return list(index.state.catalog.ids)


@pytest.fixture
def few(data: Path) -> Callable[..., pd.DataFrame]:
    """Makes a frame of a few listings with the given ids."""
    titles = pd.read_csv(data / "train.csv", dtype=str).title

    def make(*posting_ids: object) -> pd.DataFrame:
        return pd.DataFrame({"posting_id": posting_ids, "title": titles[: len(posting_ids)]})

    return make


@pytest.mark.fault(36)
def test_index_whose_folder_was_removed_is_empty(
    titles_alone: Matcher, few: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(few("old1", "old2"))
    shutil.rmtree(tmp_path / "I")
    with pytest.raises(MatcherError, match="there is no index"):
        index.query(few("any"))
    assert len(index) == 0
    index.add(few("new1"))
    assert ids(index) == ids(Index.open(tmp_path / "I", titles_alone)) == ["new1"]
    shutil.rmtree(tmp_path / "I")
    index.add(few("new2"))
    assert ids(index) == ["new2"]


@pytest.mark.fault(36)
def test_index_made_anew_by_another_process_is_read(
    titles_alone: Matcher, few: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(few("old1", "old2"))
    shutil.rmtree(tmp_path / "I")
    Index.open(tmp_path / "I", titles_alone).add(few("new1"))
    assert {hit.posting_id for hit in index.query(few("any"), most=50)[0]} <= {"new1"}
    assert ids(index) == ["new1"]
    shutil.rmtree(tmp_path / "I")
    Index.open(tmp_path / "I", titles_alone).add(few("new2"))
    index.add(few("new3"))
    assert ids(index) == ids(Index.open(tmp_path / "I", titles_alone)) == ["new2", "new3"]


def test_reader_that_writers_overtake_reads_the_newest(
    titles_alone: Matcher, few: Callable[..., pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, load = Index.open(tmp_path / "I", titles_alone), State.load
    writer.add(few("a"))

    def slow(folder: Path) -> State:
        monkeypatch.setattr(State, "load", load)
        for posting_id in ("b", "c"):
            writer.add(few(posting_id))
        return load(folder)

    monkeypatch.setattr(State, "load", slow)
    assert ids(Index.open(tmp_path / "I", titles_alone)) == ["a", "b", "c"]


@pytest.mark.fault(20)
def test_snapshot_that_cannot_be_read_is_told_as_damaged(
    titles_alone: Matcher, few: Callable[..., pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.open(tmp_path / "I", titles_alone).add(few("a"))

    def refuse(folder: Path) -> State:
        raise ArtifactError(f"{folder} is damaged")

    monkeypatch.setattr(State, "load", refuse)
    with pytest.raises(ArtifactError, match="is damaged"):
        Index.open(tmp_path / "I", titles_alone)


def test_one_id_is_removed_as_one(titles_alone: Matcher, few: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(few("1", "2", "12", "3"))
    assert index.remove("12")["removed"] == 1
    assert ids(index) == ["1", "2", "3"]
    with pytest.raises(MatcherError, match="'23' is not in the index"):
        index.remove("23")


@pytest.mark.fault(1)
def test_ids_have_the_text_that_they_were_added_with(
    titles_alone: Matcher, few: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    index, frame = Index.open(tmp_path / "I", titles_alone), few(*range(1, 9), 2**60 + 1)
    index.add(frame)
    assert set(ids(index)) == {str(number) for number in (*range(1, 9), 2**60 + 1)}
    for removed in (1, [2], frame.posting_id[2:3], frame.posting_id[3:4].to_numpy(), {5}, [6.0, "6"], [2**60 + 1]):
        assert index.remove(removed)["removed"] == 1, removed
    assert ids(index) == ["7", "8"]
    for missing in (None, [pd.NA], [float("nan")], [[7]], b"7 ", "07", 0.7):
        with pytest.raises(MatcherError, match=r"is not in the index|holds \[7\], which is no text"):
            index.remove(missing)
    assert index.remove([])["unchanged"] == 2


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
