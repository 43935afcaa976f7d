"""An index takes over people's answers, keeps to them in every later change, and says which no longer hold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.answers.answer import Answer, Withdrawal
from ensemble.answers.answers import Answers
from ensemble.answers.file import AnswerFile
from ensemble.decision.decision import groups_of
from ensemble.index.index import Index
from ensemble.matcher import Matcher
from shared.schema import Catalog
from tests.support.answers import answer


@pytest.fixture(scope="module")
def catalog(titles_alone: Matcher, listings: pd.DataFrame) -> Catalog:
    """The demo's listings without images, two of them in three copies."""
    copies = listings.iloc[[0, 0, 1, 1]].assign(posting_id=[f"copy{number}" for number in range(4)])
    frame = pd.concat([listings, copies])[["posting_id", "title"]]
    return titles_alone.read(frame)


@pytest.fixture
def index(titles_alone: Matcher, catalog: Catalog, tmp_path: Path) -> Index:
    index = Index.open(tmp_path / "index", titles_alone)
    index.add(catalog)
    return index


def random_answers(catalog: Catalog, seed: int, count: int = 20) -> Answers:
    """Answers about any listings, copies among them; some contradict each other."""
    rng, ids = np.random.default_rng(seed), catalog.ids.tolist()
    often = ids[:10]  # the copies are among them
    events = []
    for at in range(count):
        one, other = rng.choice(often if rng.random() < 0.5 else ids, 2, replace=False)
        events.append(answer(str(one), str(other), "yes" if rng.random() < 0.5 else "no", at=at, catalog=catalog))
    return Answers(tuple(events))


def groups(index: Index) -> dict[str, int]:
    numbers = groups_of(index.state.matches)
    return dict(zip(index.state.catalog.ids, numbers.tolist(), strict=True))


def assert_honored(index: Index, yes: Answer, no: Answer) -> None:
    of = groups(index)
    assert of[yes.left] == of[yes.right]
    assert of[no.left] != of[no.right]
    assert index.state.group_ids[yes.left] == index.state.group_ids[yes.right]


def yes_and_no(index: Index) -> tuple[Answer, Answer]:
    """A yes about listings of different groups, and a no about a match."""
    catalog, matches, of = index.state.originals, index.state.matches, groups(index)
    surest = np.flatnonzero(matches.score < 1)[0]
    pair = catalog.ids[[matches.listing[surest], matches.match[surest]]]
    others = [posting_id for posting_id in catalog.ids if of[posting_id] != of[pair[0]]]
    apart = next(posting_id for posting_id in others if of[posting_id] != of[others[0]])
    return answer(others[0], apart, catalog=catalog), answer(pair[0], pair[1], "no", catalog=catalog)


@pytest.mark.fault(37)
def test_answers_hold_after_add_remove_and_rebuild_and_on_the_disk(
    index: Index, titles_alone: Matcher, tmp_path: Path
) -> None:
    yes, no = yes_and_no(index)
    file = tmp_path / "answers.jsonl"
    AnswerFile(file).append(yes, no)
    assert index.add(index.state.originals, answers=file)["unchanged"] == len(index)
    assert_honored(index, yes, no)
    again = Index.open(tmp_path / "index", titles_alone)
    assert_honored(again, yes, no)
    again.add(titles_alone.read(pd.DataFrame({"posting_id": ["new1", "new2"], "title": ["red mug", "fan"]})))
    assert_honored(again, yes, no)
    named = {yes.left, yes.right, no.left, no.right}
    again.remove([next(posting_id for posting_id in again.state.catalog.ids if posting_id not in named)])
    assert_honored(again, yes, no)
    again.rebuild()
    assert_honored(again, yes, no)
    assert Index.open(tmp_path / "index", titles_alone).state.result().answer_metrics == {"answers": "2"}


@pytest.mark.parametrize("seed", range(6))
def test_new_answers_reach_their_groups_as_at_once(index: Index, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = index.state.originals
    one, more = random_answers(catalog, seed), random_answers(catalog, seed + 100)
    monkeypatch.setattr(index.matcher, "describe", lambda *rest: pytest.fail("no pair changed"))
    index.add(catalog, answers=one)
    index.add(catalog, answers=more)
    withdrawn = Withdrawal.of(one.standing[0], "2026-02-01T00:00:00Z")
    index.add(catalog, answers=Answers((withdrawn,)))
    monkeypatch.undo()
    after = index.state
    index.rebuild()
    for name in ("listing", "match", "score"):
        np.testing.assert_array_equal(getattr(after.matches, name), getattr(index.state.matches, name))
    of = groups(index)
    pins = after.pool_answers.pins
    ids = after.catalog.ids
    assert [pair for pair in pins.never.tolist() if of[ids[pair[0]]] == of[ids[pair[1]]]] == []
    assert len(pins.never) > 3


@pytest.mark.fault(37)
def test_an_answer_holds_for_listings_that_come_later(index: Index, catalog: Catalog, titles_alone: Matcher) -> None:
    later = titles_alone.read(pd.DataFrame({"posting_id": ["z1"], "title": ["quite another thing"]}))
    yes = answer("z1", catalog.ids[7], catalog=Catalog.concat([catalog, later]))
    index.add(catalog, answers=Answers((yes,)))
    assert "1 left out: of listings that are not in the catalog" in str(index.state.result().answer_metrics)
    index.add(later)
    assert groups(index)["z1"] == groups(index)[catalog.ids[7]]
    index.add(titles_alone.read(pd.DataFrame({"posting_id": ["z1"], "title": ["changed"]})))
    assert groups(index)["z1"] != groups(index)[catalog.ids[7]]
    assert "1 left out: of listings that have changed since" in str(index.state.result().answer_metrics)


def test_the_same_answers_again_write_nothing(index: Index, catalog: Catalog) -> None:
    answers = random_answers(catalog, 1)
    index.add(catalog, answers=answers)
    number = index.snapshots.current()
    index.add(catalog, answers=answers)
    index.add(catalog)
    assert index.snapshots.current() == number


def test_a_query_keeps_to_answers(index: Index, catalog: Catalog) -> None:
    yes, no = yes_and_no(index)
    index.add(catalog, answers=Answers((yes, no)))
    of, row = index.state.group_ids, catalog.ids.tolist().index(no.left)
    hits = index.query(catalog.take(np.array([row])), most=0)[0]
    assert hits
    assert {of[hit.posting_id] for hit in hits if hit.matches} != {of[no.left], of[no.right]}


def test_commands_take_answers(
    index: Index,
    first: tuple[Path, str],
    titles_alone: Matcher,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    yes, no = yes_and_no(index)
    AnswerFile(tmp_path / "answers.jsonl").append(yes, no, answer("nobody", yes.left))
    monkeypatch.setattr("ensemble.index.__main__.open_matcher", lambda *rest: titles_alone)
    where = ("--run", first[0], "--index", tmp_path / "index")
    code, out, err = command("ensemble.index", "rebuild", *where, "--answers", tmp_path / "answers.jsonl")
    assert (code, err) == (0, "")
    assert "answers 2 (1 left out: of listings that are not in the catalog, such as" in out
    assert_honored(Index.open(tmp_path / "index", titles_alone), yes, no)
    code, _, err = command("ensemble.index", "rebuild", *where, "--answers", tmp_path / "nothing.jsonl")
    assert (code, "no such file" in err) == (2, True)
