from collections.abc import Callable
from typing import Any

import networkx
import numpy as np
import pytest
from scipy.sparse import csr_array, issparse

from ensemble.features.blended import CLOSE as BLENDED
from ensemble.features.blended import POWER, blended, of_blended
from ensemble.features.graph import CLOSE, neighbours, of_graph, pagerank
from ensemble.pool import Evidence
from shared.schema import Candidates, Embeddings, Pairs

Make = Callable[..., Any]


@pytest.mark.parametrize("neighbours", [2, CLOSE, CLOSE + 5])
def test_common_neighbours_equal_the_jaccard_index_of_sets(
    make_pool: Make, make_random_catalog: Make, every_pair: Make, neighbours: int
) -> None:
    n = 40
    pool = make_pool(make_random_catalog(n, seed=neighbours), neighbours=neighbours)
    pairs: Pairs = every_pair(n)
    features = of_graph(pool, pairs)
    kinds = ("common", "pagerank_low", "pagerank_high")
    assert set(features) == {f"{name}_{kind}" for name in pool.branches for kind in kinds}
    for name, view in pool.branches.items():
        near = [{i} for i in range(n)]
        found = view.candidates
        for i, j, forth, back in zip(found.left, found.right, found.rank_left, found.rank_right, strict=True):
            if 0 < forth <= CLOSE:
                near[i].add(int(j))
            if 0 < back <= CLOSE:
                near[j].add(int(i))
        present = view.embeddings.present
        expected = [
            len(near[i] & near[j]) / len(near[i] | near[j]) if present[i] and present[j] else np.nan
            for i, j in zip(pairs.left, pairs.right, strict=True)
        ]
        assert np.allclose(features[f"{name}_common"], expected, equal_nan=True)
        assert features[f"{name}_common"].dtype == np.float32


def test_a_branch_that_knows_nothing_says_nothing(make_pool: Make, make_catalog: Make, every_pair: Make) -> None:
    features = of_graph(make_pool(make_catalog([None, "tas", "tas"])), every_pair(3))
    assert np.isnan(features["mute_common"]).all()
    assert np.isnan(features["mute_pagerank_low"]).all()
    assert np.isnan(features["words_common"]).tolist() == [True, True, False]


@pytest.mark.parametrize("seed", range(3))
def test_pagerank_is_that_of_networkx(make_pool: Make, make_random_catalog: Make, every_pair: Make, seed: int) -> None:
    n = 30
    pool = make_pool(make_random_catalog(n, seed=seed), neighbours=4)
    pairs: Pairs = every_pair(n)
    features = of_graph(pool, pairs)
    for name, view in pool.branches.items():
        graph = networkx.DiGraph()
        graph.add_nodes_from(range(n))
        found = view.candidates
        for i, j, s, forth, back in zip(
            found.left, found.right, found.similarity, found.rank_left, found.rank_right, strict=True
        ):
            graph.add_weighted_edges_from([(int(i), int(j), float(s))] if forth else [])
            graph.add_weighted_edges_from([(int(j), int(i), float(s))] if back else [])
        expected = networkx.pagerank(graph, alpha=0.85, tol=1e-12)
        rank = pagerank(found)
        assert rank == pytest.approx([n * expected[i] for i in range(n)], abs=1e-3)
        assert rank.mean() == pytest.approx(1)
        known = ~np.isnan(features[f"{name}_pagerank_low"])
        a, b = rank[pairs.left[known]], rank[pairs.right[known]]
        assert features[f"{name}_pagerank_low"][known] == pytest.approx(np.minimum(a, b))
        assert features[f"{name}_pagerank_high"][known] == pytest.approx(np.maximum(a, b))


def test_negative_similarities_weigh_nothing_and_a_listing_is_its_own_neighbour_only_if_asked() -> None:
    rows = np.array([0, 0], dtype=np.int32), np.array([1, 2], dtype=np.int32)
    similarity, rank = np.array([-0.5, 0.5], dtype=np.float32), np.array([2, 1], dtype=np.int32)
    found = Candidates(3, *rows, similarity, rank, np.array([1, 0], dtype=np.int32))
    assert neighbours(found, 1, own=2).toarray().tolist() == [[2, 0, 0.5], [0, 2, 0], [0, 0, 2]]
    assert neighbours(found, 2).toarray().tolist() == [[0, 0, 0.5], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("sparse", [False, True])
def test_blended_embeddings_are_weighted_means_over_the_closest(
    make_pool: Make, make_random_catalog: Make, every_pair: Make, sparse: bool
) -> None:
    n = 25
    pool = make_pool(make_random_catalog(n, seed=5), neighbours=BLENDED + 3)
    for name, view in pool.branches.items():
        dense = view.embeddings.vectors.toarray() if issparse(view.embeddings.vectors) else view.embeddings.vectors
        given = Embeddings(csr_array(dense) if sparse else dense, view.embeddings.present)
        found = blended(Evidence(given, view.candidates))
        close = view.candidates
        expected = dense.astype(np.float64)
        for i, j, s, forth, back in zip(
            close.left, close.right, close.similarity, close.rank_left, close.rank_right, strict=True
        ):
            weight = max(float(s), 0) ** POWER
            expected[i] += weight * dense[j] if 0 < forth <= BLENDED else 0
            expected[j] += weight * dense[i] if 0 < back <= BLENDED else 0
        length = np.linalg.norm(expected, axis=1, keepdims=True)
        vectors = found.vectors.toarray() if issparse(found.vectors) else found.vectors
        assert np.allclose(vectors, expected / np.where(length > 0, length, 1), atol=1e-6)
        assert (found.present == given.present).all()
        pairs = every_pair(n)
        cosine = of_blended(pool, pairs)[f"{name}_blended"]
        assert np.isnan(cosine).tolist() == [
            not (found.present[i] and found.present[j]) for i, j in zip(pairs.left, pairs.right, strict=True)
        ]
