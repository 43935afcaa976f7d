"""Pairs are described a block at a time, with the same bytes as all at once and in memory that the block bounds."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ensemble.config import Family
from ensemble.features import assemble, branches
from ensemble.features.assemble import BLOCK, FAMILIES, Description, joined, pair_features
from ensemble.features.edge_graph import EdgeGraph, links_by_listing
from ensemble.features.files import PAIRS_PER_FILE, file_name, read_blocks, read_pairs, write_blocks
from ensemble.features.incidence import incidence, word_incidence
from ensemble.features.pools import leads
from ensemble.pool_views import PoolViews, Surroundings, Words
from shared.schema import CandidatePairs, PairFeatures

Make = Callable[..., Any]


def columns_of(described: PairFeatures) -> dict[str, bytes]:
    return {str(name): described.features[name].to_numpy().tobytes() for name in described.features}


def random_graph(n: int, links: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct links in order, with many equal similarities."""
    rng = np.random.default_rng(seed)
    every = np.stack(np.triu_indices(n, 1))
    left, right = every[:, np.sort(rng.permutation(every.shape[1])[:links])].astype(np.int32)
    return left, right, rng.integers(-3, 9, len(left)).astype(np.float32) / np.float32(10)


# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_of_any_size_hold_the_same_bytes(
    make_pool: Make, make_random_catalog: Make, proposed: Make, family: Family, size: int
) -> None:
    pool = make_pool(make_random_catalog(40, 3))
    description = Description(pool, proposed(pool), [family])
    expected = description.block(slice(None))
    blocks = list(description.blocks(size=size))
    assert max(map(len, blocks)) <= size
    assert columns_of(joined(blocks, description.pairs)) == columns_of(expected)
    assert [pair for block in blocks for pair in block.right.tolist()] == expected.right.tolist()


def test_blocks_of_a_part_of_a_pool_hold_the_same_bytes(
    make_pool: Make, make_random_catalog: Make, proposed: Make
) -> None:
    whole = make_pool(make_random_catalog(40, 4))
    links: CandidatePairs = proposed(whole)
    cosine = pair_features(whole, links, ["branches"]).features["all_cosine"].to_numpy()
    surroundings = Surroundings(Words.of(whole.titles), links, cosine, leads(whole.branches))
    pool = PoolViews(whole.catalog, whole.branches, surroundings=surroundings)
    rows = np.arange(0, len(links), 3)
    some = CandidatePairs(links.n, links.left[rows], links.right[rows])
    expected = columns_of(pair_features(whole, links).only(np.isin(np.arange(len(links)), rows)))
    for size in (5, 10_000):
        assert columns_of(joined(Description(pool, some).blocks(size=size), some)) == expected


def test_block_without_pairs_has_all_columns(make_pool: Make, make_random_catalog: Make, proposed: Make) -> None:
    pool = make_pool(make_random_catalog(10))
    description = Description(pool, proposed(pool))
    assert list(description.block(slice(3, 3)).features) == list(description.whole().features)
    nothing = Description(pool, CandidatePairs(10, *np.zeros((2, 0), np.int32)))
    assert [len(block) for block in nothing.blocks()] == [0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 10, 100])
def test_graph_is_the_same_for_any_number_of_links_at_a_time(seed: int, size: int) -> None:
    n = 30
    links = random_graph(n, 40 * seed, seed)
    expected, graph = EdgeGraph(n, *links, np), EdgeGraph(n, *links, np, size)
    for one, other in zip(expected.ranks, graph.ranks, strict=True):
        assert one.tobytes() == other.tobytes()
    for key, mean in expected.listings.means.items():
        assert mean.tobytes() == graph.listings.means[key].tobytes()


