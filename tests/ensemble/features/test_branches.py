from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ensemble.features.branches import graph_features, mean_of_known, of_branches
from ensemble.features.edge_graph import DEPTHS, FEW, EdgeGraph
from ensemble.pool_views import BranchView, PoolViews
from shared.schema import CandidatePairs, Candidates
from tests.support.device_array import device_module

Make = Callable[..., Any]
Links = dict[tuple[int, int], float]


@pytest.fixture
def device() -> ModuleType:
    """A module with those functions of CuPy, under the same names, that pair features may use."""
    same = "arange cumsum flatnonzero fmax fmin full isnan maximum minimum ones sort sqrt zeros"
    return device_module(f"{same} argsort bincount concatenate searchsorted stack where")


# --- what it should do, one listing at a time ------------------------------------------------------------------------


def of_listing(i: int, links: Links) -> list[float]:
    """The similarities of a listing's links, best first."""
    return sorted((value for pair, value in links.items() if i in pair), reverse=True)


def ends(a: float, b: float) -> dict[str, float]:
    """Lower and higher of two numbers of which either may be unknown."""
    known = [value for value in (a, b) if not np.isnan(value)]
    return {"low": min(known, default=np.nan), "high": max(known, default=np.nan)}


def naive(i: int, j: int, links: Links, score: float, ranks: tuple[int, int]) -> dict[str, float]:
    some = [rank for rank in ranks if rank > 0]
    features = {
        "rank_low": min(some, default=np.nan),
        "rank_high": max(ranks) if len(some) == 2 else np.nan,
        "mutual": np.nan if np.isnan(score) else float(len(some) == 2),
    }
    best = [of_listing(end, links) for end in (i, j)]
    for depth in (1, *DEPTHS):
        means = [np.mean(values[:depth]) if values else np.nan for values in best]
        features |= {f"top{depth}_{side}": value for side, value in ends(*means).items()}
    gaps = [score - values[0] if values else np.nan for values in best]
    deep = [values[: DEPTHS[-1]] for values in best]
    z = [(score - np.mean(values)) / (np.std(values) + FEW) if values else np.nan for values in deep]
    for name, both in (("gap", gaps), ("z", z)):
        features |= {f"{name}_low": np.minimum(*both), f"{name}_high": np.maximum(*both)}
    return features


def naive_rank(value: float, values: list[float]) -> int:
    return 1 + sum(other > value for other in values)


def check(found: dict[str, np.ndarray], at: int, expected: dict[str, float], prefix: str) -> None:
    for name, value in expected.items():
        tolerance = 1e-3 if name.startswith("z_") else 1e-5  # float32 similarities over a spread as small as FEW
        assert found[f"{prefix}_{name}"][at] == pytest.approx(value, rel=1e-4, abs=tolerance, nan_ok=True), name


@pytest.mark.parametrize("seed", range(3))
def test_features_of_a_branch_equal_their_definitions(
    make_pool: Make, make_random_catalog: Make, every_pair: Make, seed: int
) -> None:
    n = 30
    pool = make_pool(make_random_catalog(n, seed), neighbors=7)
    pairs: CandidatePairs = every_pair(n)
    features = of_branches(pool, pairs)(slice(None))
    for name, view in pool.branches.items():
        c = view.candidates
        keys = list(zip(c.left.tolist(), c.right.tolist(), strict=True))
        links = dict(zip(keys, c.similarity.tolist(), strict=True))
        ranks = dict(zip(keys, zip(c.rank_left.tolist(), c.rank_right.tolist(), strict=True), strict=True))
        present, dense = view.embeddings.present, view.embeddings.vectors.astype(np.float64)
        for at, (i, j) in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)):
            cosine = float(dense[i] @ dense[j]) if present[i] and present[j] else np.nan
            check(features, at, {"cosine": cosine} | naive(i, j, links, cosine, ranks.get((i, j), (0, 0))), name)


