"""Reviews with answers from labels."""

import numpy as np
import pytest

from ensemble.review.simulate import sample, summary, table
from ensemble.review.simulation import Reviewer, ceiling, simulate
from shared.schema import Catalog
from tests.support.review_pools import synthetic_pool


def test_a_simulated_review_repeats_itself_and_improves_matches() -> None:
    pool = synthetic_pool(conflicts=0.1)
    one, again = (simulate(pool, [0, 100], seed=0) for _ in range(2))
    assert one == again
    assert [state.answers for state in one] == [0, 100]
    assert one[0].quality is None
    assert one[1].quality is not None
    assert one[1].row_f1 > one[0].row_f1
    assert one[1].row_f1 > ceiling(pool) - 0.05


def test_questions_of_a_review_teach_more_than_random_ones() -> None:
    pool = synthetic_pool(conflicts=0.1)
    review, at_random = (
        np.mean([simulate(pool, [50], seed, asking=asking)[0].row_f1 for seed in range(3)])
        for asking in ("review", "random")
    )
    assert review > at_random


def test_mistakes_cost_row_f1() -> None:
    pool = synthetic_pool(conflicts=0.1)
    right, wrong = (simulate(pool, [100], seed=0, reviewer=Reviewer(share))[0].row_f1 for share in (0, 0.4))
    assert wrong < right


@pytest.mark.parametrize("hard", [False, True])
def test_unsure_reviewers_teach_less_and_their_doubts_are_counted(hard: bool) -> None:
    pool = synthetic_pool(conflicts=0.1)
    state = simulate(pool, [100], seed=0, reviewer=Reviewer(unsure=0.5, hard=hard))[0]
    assert state.quality is not None
    assert state.answers == 100
    assert state.quality.unsure > 0


def test_a_review_ends_where_nothing_is_left_to_ask() -> None:
    pool = synthetic_pool(products=2, size=2)
    state = simulate(pool, [1000], seed=0)[0]
    assert state.answers <= len(pool.start)
    assert state.row_f1 == 1
    assert state.precision == 1


@pytest.mark.parametrize("listings", [4, 100])
def test_sample_draws_whole_labeled_products(listings: int) -> None:
    labels = [None, "a", "a", "b", "b", "c", "c", "d", "d"]
    catalog = Catalog.from_columns({"posting_id": [str(k) for k in range(9)], "label_group": labels})
    drawn = sample(catalog, listings, seed=0).labels.tolist()
    assert len(drawn) == min(listings, 8)
    assert all(drawn.count(label) == 2 for label in drawn)


def test_table_has_a_line_per_number_of_answers() -> None:
    pool = synthetic_pool(products=10)
    reviews = [simulate(pool, [0, 25], seed=seed) for seed in range(2)]
    lines = table(summary(reviews, reviews)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 0", "| 25"]
    assert lines[2].endswith("– | – |")
    assert "%" in lines[3]
