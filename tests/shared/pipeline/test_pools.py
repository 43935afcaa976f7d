"""Pools, and the listings that an encoder may be trained on."""

import numpy as np
import pytest

from shared.catalog.split import HOLDOUT, Split
from shared.pipeline.pools import ALL, CATALOG_POOL, HOLDOUT_POOL, all_pools, fold_pools, training_rows


def test_all_pools() -> None:
    pools = all_pools(2)
    assert pools == [*fold_pools(2), HOLDOUT_POOL, CATALOG_POOL]
    assert [pool.stage for pool in pools] == ["pools/fold0", "pools/fold1", "pools/holdout", "pools/catalog"]
    assert [pool.encoder for pool in pools] == ["fold0", "fold1", ALL, ALL]


@pytest.mark.parametrize(
    ("encoder", "rows"), [("fold0", [2, 3, 5]), ("fold1", [0, 3, 6]), ("fold2", [0, 2, 5, 6]), (ALL, [0, 2, 3, 5, 6])]
)
def test_training_rows_are_all_but_the_fold_and_the_holdout(encoder: str, rows: list[int]) -> None:
    fold = np.array([0, HOLDOUT, 1, 2, HOLDOUT, 1, 0], dtype=np.int8)
    ids = np.array([f"l{row}" for row in range(7)], dtype=object)
    split = Split(posting_id=ids, fold=fold, component=np.arange(7, dtype=np.int32))
    assert training_rows(split, encoder).tolist() == rows


def test_all_pools_of_several_sources() -> None:
    pools = all_pools(2, ["a", "b"])
    names = ["fold0-a", "fold0-b", "fold1-a", "fold1-b", "holdout-a", "holdout-b", "catalog-a", "catalog-b"]
    assert [pool.name for pool in pools] == names
    assert [pool.encoder for pool in pools] == ["fold0", "fold0", "fold1", "fold1", *[ALL] * 4]
    assert [(pool.fold, pool.source) for pool in pools[1:5]] == [(0, "b"), (1, "a"), (1, "b"), (HOLDOUT, "a")]
