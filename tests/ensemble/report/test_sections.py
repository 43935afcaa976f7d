"""The sections of the report as pure functions, on arrays whose answers are known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ensemble.decision.bootstrap import wilson
from ensemble.decision.decision import Decision
from ensemble.decision.pins import Pins
from ensemble.report.branches import Overlap, contribution
from ensemble.report.cards import Reasons, Step, pair_cards
from ensemble.report.galleries import Gallery, closest_calls, false_merges, missed_pairs, surest_matches, true_pairs
from ensemble.report.group_graphs import LEAST_SCORE, MOST_NODES, largest_groups
from ensemble.report.group_sizes import SizeClass, group_size_classes
from ensemble.report.intervals import METRICS, Estimate, contributions, estimates, metric_values
from ensemble.report.pool import MatchedPool
from ensemble.report.reliability import reliability_bins
from ensemble.report.threshold_curve import threshold_curve
from ensemble.report.thumbnails import Thumbnails
from shared.metrics.matching import measure
from shared.schema import Candidates

MakePool = Callable[..., MatchedPool]


def proposals(n: int, **branches: list[tuple[int, int]]) -> dict[str, Candidates]:
    made = {}
    for name, pairs in branches.items():
        left, right = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2).T
        ranks = np.ones(len(left), np.int32)
        made[name] = Candidates(n, left.copy(), right.copy(), np.ones(len(left), np.float32), ranks, ranks)
    return made


def rows(gallery: Gallery) -> set[tuple[int, int]]:
    return set(zip(gallery.left.tolist(), gallery.right.tolist(), strict=True))


@pytest.fixture
def random_pool(make_pool: MakePool) -> MatchedPool:
    rng = np.random.default_rng(0)
    pairs = {(int(a), int(b)) for a, b in np.sort(rng.integers(0, 60, (400, 2)), axis=1) if a < b}
    codes = rng.integers(-1, 15, 60)
    scored = [(a, b, float(rng.beta(2, 5) + 0.5 * (codes[a] == codes[b])) % 1) for a, b in pairs]
    return make_pool(60, scored, codes)


def test_metrics_of_all_products_are_those_of_measure(random_pool: MatchedPool) -> None:
    pool = random_pool
    whole = measure(pool.matches, pool.groups, pool.codes).to_json()
    values = metric_values(contributions(pool.matches, pool.groups, pool.codes).sum(axis=0))
    assert dict(zip(METRICS, values.tolist(), strict=True)) == pytest.approx({name: whole[name] for name in METRICS})


def test_intervals_hold_the_values_and_depend_on_the_seed_alone(random_pool: MatchedPool) -> None:
    pool = random_pool
    whole = measure(pool.matches, pool.groups, pool.codes).to_json()
    once, again, other = (estimates(whole, pool.matches, pool.groups, pool.codes, seed) for seed in (0, 0, 1))
    assert once == again != other
    assert all(each.low < each.value < each.high for each in once.values())
    assert {name: each.value for name, each in once.items()} == {name: whole[name] for name in METRICS}


def test_interval_without_a_mistake_is_not_empty(make_pool: MakePool) -> None:
    pool = make_pool(4, [(0, 1, 0.9), (2, 3, 0.9)], [0, 0, 1, 1])
    whole = measure(pool.matches, pool.groups, pool.codes).to_json()
    precision = estimates(whole, pool.matches, pool.groups, pool.codes, seed=0)["pair_precision"]
    assert precision == Estimate(1.0, *wilson(1.0, 2))
    assert precision.low < 0.6


def test_contribution_of_branches() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2])
    branches = proposals(6, words=[(0, 1), (0, 2), (0, 5)], looks=[(0, 1), (3, 4)])
    made = contribution(branches, {"words": {"row_f1": 0.5}}, codes)
    assert [each.recall for each in made.branches] == [0.5, 0.5]
    assert [each.only for each in made.branches] == pytest.approx([0.25, 0.25])
    assert made.union == 0.75
    assert {each.branches: pytest.approx(each.share) for each in made.overlaps} == {
        (): 0.25,
        ("words",): 0.25,
        ("looks",): 0.25,
        ("words", "looks"): 0.25,
    }
    assert made.branches[0].alone == {"row_f1": 0.5}


def test_pairs_of_equal_content_count_for_every_branch() -> None:
    codes, copies = np.array([0, 0, 0]), np.array([0, 0, 2], np.int32)
    made = contribution(proposals(3, words=[(0, 2)], looks=[]), {}, codes, copies)
    assert [each.recall for each in made.branches] == pytest.approx([1, 1 / 3])
    assert made.overlaps == [
        Overlap(("words",), pytest.approx(2 / 3)),
        Overlap(("words", "looks"), pytest.approx(1 / 3)),
    ]


def test_threshold_curve_has_the_metrics_of_the_matches(random_pool: MatchedPool) -> None:
    curve = threshold_curve(random_pool, Decision("threshold", 0.5))
    whole = measure(random_pool.matches, random_pool.groups, random_pool.codes)
    point = curve.points[curve.chosen]
    assert (point.threshold, point.row_f1, point.pair_recall) == (0.5, whole.row_f1, whole.pair_recall)
    assert [each.threshold for each in curve.points] == sorted(each.threshold for each in curve.points)
    recalls = [each.row_recall or 0 for each in curve.points]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] > recalls[-1]


def test_threshold_curve_of_the_catalog_is_as_strict(make_pool: MakePool, random_pool: MatchedPool) -> None:
    catalog = make_pool(3, [(0, 1, 0.7), (1, 2, 0.3)])
    curve = threshold_curve(random_pool, Decision("threshold", 0.5), catalog)
    assert [each.threshold for each in curve.catalog] == pytest.approx([each.threshold for each in curve.points])
    assert [each.groups for each in curve.catalog][:: len(curve.catalog) - 1] == [1, 0]
    assert curve.catalog[curve.chosen].row_f1 is None


def test_what_is_known_of_the_catalog_holds_at_every_threshold_of_the_curve(make_pool: MakePool) -> None:
    plain = make_pool(5, [(0, 1, 0.9), (1, 2, 0.8), (3, 4, 0.1)])
    for duplicates, matched in (("all", {5}), ("pairs", {0, 2, 4}), ("unknown", {0, 2, 3, 5})):
        pool = replace(plain, facts=replace(plain.facts, duplicates=duplicates))  # type: ignore[arg-type]
        curve = threshold_curve(pool, Decision("threshold", 0.5))
        others = {point.matched for place, point in enumerate(curve.points) if place != curve.chosen}
        assert others <= matched, duplicates


def test_reliability_bins_have_intervals() -> None:
    few, many = reliability_bins(
        [{"pairs": 4, "score": 0.5, "matches": 0.5}, {"pairs": 4000, "score": 0.6, "matches": 0.5}]
    )
    assert few.low < many.low < 0.5 < many.high < few.high
    assert wilson(1.0, 10)[1] == pytest.approx(1)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_group_sizes_made_and_true() -> None:
    groups, codes = np.repeat([0, 1, 2], [1, 7, 60]), np.repeat([0, 1], [68 - 2, 2])
    classes = {each.name: (each.groups, each.products) for each in group_size_classes(groups, codes)}
    assert classes["1"] == (1, 0)
    assert classes["2"] == (0, 1)
    assert classes["6–10"] == (1, 0)
    assert classes["51+"] == (1, 1)
    assert group_size_classes(np.array([0, 1])) == [SizeClass("1", 2, None)]


def test_surest_matches_come_one_of_each_group(make_pool: MakePool) -> None:
    pool = make_pool(7, [(0, 1, 0.99), (0, 2, 0.98), (1, 2, 0.97), (3, 4, 0.6), (5, 6, 0.3)])
    assert rows(surest_matches(pool, 2, seed=0)) == {(0, 1), (3, 4)}
    assert surest_matches(pool, 2, seed=0).total == 4


def test_surest_matches_are_not_of_equal_content(make_pool: MakePool) -> None:
    pool = make_pool(3, [(0, 2, 0.9)], titles=["red mug", "red mug", "mug red"])
    assert rows(surest_matches(pool, 9, seed=0)) == {(0, 2), (1, 2)}


def test_closest_calls_are_of_both_sides_of_the_threshold(make_pool: MakePool) -> None:
    pool = make_pool(8, [(0, 1, 0.52), (2, 3, 0.95), (4, 5, 0.49), (6, 7, 0.01)])
    assert rows(closest_calls(pool, 2, seed=0)) == {(0, 1), (4, 5)}


def test_false_merges_and_missed_pairs(make_pool: MakePool) -> None:
    codes = [0, 0, 1, 1, 2, 2, -1, -1]
    pool = make_pool(8, [(0, 1, 0.9), (1, 2, 0.8), (2, 3, 0.4), (6, 7, 0.9)], codes)
    assert rows(false_merges(pool, 9, seed=0)) == {(1, 2)}
    never, wrong = missed_pairs(pool, 9, seed=0)
    assert rows(never) == {(4, 5)}
    assert rows(wrong) == {(2, 3)}


def test_samples_depend_on_the_seed_alone(random_pool: MatchedPool) -> None:
    once, again, other = (false_merges(random_pool, 4, seed) for seed in (0, 0, 1))
    assert rows(once) == rows(again) != rows(other)
    assert len(rows(once)) == 4 < once.total


def test_true_pairs_of_a_huge_product_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensemble.report.galleries.MOST_TRUE_PAIRS", 5)
    left, right = true_pairs(np.array([0] * 50 + [1, 1]))
    assert (left.tolist(), right.tolist()) == ([50], [51])


def test_largest_groups_are_sampled(make_pool: MakePool) -> None:
    n = MOST_NODES + 10
    pool = make_pool(n + 3, [(0, row, 0.9) for row in range(1, n)] + [(n, n + 1, 0.9), (n + 1, n + 2, LEAST_SCORE / 2)])
    (graph,) = largest_groups(pool, 4, seed=0)  # a group of two is no graph
    assert (graph.size, len(graph.rows)) == (n, MOST_NODES)
    assert graph.labels is None
    assert ((graph.places >= 0) & (graph.places <= 1)).all()


def test_labels_of_a_group_are_numbered_by_frequency(make_pool: MakePool) -> None:
    pool = make_pool(4, [(0, 1, 0.9), (1, 2, 0.9), (2, 3, 0.9)], [5, 7, 7, -1])
    (graph,) = largest_groups(pool, 1, seed=0)
    assert graph.labels.tolist() == [1, 0, 0, -1]
    assert [(one, other) for one, other, _ in graph.edges] == [(0, 1), (1, 2), (2, 3)]


def test_score_of_pairs(make_pool: MakePool) -> None:
    pool = make_pool(4, [(0, 2, 0.75)], titles=["red mug", "red mug", "mug", "fan"])
    score = pool.score_of(np.array([2, 1, 0, 2]), np.array([0, 2, 1, 3]))
    assert score[:3].tolist() == [0.75, 0.75, 1.0]
    assert np.isnan(score[3])


def test_sizes_of_a_partly_labeled_pool_are_of_its_labeled_listings() -> None:
    groups, codes = np.array([0, 0, 0, 1, 1, 2, 3]), np.array([5, 5, -1, -1, -1, 6, 6])
    assert group_size_classes(groups, codes) == [SizeClass("1", 2, 0), SizeClass("2", 1, 2)]
    assert group_size_classes(groups) == [SizeClass("1", 2, None), SizeClass("2", 1, None), SizeClass("3", 1, None)]


def test_reasons_are_shown_only_where_they_sum_up_to_the_score(make_pool: MakePool) -> None:
    pool = make_pool(6, [(0, 1, 0.5), (2, 3, 0.75)])
    thumbnails = Thumbnails(pool.catalog, max_pixels=100)
    gallery = Gallery("key", "title", "sentence", np.array([0, 2, 4]), np.array([1, 3, 5]), 3)
    even = Reasons(-1.0, [Step("titles", 1.5), Step("images", -0.5)])
    shown = pair_cards(pool, gallery, thumbnails, lambda pairs: [even] * len(pairs))
    assert [card.reasons for card in shown] == [even, None, None]
    assert [card.score for card in shown] == [0.5, 0.75, None]
    assert [card.matched for card in shown] == [True, True, False]


def test_answers_hold_at_every_threshold_of_the_curve(make_pool: MakePool) -> None:
    plain = make_pool(4, [(0, 1, 0.9), (2, 3, 0.1)], [0, 1, 2, 2])
    pool = replace(plain, pins=Pins(must=np.array([[2, 3]]), never=np.array([[0, 1]])))
    curve = threshold_curve(pool, Decision("threshold", 0.5))
    others = [point for place, point in enumerate(curve.points) if place != curve.chosen]
    assert {(point.groups, point.matched, point.pair_precision, point.pair_recall) for point in others} == {
        (1, 2, 1, 1)
    }
