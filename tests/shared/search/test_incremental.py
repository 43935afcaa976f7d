"""A search that is brought up to date finds what a search of all listings finds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from shared.schema import Candidates, Embeddings
from shared.search import exact
from shared.search.dot_products import products
from shared.search.exact import nearest
from shared.search.incremental import PreviousSearch, nearest_since

EVERYTHING = 10**6  # max_ties that never bites
Lists = dict[int, dict[int, tuple[float, int]]]


def unit(vectors: Any, as_sparse: bool = False) -> Embeddings:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    vectors = (vectors / np.where(norms > 0, norms, 1)[:, None]).astype(np.float32)
    return Embeddings(sparse.csr_array(vectors) if as_sparse else vectors, norms > 0)


def only(pool: Embeddings, rows: list[int]) -> Embeddings:
    return Embeddings(pool.vectors[rows], pool.present[rows])


def lists(found: Candidates, rows: list[int]) -> Lists:
    """Listing → neighbor → (similarity, rank), by their rows in the pool that `rows` are of."""
    made: Lists = {row: {} for row in rows}
    columns = (found.left, found.right, found.similarity, found.rank_left, found.rank_right)
    for left, right, similarity, rank_left, rank_right in zip(*(c.tolist() for c in columns), strict=True):
        for one, other, rank in ((left, right, rank_left), (right, left, rank_right)):
            if rank:
                made[rows[one]][rows[other]] = (similarity, rank)
    return made


def origins(before: list[int], after: list[int]) -> np.ndarray:
    return np.array([before.index(row) if row in before else -1 for row in after], dtype=np.int64)


@st.composite
def changing(draw: st.DrawFn) -> tuple[Embeddings, list[list[int]]]:
    """Listings of few different vectors, some without evidence; the rows that a pool holds, time after time."""
    n = draw(st.integers(0, 24))
    vectors = draw(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=n, max_size=n))
    rows = st.lists(st.booleans(), min_size=n, max_size=n).map(lambda kept: [at for at, k in enumerate(kept) if k])
    times = draw(st.lists(rows, min_size=2, max_size=4))
    return unit(np.array(vectors).reshape(n, 3), as_sparse=draw(st.booleans())), times


@pytest.mark.fault(11)
@given(changing(), st.integers(1, 5), st.sampled_from([0.0, 0.8]), st.sampled_from([None, 3, EVERYTHING]))
@settings(max_examples=300, deadline=None)
def test_growth_in_steps_finds_what_a_search_of_all_finds(
    world: tuple[Embeddings, list[list[int]]], k: int, minimum: float, max_ties: int | None
) -> None:
    whole, times = world
    rows = times[0]
    limits = {"minimum": minimum, "max_ties": max_ties}
    search = PreviousSearch.of(nearest(only(whole, rows), k, np, **limits), k)
    for added in times[1:]:
        before, rows = rows, sorted({*rows, *added})
        search = nearest_since(search, origins(before, rows), only(whole, rows), k, np, block=2, **limits)
    expected = PreviousSearch.of(nearest(only(whole, rows), k, np, **limits), k)
    assert lists(search.candidates, rows) == lists(expected.candidates, rows)
    np.testing.assert_array_equal(search.reach, expected.reach)


@given(changing(), st.integers(1, 5), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_list_that_lost_neighbors_holds_all_within_its_reach(
    world: tuple[Embeddings, list[list[int]]], k: int, renamed: bool
) -> None:
    """And nobody else; a listing that became another one is new, whatever was known of it."""
    whole, times = world
    rows = times[0]
    search = PreviousSearch.of(nearest(only(whole, rows), k, np, max_ties=EVERYTHING), k)
    for after in times[1:]:
        origin = origins(rows, after)
        if renamed and len(origin):
            origin[0] = -1
        rows = after
        search = nearest_since(search, origin, only(whole, rows), k, np, max_ties=EVERYTHING)
    everybody = lists(nearest(only(whole, rows), max(len(rows), 1), np, max_ties=EVERYTHING), rows)
    for row, found in lists(search.candidates, rows).items():
        reach = search.reach[rows.index(row)]
        near = {other: similarity for other, (similarity, _) in everybody[row].items() if similarity >= reach}
        assert {other: similarity for other, (similarity, _) in found.items()} == near
        for similarity, rank in found.values():
            assert rank == 1 + sum(other > similarity for other in near.values())


@pytest.mark.parametrize("as_sparse", [False, True])
def test_only_new_listings_are_multiplied_and_once(as_sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counted(vectors: Any, xp: Any) -> Any:
        of = products(vectors, xp)

        def with_others(others: Any) -> Any:
            product = of(others)
            return lambda rows: counts.append(len(rows) * len(others)) or product(rows)  # type: ignore[func-returns-value]

        return with_others

    whole = unit(np.abs(np.random.default_rng(0).standard_normal((600, 8))), as_sparse)
    before = PreviousSearch.of(nearest(only(whole, list(range(580))), 5, np), 5)
    monkeypatch.setattr(exact, "products", counted)
    since = nearest_since(before, np.r_[0:580, [-1] * 20], whole, 5, np)
    assert sum(counts) == 20 * 600
    rows = list(range(600))
    assert lists(since.candidates, rows) == lists(nearest(whole, 5, np), rows)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_lists_are_ranked_by_vectors_that_moved(as_sparse: bool) -> None:
    rng = np.random.default_rng(1)
    vectors = np.abs(rng.standard_normal((200, 8)))
    before, rows = unit(vectors, as_sparse), list(range(200))
    after = unit(vectors + 0.05 * rng.random((200, 8)), as_sparse)
    search = PreviousSearch.of(nearest(only(before, rows[:190]), 5, np), 5)
    since = nearest_since(search, np.r_[0:190, [-1] * 10], after, 5, np, vectors_changed=True)
    known, found = lists(search.candidates, rows[:190]), lists(since.candidates, rows)
    exact = after.similarity(since.candidates.left, since.candidates.right).round(6)
    np.testing.assert_array_equal(since.candidates.similarity, exact)
    for row, near in found.items():
        if row < 190:
            assert {other for other in near if other < 190} <= known[row].keys()
        assert all(rank == 1 + sum(s > similarity for s, _ in near.values()) for similarity, rank in near.values())
