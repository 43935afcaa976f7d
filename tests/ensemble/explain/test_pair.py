from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.answers.answer import Answer, Verdict, now
from ensemble.answers.answers import Answers
from ensemble.decision.decision import Decision
from ensemble.explain import explained_pool
from ensemble.explain.candidates import best_candidates
from ensemble.explain.explained_pool import ExplainedPool, pool_with, row_of
from ensemble.explain.pair import BranchSimilarity, explain_pair, is_match
from ensemble.explain.text import explanation_text
from ensemble.match_result import MatchResult
from shared.catalog.copies import content_digests
from shared.errors import MatcherError
from shared.pipeline.run import RunFolder
from shared.schema import Catalog

NEIGHBORS = 4  # of the pool
RowsWhere = Callable[..., tuple[int, int]]
Decided = Callable[[Decision], ExplainedPool]


def scores(pool: ExplainedPool) -> dict[tuple[int, int], float]:
    pairs = pool.result.scored_pairs
    return dict(zip(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True), pairs.score.tolist(), strict=True))


def test_pair_that_matches_by_its_own_score(matched: ExplainedPool, rows_where: RowsWhere) -> None:
    score = scores(matched)
    rows = rows_where(matched, lambda *pair: score.get(pair, 0) > 0.9 and is_match(matched, *pair))
    explained = explain_pair(matched, *rows)
    assert explained.matches
    assert explained.verdict == "They match: their own score is at or above the threshold 0.500."
    assert explained.score == score[rows]
    assert explained.contributions is not None
    assert explained.contributions.score[0] == pytest.approx(score[rows], abs=1e-7)


@pytest.mark.fault(14)
def test_pair_does_not_depend_on_the_order_of_its_listings(matched: ExplainedPool, rows_where: RowsWhere) -> None:
    one, other = rows_where(matched, lambda *pair: pair in scores(matched))
    there, back = explain_pair(matched, one, other), explain_pair(matched, other, one)
    assert (there.score, there.verdict) == (back.score, back.verdict)
    assert there.titles == back.titles[::-1]


def test_pair_that_matches_by_its_group(matched: ExplainedPool, rows_where: RowsWhere, decided: Decided) -> None:
    score, pool = scores(matched), decided(Decision("average_link", 0.35))
    rows = rows_where(pool, lambda *pair: score.get(pair, 0) < 0.35 and is_match(pool, *pair))
    assert "They match by their group of" in explain_pair(pool, *rows).verdict


def test_pair_below_the_threshold(matched: ExplainedPool, rows_where: RowsWhere) -> None:
    rows = rows_where(matched, lambda *pair: scores(matched).get(pair, 1) < 0.1 and not is_match(matched, *pair))
    assert explain_pair(matched, *rows).verdict.startswith("They do not match: their own score is below the threshold")


def test_pair_that_a_contradiction_forbids(matched: ExplainedPool, rows_where: RowsWhere, decided: Decided) -> None:
    pairs = matched.result.scored_pairs
    assert pairs.conflict is not None
    conflict = dict(zip(scores(matched), pairs.conflict.tolist(), strict=True))
    pool = decided(Decision("threshold", 0.0, forbid=("quantity",)))
    rows = rows_where(pool, lambda *pair: conflict.get(pair, 0) & 1 == 1)
    verdict = "They do not match: their titles contradict each other (quantity), which forbids it."
    assert explain_pair(pool, *rows).verdict == verdict


def test_pair_with_a_high_score_that_its_groups_keep_apart(
    matched: ExplainedPool, rows_where: RowsWhere, decided: Decided
) -> None:
    pool = decided(Decision("average_link", 0.5, max_group=2))
    rows = rows_where(pool, lambda *pair: scores(pool).get(pair, 0) > 0.5 and not is_match(pool, *pair))
    assert "although their own score is at or above 0.500" in explain_pair(pool, *rows).verdict


def test_pair_that_was_never_proposed(matched: ExplainedPool, rows_where: RowsWhere) -> None:
    rows = rows_where(matched, lambda *pair: pair not in scores(matched) and matched.views.titles[pair[1]] != "")
    explained = explain_pair(matched, *rows)
    assert explained.score is None
    assert explained.contributions is None
    assert not any(each.is_proposed for each in explained.similarities)
    text = explanation_text(explained, colors=False)
    assert "\nno branch proposed the pair:\n  words " in text
    assert "mute cannot compare them" in text


def test_branches_that_proposed_a_pair_rank_it_among_their_nearest(matched: ExplainedPool) -> None:
    for pair in scores(matched):
        similarities = explain_pair(matched, *pair).similarities
        assert all(min(each.ranks) <= NEIGHBORS for each in similarities if each.is_proposed)
        near = {each.branch for each in similarities if each.is_proposed}
        proposing = {
            name
            for name, view in matched.views.branches.items()
            if ((view.candidates.left == pair[0]) & (view.candidates.right == pair[1])).any()
        }
        assert near == proposing


