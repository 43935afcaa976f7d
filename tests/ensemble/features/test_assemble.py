from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from ensemble.config import Family
from ensemble.features.assemble import FAMILIES, feature_names, pair_features
from ensemble.features.incidence import incidence, shared_weight
from ensemble.pool_views import PoolViews
from shared.schema import PairFeatures
from shared.titles import LONGEST
from tests.support.timing import at_most
from tests.support.titles import HOSTILE, UNREADABLE, break_titles

Make = Callable[..., Any]
TITLES = ["Tas Ransel 500 ml", "tas ransel 0.5l", "Kaos merah XL isi 10", "kaos red xl 10 pcs", None, "tas", "!!!"]


def by_ids(pool: PoolViews, described: PairFeatures) -> pd.DataFrame:
    """Features by the unordered ids of the two listings."""
    ids = pool.catalog.ids
    index = [tuple(sorted((ids[i], ids[j]))) for i, j in zip(described.left, described.right, strict=True)]
    return described.features.set_index(pd.MultiIndex.from_tuples(index, names=["one", "other"])).sort_index()


def titled(make_catalog: Make, titles: list[str | None]) -> Any:
    shas = [None if at % 3 == 2 else f"sha{at // 2}" for at in range(len(titles))]
    facts = {
        name: [None if sha is None else 100 + at for at, sha in enumerate(shas)]
        for name in ("width", "height", "bytes")
    }
    return make_catalog(titles, image_sha=shas, **facts)


# --- the same for (a, b) and (b, a) ----------------------------------------------------------------------------------


@pytest.mark.fault(14)
@pytest.mark.parametrize("seed", range(4))
def test_pair_features_for_any_order_of_listings(
    make_pool: Make, make_random_catalog: Make, moved: Make, proposed: Make, seed: int
) -> None:
    n = 40
    pool = make_pool(make_random_catalog(n, seed))
    expected = by_ids(pool, pair_features(pool, proposed(pool)))
    assert len(expected) > 60
    for order in (np.arange(n)[::-1].copy(), np.random.default_rng(seed).permutation(n)):
        other = moved(pool, order)
        found = by_ids(other, pair_features(other, proposed(other)))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.fault(14)
def test_pair_features_are_symmetric(make_catalog: Make, make_pool: Make, every_pair: Make) -> None:
    for i, one in enumerate(TITLES):
        for other in TITLES[i:]:
            forth, back = (
                pair_features(make_pool(titled(make_catalog, titles)), every_pair(3)).features
                for titles in ([one, other, "tas"], [other, one, "tas"])
            )
            of_titles = [
                name
                for name in map(str, forth)
                if name.split("_")[0] in ("title", "quantity", "model", "color", "number")
            ]
            assert len(of_titles) > 20
            pd.testing.assert_series_equal(forth[of_titles].iloc[0], back[of_titles].iloc[0], check_exact=True)


# --- always the same columns -----------------------------------------------------------------------------------------


@pytest.mark.fault(3)
@pytest.mark.parametrize(
    "titles",
    [TITLES, [None] * 4, ["…"] * 4, ["tas"] * 4, ["tas"], ["tas", None], []],
    ids=["titles", "no titles", "no words", "one word", "one listing", "two listings", "no listing"],
)
def test_pair_features_columns_and_dtypes(
    make_catalog: Make, make_pool: Make, every_pair: Make, proposed: Make, titles: list[str | None]
) -> None:
    usual = make_pool(titled(make_catalog, TITLES))
    columns = list(pair_features(usual, every_pair(len(TITLES))).features)
    pool = make_pool(titled(make_catalog, titles))
    for pairs in (every_pair(len(titles)), proposed(pool)):
        described = pair_features(pool, pairs)
        assert list(described.features) == columns
        assert len(described.features) == len(pairs)
        assert set(described.features.dtypes) == {np.dtype(np.float32)}
        assert not np.isinf(described.features.to_numpy()).any()
        assert described.left is pairs.left
        assert described.right is pairs.right


@pytest.mark.fault(3)
def test_pair_features_of_missing_content(make_catalog: Make, make_pool: Make, every_pair: Make) -> None:
    features = pair_features(make_pool(make_catalog([None, None])), every_pair(2)).features
    of_branches_and_listings = features.drop(columns=[name for name in map(str, features) if name.startswith("all_")])
    assert of_branches_and_listings.isna().to_numpy().all()


def test_feature_names_are_unique_identifiers(make_pool: Make, make_random_catalog: Make, proposed: Make) -> None:
    pool = make_pool(make_random_catalog(10))
    pairs = proposed(pool)
    names = [name for family in FAMILIES.values() for name in family(pool, pairs)(slice(None))]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


def test_feature_names_equal_columns(make_catalog: Make, make_pool: Make, every_pair: Make) -> None:
    pool = make_pool(make_catalog(["tas", "tas ransel", "kaos"], image_sha=["a", None, "b"]))
    names = feature_names(pool.branches)
    assert tuple(names) == tuple(FAMILIES) == get_args(Family)
    assert [name for family in names.values() for name in family] == list(pair_features(pool, every_pair(3)).features)
    few = pair_features(pool, every_pair(3), ["images", "titles"])
    assert list(few.features) == names["images"] + names["titles"]


def test_pair_features_without_pairs(make_pool: Make, make_random_catalog: Make, proposed: Make) -> None:
    some, none = make_pool(make_random_catalog(10)), make_pool(make_random_catalog(0))
    frames = [pair_features(pool, proposed(pool)).features for pool in (some, none)]
    assert set(pd.concat(frames).dtypes) == {np.dtype(np.float32)}


# --- what two listings have in common --------------------------------------------------------------------------------


def test_incidence_for_any_order_of_listings() -> None:
    has = [{"b", "a"}, set(), {"c"}, {"a", "c", "d"}]
    forth, back = incidence(has), incidence(has[::-1])
    assert np.array_equal(forth.toarray(), back.toarray()[::-1])
    assert forth.toarray().tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1]]


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_shared_weight_for_any_block_size(every_pair: Make, block: int) -> None:
    has = incidence([{"a", "b"}, {"b"}, {"c", "b", "a"}, set()])
    assert shared_weight(has, has, every_pair(4), block).tolist() == [1, 2, 0, 1, 0, 0]
    assert shared_weight(has, has, every_pair(0), block).tolist() == []


# --- hostile titles --------------------------------------------------------------------------------------------------


@pytest.mark.fault(31)
def test_a_title_that_cannot_be_read_costs_its_listing_the_evidence(
    monkeypatch: pytest.MonkeyPatch, make_catalog: Make, every_pair: Make
) -> None:
    titles = ["tea 5 kg", "tea 5000 g", None]
    expected = pair_features(PoolViews(make_catalog(titles), {}), every_pair(3), ["titles", "attributes"]).features
    break_titles(monkeypatch, RecursionError)
    pool = PoolViews(make_catalog([*titles[:2], UNREADABLE]), {})
    pd.testing.assert_frame_equal(pair_features(pool, every_pair(3), ["titles", "attributes"]).features, expected)


@pytest.mark.fault(3, 31)
def test_endless_hostile_titles_are_described_in_seconds(make_catalog: Make, every_pair: Make) -> None:
    titles = [f"{n} " + piece * (300_000 // len(piece)) for n, piece in enumerate(HOSTILE[:12])]
    with at_most(10):
        pool = PoolViews(make_catalog(titles), {})
        pair_features(pool, every_pair(12), ["titles", "attributes"])
    assert max(map(len, pool.titles)) <= LONGEST
