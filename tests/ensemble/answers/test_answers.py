"""Which answers count, which hold for a catalog, and which contradict each other."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.answers.answer import Answer, Withdrawal
from ensemble.answers.answers import Answers, summary
from ensemble.answers.contradictions import by_pair, contradictions
from shared.schema import Catalog
from tests.support.answers import answer
from tests.support.catalogs import titled

TITLES = ["red mug", "fan", "RED MUG!", "lamp", "desk", "Red Mug"]  # those at 0, 2 and 5 have equal content
IDS = list("abcdef")


@pytest.fixture
def catalog() -> Catalog:
    return titled(TITLES, IDS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"right": "a"}, "about two listings"),
        ({"left": ""}, "left must be a text"),
        ({"verdict": "maybe"}, "yes, no or unsure"),
        ({"by": ""}, "by must be a text"),
        ({"by": "A\nB"}, "is no name"),
        ({"at": "2026-01-31"}, "UTC"),
        ({"at": "2026-01-31T12:00:00+07:00"}, "UTC"),
        ({"asked": "random"}, "stratified"),
        ({"stratum": 1.5}, "whole number"),
        ({"left_content": None}, "left_content must be a text"),
    ],
)
def test_answer_refuses_what_is_none(values: dict[str, object], message: str) -> None:
    sound = {"left": "a", "right": "b", "left_content": "", "right_content": "", "verdict": "yes"}
    with pytest.raises(ValueError, match=message):
        Answer(**{**sound, "by": "Ann", "at": "2026-01-31T12:00:00Z", **values})  # type: ignore[arg-type]


def test_latest_verdict_of_anybody_counts_and_unsure_replaces_no_verdict_of_others() -> None:
    said = [("a", "b", "yes", "Ann"), ("b", "a", "no", "Ben"), ("a", "c", "yes", "Ann"), ("a", "c", "unsure", "Ben")]
    said += [("a", "d", "yes", "Ann"), ("a", "d", "unsure", "Ann")]
    answers = [answer(a, b, verdict, by=by, at=at) for at, (a, b, verdict, by) in enumerate(said)]  # type: ignore[arg-type]
    assert [each.verdict for each in Answers(tuple(answers)).latest] == ["no", "yes", "unsure"]


def test_withdrawal_brings_back_what_was_said_before() -> None:
    yes, no = answer("a", "b", "yes", at=1), answer("b", "a", "no", at=2)
    withdrawal = Withdrawal.of(no, "2026-01-31T13:00:00Z")
    for events in ((yes, no, withdrawal), (withdrawal, no, yes)):
        assert Answers(events).latest == [yes]


def test_joined_files_hold_each_event_once() -> None:
    yes, no = answer("a", "b", at=1), answer("a", "b", "no", at=2)
    one = Answers((yes, Withdrawal.of(yes, "2026-01-31T13:00:00Z")))
    joined = one.joined(Answers((yes, no))).joined(Answers((no,)))
    assert joined.events == (*one.events, no)
    assert joined.latest == [no]


@pytest.mark.fault(37)
def test_answers_hold_for_listings_of_equal_content(catalog: Catalog) -> None:
    answers = Answers((answer("c", "b", "yes", catalog=catalog), answer("f", "d", "no", catalog=catalog, at=1)))
    pool = answers.on(catalog)
    assert list(zip(pool.left, pool.right, pool.verdict, strict=True)) == [(0, 1, "yes"), (0, 3, "no")]
    assert pool.pins.must.tolist() == [[0, 1]]
    assert pool.pins.never.tolist() == [[0, 3]]
    assert pool.left.dtype == np.int32
    assert pool.line == "answers 2"


def test_later_answer_about_a_copy_counts_and_both_are_a_contradiction(catalog: Catalog) -> None:
    yes, no = answer("a", "b", catalog=catalog, at=1), answer("b", "c", "no", by="Ben", catalog=catalog, at=2)
    pool = Answers((no, yes)).on(catalog)
    assert pool.answers == (no,)
    assert [(each.kind, each.no, each.yes) for each in pool.contradictions()] == [("reviewers", no, (yes,))]
    assert pool.line == "answers 1 (1 contradicted: b and c: no by Ben, but yes by Ann)"


def test_copies_that_people_tell_apart_have_answers_of_their_own(catalog: Catalog) -> None:
    events = (answer("a", "c", "no", catalog=catalog), answer("c", "b", "yes", catalog=catalog, at=1))
    pool = Answers(events).on(catalog)
    assert list(zip(pool.left, pool.right, pool.verdict, strict=True)) == [(0, 2, "no"), (1, 2, "yes")]


def test_yes_between_copies_says_nothing_new(catalog: Catalog) -> None:
    pool = Answers((answer("a", "c", catalog=catalog), answer("c", "f", "unsure", catalog=catalog))).on(catalog)
    assert len(pool) == 0
    assert pool.line == "answers 0 (2 left out: of listings of equal content, which match anyway, such as a and c)"


@pytest.mark.fault(36)
def test_answers_left_out_are_counted_with_an_example(catalog: Catalog) -> None:
    pairs = [("a", "b"), ("b", "d"), ("x1", "a"), ("e", "d")]
    answers = Answers(tuple(answer(a, b, catalog=catalog) for a, b in pairs))
    changed = titled([*TITLES[:1], "fan 2", *TITLES[2:]], IDS)
    pool = answers.on(changed)
    assert [each.pair for each in pool.answers] == [("d", "e")]
    assert pool.line == (
        "answers 1 (2 left out: of listings that have changed since, such as a and b; "
        "1 left out: of listings that are not in the catalog, such as a and x1)"
    )


def test_content_before_something_was_set_aside_counts(catalog: Catalog) -> None:
    bare = titled([None, *TITLES[1:]], IDS)
    answers = Answers((answer("a", "b", catalog=catalog), answer("a", "d", catalog=bare)))
    assert [each.pair for each in answers.on(bare).answers] == [("a", "d")]
    assert [each.pair for each in answers.on(bare, catalog).answers] == [("a", "b"), ("a", "d")]


@pytest.mark.parametrize("column", ["title", "image_sha", "phash"])
def test_content_is_title_image_and_hash(catalog: Catalog, column: str) -> None:
    answers = Answers((answer("a", "b", catalog=catalog),))
    values: dict[str, object] = {"title": "blue mug", "image_sha": "12", "phash": 77}
    changed = catalog.with_columns({column: [values[column], *catalog.table.column(column).to_pylist()[1:]]})
    assert len(answers.on(changed)) == 0
    relabeled = catalog.with_columns({"label_group": ["1"] * 6, "width": [7] * 6})
    assert len(answers.on(relabeled)) == 1


@pytest.mark.fault(37)
@given(st.permutations(range(6)), st.permutations(range(8)))
@settings(max_examples=50, deadline=None)
def test_answers_depend_on_no_order(rows: list[int], lines: list[int]) -> None:
    catalog = titled(TITLES, IDS)
    said = [("a", "b", "yes"), ("c", "d", "no"), ("b", "d", "yes"), ("a", "f", "no"), ("e", "b", "unsure")]
    said += [("e", "b", "yes"), ("x", "b", "yes"), ("b", "c", "no")]
    events = [answer(a, b, verdict, at=at, catalog=catalog) for at, (a, b, verdict) in enumerate(said)]
    pool = Answers(tuple(events)).on(catalog)
    other = Answers(tuple(events[line] for line in lines)).on(catalog.take(np.array(rows)))
    ids = catalog.ids[np.array(rows)]
    moved = {tuple(sorted((ids[low], ids[high]))) for low, high in zip(other.left, other.right, strict=True)}
    assert moved == {(catalog.ids[low], catalog.ids[high]) for low, high in zip(pool.left, pool.right, strict=True)}
    assert set(other.answers) == set(pool.answers)
    assert other.line == pool.line


@pytest.mark.fault(37)
@pytest.mark.parametrize("seed", range(20))
def test_contradicting_chains_are_shortest_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"p{number}" for number in range(12)]
    graph = nx.Graph()
    graph.add_nodes_from(names)
    answers, noes = [], []
    for a, b in ((a, b) for a in names for b in names if a < b and rng.random() < 0.25):
        verdict = "yes" if rng.random() < 0.7 else "no"
        answers.append(answer(a, b, verdict))  # type: ignore[arg-type]
        graph.add_edge(a, b) if verdict == "yes" else noes.append((a, b))
    chains = contradictions(by_pair(answers, lambda each: each.pair))
    assert [each.no.pair for each in chains] == [pair for pair in sorted(noes) if nx.has_path(graph, *pair)]
    for each in chains:
        start, end = each.no.pair
        assert len(each.yes) == nx.shortest_path_length(graph, start, end)
        assert start in each.yes[0].pair
        assert end in each.yes[-1].pair
        assert all(set(one.pair) & set(other.pair) for one, other in pairwise(each.yes))


def test_summary_of_several_catalogs_leaves_out_what_holds_in_none(catalog: Catalog) -> None:
    other = titled(["pen", "ink"], ["p", "q"])
    answers = Answers((answer("a", "b", catalog=catalog), answer("p", "q", catalog=other), answer("y", "z")))
    text = "2 (1 left out: of listings that are not in the catalog, such as y and z)"
    assert summary([answers.on(catalog), answers.on(other)]) == {"answers": text}