def test_features_over_all_branches_equal_their_definitions(
    make_pool: Make, make_random_catalog: Make, proposed: Make
) -> None:
    pool = make_pool(make_random_catalog(30, 5))
    pairs: CandidatePairs = proposed(pool)
    features = of_branches(pool, pairs)(slice(None))
    keys = list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    cosines = np.stack([features[f"{name}_cosine"] for name in pool.branches])
    mean = np.array([np.mean([c for c in column if not np.isnan(c)]) for column in cosines.T])
    assert np.allclose(features["all_cosine"], mean, rtol=1e-6)
    links = dict(zip(keys, features["all_cosine"].tolist(), strict=True))
    for at, (i, j) in enumerate(keys):
        value = links[i, j]
        ranks = naive_rank(value, of_listing(i, links)), naive_rank(value, of_listing(j, links))
        check(features, at, naive(i, j, links, value, ranks), "all")


def test_equal_links_share_a_rank() -> None:
    left, right = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 2])
    graph = EdgeGraph(4, left, right, np.array([0.5, 0.9, 0.5, 0.9], dtype=np.float32), np)
    of_left, of_right = graph.ranks
    assert of_left.tolist() == [2, 1, 2, 1]
    assert of_right.tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("cosine", [0.3, 0.7071, 0.9137, 0.999])
@pytest.mark.parametrize("apart", [0.0, 1e-4])
def test_spread_of_near_equal_neighbors_is_exact(cosine: float, apart: float) -> None:
    n = 12
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    value = (cosine + apart * np.random.default_rng(0).random(len(left))).astype(np.float32)
    pairs = CandidatePairs(n, left, right)
    graph = EdgeGraph(n, left, right, value, np)
    features = graph_features(graph.listings, pairs, value + np.float32(0.01), graph.ranks)
    links = dict(zip(zip(left.tolist(), right.tolist(), strict=True), value.tolist(), strict=True))
    for at, (i, j) in enumerate(links):
        expected = naive(i, j, links, float(value[at] + np.float32(0.01)), (1, 1))
        assert features["z_low"][at] == pytest.approx(expected["z_low"], rel=1e-4)


def test_what_a_branch_does_not_know_is_unknown(make_pool: Make, make_catalog: Make, every_pair: Make) -> None:
    pool = make_pool(make_catalog([None, "tas", "tas"]))
    features = of_branches(pool, every_pair(3))(slice(None))
    assert all(np.isnan(column).all() for name, column in features.items() if name.startswith("mute_"))
    for name in ("cosine", "mutual", "rank_low", "rank_high", "gap_low", "z_high"):
        assert np.isnan(features[f"words_{name}"]).tolist() == [True, True, False]


def test_mean_of_known() -> None:
    nan = np.nan
    columns = [np.array(c, dtype=np.float32) for c in ([1, nan, nan, 0.5], [0, nan, 0.25, 0.5], [nan, nan, nan, 2])]
    assert np.array_equal(mean_of_known(columns, np), np.array([0.5, nan, 0.25, 1], dtype=np.float32), equal_nan=True)


# --- another array library -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_another_array_library_describes_the_same(
    device: ModuleType, make_pool: Make, make_random_catalog: Make, proposed: Make, n: int
) -> None:
    pool = make_pool(make_random_catalog(n, 2))
    pairs: CandidatePairs = proposed(pool)
    on_numpy = of_branches(pool, pairs)(slice(None))
    elsewhere = of_branches(PoolViews(pool.catalog, pool.branches, device), pairs)(slice(None))
    assert list(elsewhere) == list(on_numpy)
    for name, column in on_numpy.items():
        assert type(elsewhere[name]) is np.ndarray
        assert elsewhere[name].dtype == column.dtype == np.float32
        assert np.array_equal(elsewhere[name], column, equal_nan=True), name


def test_graph_features_without_neighbors_on_device(
    device: ModuleType, make_pool: Make, make_catalog: Make, every_pair: Make
) -> None:
    pool = make_pool(make_catalog([None] * 4))
    empty = np.zeros(0, dtype=np.int32)
    none = Candidates(4, empty, empty, empty.astype(np.float32), empty, empty)
    views = {name: BranchView(view.embeddings, none) for name, view in pool.branches.items()}
    features = of_branches(PoolViews(pool.catalog, views, device), every_pair(4))(slice(None))
    assert np.isnan(features["words_cosine"]).all()
    assert np.isnan(features["words_top5_low"]).all()
