"""What tells one kind of pool from another."""

from typing import Any

import numpy as np
import pytest

from ensemble.features.pools import leads, of_pool
from ensemble.pool_views import BranchView, PoolViews, Surroundings, Words
from shared.schema import Candidates, Catalog, Embeddings

THREE = {(0, 1): 0.75, (0, 2): 0.5, (1, 2): 0.5}


def view(n: int, links: dict[tuple[int, int], float]) -> BranchView:
    ends = np.array(sorted(links), dtype=np.int32).reshape(-1, 2)
    score = np.array([links[i, j] for i, j in sorted(links)], dtype=np.float32)
    rank = np.ones(len(links), dtype=np.int32)
    embeddings = Embeddings(np.ones((n, 1), np.float32), np.ones(n, dtype=bool))
    return BranchView(embeddings, Candidates(n, ends[:, 0].copy(), ends[:, 1].copy(), score, rank, rank))


@pytest.mark.parametrize("seed", range(5))
def test_leads_equal_naive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    links = {(i, j): float(np.float32(rng.random())) for i in range(30) for j in range(i) if rng.random() < 0.5}
    links = {(j, i): similarity for (i, j), similarity in links.items()}
    expected = []
    for i in range(30):
        similarities = sorted((s for pair, s in links.items() if i in pair), reverse=True)
        if len(similarities) > 1:
            behind = similarities[:10][-1]
            expected.append((similarities[0] - behind) / (1 - behind))
    assert leads({"looks": view(30, links)})["looks"] == pytest.approx(np.quantile(expected, [0.5, 0.75, 0.9]))


def crowd(pairs: int, singles: int, seed: int) -> BranchView:
    """Titles at random places of a plane; listings of a pair are near each other."""
    rng = np.random.default_rng(seed)
    places = rng.random((pairs + singles, 2))
    places = np.concatenate([places, places[:pairs] + rng.normal(0, 0.0005, (pairs, 2))])
    distance = np.sqrt(((places[:, None] - places) ** 2).sum(axis=2))
    near = [(i, int(j)) for i in range(len(places)) for j in np.argsort(distance[i])[1:13]]
    return view(len(places), {(min(pair), max(pair)): 1 - float(distance[pair]) / 2 for pair in near})


def test_leads_tell_duplicates_and_not_the_size() -> None:
    pools = {kind: crowd(*sizes, seed) for seed, (kind, sizes) in enumerate(
        {"few": (10, 180), "many": (90, 20), "few, large": (40, 720), "many, large": (360, 80)}.items())}  # fmt: skip
    of = {kind: leads({"looks": pool})["looks"] for kind, pool in pools.items()}
    for few in ("few", "few, large"):
        for many in ("many", "many, large"):
            assert of[few][0] + 0.15 < of[many][0]
    assert of["few"] == pytest.approx(of["few, large"], abs=0.08)
    assert of["many"] == pytest.approx(of["many, large"], abs=0.08)


def test_a_branch_without_neighbors_says_nothing() -> None:
    names = {"mute": view(3, {}), "lonely": view(9, {(0, 1): 0.5, (1, 2): 0.5}), "looks": view(3, THREE)}
    pool = PoolViews(Catalog.from_columns({"posting_id": ["a", "b", "c"]}), names)
    features = of_pool(pool, pool.branches["looks"].candidates)(slice(None))
    assert np.isnan(features["mute_pool_lead50"]).all()
    assert np.isnan(features["lonely_pool_lead50"]).all()  # one listing of nine has two neighbors
    assert features["looks_pool_lead90"].tolist() == [0.5] * 3
    assert {column.dtype for column in features.values()} == {np.dtype(np.float32)}


def test_a_part_of_a_pool_has_the_values_of_the_whole() -> None:
    looks = view(4, THREE | {(2, 3): 0.25, (1, 3): 0.125})
    words: Any = Words.of([""] * 4)
    part = Surroundings(words, looks.candidates, looks.candidates.similarity, leads({"looks": looks}))
    small = view(3, THREE)
    pool = PoolViews(Catalog.from_columns({"posting_id": ["a", "b", "c"]}), {"looks": small}, surroundings=part)
    whole = PoolViews(Catalog.from_columns({"posting_id": list("abcd")}), {"looks": looks})
    expected = of_pool(whole, looks.candidates)(slice(None))
    assert all(column[0] == expected[name][0] for name, column in of_pool(pool, small.candidates)(slice(None)).items())


def test_branches_with_an_encoder_tell_nothing() -> None:
    looks = view(3, THREE)
    assert leads({"image": looks, "distilbert": looks, "tfidf": looks, "phash": looks}).keys() == {"tfidf", "phash"}
