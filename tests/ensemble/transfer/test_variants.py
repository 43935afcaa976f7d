"""The pools that are made of a holdout."""

from itertools import pairwise

import numpy as np
import pytest

from ensemble.transfer.variants import SIZES, TWICE, WHOLE, twice, variants, whole_products

SIZES_OF_PRODUCTS = np.tile([2, 3, 5, 8], 10)
CODES = np.random.default_rng(0).permutation(np.repeat(np.arange(40), SIZES_OF_PRODUCTS))


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 1])
def test_twice_keeps_two_listings_of_a_share_of_the_products(share: float) -> None:
    rows = twice(CODES, share, seed=3)
    kept = np.bincount(CODES[rows], minlength=40)
    assert np.bincount(kept, minlength=3).tolist() == [0, 40 - round(40 * share), round(40 * share)]
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_twice_takes_all_products_of_several_listings_where_they_are_too_few() -> None:
    product = np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 6])
    kept = np.bincount(product[twice(product, 0.9, seed=0)])
    assert kept.tolist() == [1, 2, 1, 2, 1, 1, 1]


@pytest.mark.parametrize("share", [0.1, 0.3, 1])
def test_whole_products_keep_all_their_listings(share: float) -> None:
    rows = whole_products(CODES, share, seed=3)
    kept = np.bincount(CODES[rows], minlength=40)
    assert (kept > 0).sum() == round(40 * share)
    assert set(kept[kept > 0] - SIZES_OF_PRODUCTS[kept > 0]) == {0}


def test_whole_products_are_never_none() -> None:
    assert CODES[whole_products(CODES, 0.001, seed=0)].size > 0


@pytest.mark.parametrize("kind", [TWICE, SIZES])
def test_smaller_pools_lie_in_larger_ones(kind: dict[str, float]) -> None:
    pools = variants(CODES, seed=1)
    nested = [set(pools[name].tolist()) for name in kind] + [set(pools[WHOLE].tolist())]
    assert all(small < large for small, large in pairwise(nested))


def test_variants_take_an_unlabeled_listing_for_a_product() -> None:
    codes = np.array([-1, 0, 0, -1, 1])
    pools = variants(codes, seed=0)
    assert {0, 3, 4} < set(pools["every product once"].tolist())
    assert len(pools["every product once"]) == 4


def test_variants_depend_on_the_seed_alone() -> None:
    first, again, other = (variants(CODES, seed) for seed in (1, 1, 2))
    assert all((first[name] == again[name]).all() for name in first)
    assert all(first[name].tolist() != other[name].tolist() for name in first if name != WHOLE)