@pytest.mark.parametrize("seed", range(5))
def test_links_of_each_listing_are_its_best_first_and_equal_ones_by_link(seed: int) -> None:
    n = 30
    left, right, similarity = random_graph(n, 200, seed)
    found = [
        (links.first + end, value)
        for links in links_by_listing(n, left, right, similarity, np, size=20)
        for end, value in zip(links.end.tolist(), links.similarity.tolist(), strict=True)
    ]
    ends = np.concatenate([left, right])
    order = np.lexsort((-np.concatenate([similarity, similarity]), ends))
    expected = zip(ends[order].tolist(), np.concatenate([similarity, similarity])[order].tolist(), strict=True)
    assert found == list(expected)


@pytest.mark.parametrize(
    "titles", [["red mug", "mug", "", "mug  red\tmug", " é zebra "], [""], [], ["  ", "\u3000a\xa0b"]]
)
def test_word_incidence_equals_that_of_the_sets_of_words(titles: list[str]) -> None:
    words = [set(title.split()) for title in titles]
    has, names = word_incidence(titles)
    assert np.array_equal(has.toarray(), incidence(words).toarray())
    assert names == (sorted(set().union(*words)) or [""])


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_describe_the_same_bytes(
    make_pool: Make, make_random_catalog: Make, proposed: Make, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    pool = make_pool(make_random_catalog(40, 3))
    expected = columns_of(Description(pool, proposed(pool)).whole())
    monkeypatch.setattr(assemble, "PART", 7)
    monkeypatch.setattr(branches, "SIZE", 11)
    assert columns_of(Description(replace(pool, threads=threads), proposed(pool)).whole()) == expected


def test_some_pairs_and_families_hold_the_same_bytes(
    make_pool: Make, make_random_catalog: Make, proposed: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "PART", 7)
    pool = make_pool(make_random_catalog(40, 3))
    description = Description(pool, proposed(pool))
    rows = np.arange(1, len(description), 3)
    some = description.block(rows, without=["titles"])
    expected = columns_of(description.whole().only(np.isin(np.arange(len(description)), rows)))
    assert columns_of(some) == {name: column for name, column in expected.items() if not name.startswith("title_")}
    assert len(some) == len(rows)


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_hold_the_blocks_as_they_were_written(
    make_pool: Make, make_random_catalog: Make, proposed: Make, tmp_path: Path
) -> None:
    pool = make_pool(make_random_catalog(40, 3))
    description = Description(pool, proposed(pool))
    for number, start in enumerate(range(0, len(description), 50)):
        write_blocks(description.blocks(start, start + 50, size=20), tmp_path / file_name(number))
    assert len(list(tmp_path.iterdir())) == -(-len(description) // 50) > 2
    assert [len(block) for block in read_blocks(tmp_path)][:4] == [20, 20, 10, 20]
    assert columns_of(read_pairs(tmp_path)) == columns_of(description.whole())


def test_files_without_pairs_have_all_columns(make_pool: Make, make_random_catalog: Make, tmp_path: Path) -> None:
    pool = make_pool(make_random_catalog(3))
    description = Description(pool, CandidatePairs(3, *np.zeros((2, 0), np.int32)))
    write_blocks(description.blocks(), tmp_path / file_name(0))
    for described in (read_pairs(tmp_path), *read_blocks(tmp_path)):
        assert described.n == 3
        assert list(described.features) == list(description.whole().features)


def test_a_file_holds_whole_blocks() -> None:
    assert PAIRS_PER_FILE % BLOCK == 0


# --- memory ----------------------------------------------------------------------------------------------------------


def test_blocks_need_a_small_part_of_the_memory_of_all_features(
    make_pool: Make, make_random_catalog: Make, every_pair: Make
) -> None:
    pool, pairs = make_pool(make_random_catalog(400, 1)), every_pair(400)
    description = Description(pool, pairs)
    in_all = 4 * description.block(slice(0, 1)).features.shape[1] * len(pairs)
    tracemalloc.start()
    for block in description.blocks(size=2000):
        assert isinstance(block.features, pd.DataFrame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < in_all / 4