def test_listings_of_equal_content(matched: ExplainedPool) -> None:
    copy = int(np.flatnonzero(matched.copies != np.arange(len(matched)))[0])
    explained = explain_pair(matched, copy, int(matched.copies[copy]))
    assert (explained.score, explained.matches) == (1.0, True)
    assert "count as one listing" in explained.verdict
    other = int(matched.result.scored_pairs.right[matched.result.scored_pairs.left == matched.copies[copy]][0])
    assert explain_pair(matched, copy, other).score == explain_pair(matched, int(matched.copies[copy]), other).score


@pytest.mark.parametrize("verdict", ["yes", "no"])
def test_pair_that_people_answered(matched: ExplainedPool, rows_where: RowsWhere, verdict: Verdict) -> None:
    would_match = verdict == "no"
    one, other = rows_where(matched, lambda *pair: pair in scores(matched) and is_match(matched, *pair) == would_match)
    pool = with_answer(matched, one, other, verdict)
    explained = explain_pair(pool, one, other)
    assert explained.matches == (verdict == "yes")
    said = {"yes": "They match: people answered", "no": "They do not match: people answered"}
    assert explained.verdict.startswith(said[verdict])


def test_listings_of_equal_content_that_people_told_apart(matched: ExplainedPool) -> None:
    copy = int(np.flatnonzero(matched.copies != np.arange(len(matched)))[0])
    first = int(matched.copies[copy])
    explained = explain_pair(with_answer(matched, first, copy, "no"), first, copy)
    assert (explained.matches, explained.verdict[:17]) == (False, "They do not match")


def with_answer(pool: ExplainedPool, one: int, other: int, verdict: Verdict) -> ExplainedPool:
    """Return a pool that was matched by one answer."""
    catalog = pool.views.catalog
    left, right = content_digests(catalog)[[one, other]]
    answers = Answers((Answer(catalog.ids[one], catalog.ids[other], left, right, verdict, "Ann", now()),)).on(catalog)
    result = MatchResult.from_scores(pool.decision, catalog, pool.result.scored_pairs, pins=answers.pins)
    return replace(pool, result=replace(result, answers=answers))


def test_best_candidates_of_a_listing_begin_with_its_matches(matched: ExplainedPool) -> None:
    row = int(matched.result.match_rows.listing[0])
    pairs, matches = matched.result.scored_pairs, matched.result.match_rows
    best = best_candidates(matches, pairs, row, int(matched.copies[row]), most=3)
    count = int((matches.listing == row).sum())
    assert [each.matches for each in best] == [True] * count + [False] * (len(best) - count)
    assert {each.row for each in best[:count]} == set(matches.match[matches.listing == row].tolist())
    others = [each.score for each in best[count:]]
    assert others == sorted(others, reverse=True)
    assert len(others) <= 3


@pytest.mark.parametrize(
    ("similarity", "said"),
    [
        (BranchSimilarity("looks", 0.5, (3, 9), True, 4, 0.0), "looks 0.50, rank 3 and 9"),
        (BranchSimilarity("looks", 0.5, (5, 5), False, 4, 0.0), "looks 0.50, rank 5, beyond the 4 nearest"),
        (BranchSimilarity("looks", 0.5, (1, 1), False, 4, 0.62), "looks 0.50, rank 1, below the least similarity 0.62"),
        (BranchSimilarity("looks", 0.0, (2, 3), False, 4, 0.0), "looks 0.00, rank 2 and 3, not alike at all"),
        (BranchSimilarity("looks", -0.2, (9, 9), False, 4, 0.62), "looks -0.20, rank 9, not alike at all"),
        (BranchSimilarity("looks", 0.5, (4, 9), False, 4, 0.0), "looks 0.50, rank 4 and 9"),
        (BranchSimilarity("looks", np.nan, None, False, 4, 0.0), "looks cannot compare them"),
    ],
)
def test_similarity_in_words(similarity: BranchSimilarity, said: str) -> None:
    assert similarity.in_words() == said


def test_pool_is_the_first_that_holds_all_listings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ids = {"catalog-a": ["1", "2", "5"], "catalog-b": ["1", "7"]}
    read = {name: Catalog.from_columns({"posting_id": of_pool}) for name, of_pool in ids.items()}
    monkeypatch.setattr(explained_pool, "load_catalog", lambda folder: read[folder.name])
    monkeypatch.setattr(RunFolder, "open", lambda run, stage: run.folder / stage)
    run = RunFolder(tmp_path)
    found = [pool_with(run, ["a", "b"], named).source for named in (["1"], ["1", "2"], ["1", "7"], ["7"])]
    assert found == ["a", "a", "b", "b"]
    with pytest.raises(MatcherError, match="no catalog of the run has all of 2, 7"):
        pool_with(run, ["a", "b"], ["2", "7"])
    with pytest.raises(MatcherError, match="no listing with the id '9'"):
        pool_with(run, ["a", "b"], ["1", "9"])


def test_unknown_id_names_the_nearest() -> None:
    ids = np.array(["train_12", "train_77", "x"], dtype=object)
    with pytest.raises(MatcherError, match=r"no listing with the id 'train_13' among 3; the nearest ids are train_12"):
        row_of(ids, "train_13")
