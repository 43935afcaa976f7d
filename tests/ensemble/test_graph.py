from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ensemble.features.graph import CLOSE, of_graph
from shared.schema import Pairs

Make = Callable[..., Any]


@pytest.mark.parametrize("neighbours", [2, CLOSE, CLOSE + 5])
def test_common_neighbours_equal_the_jaccard_index_of_sets(
    make_pool: Make, make_random_catalog: Make, every_pair: Make, neighbours: int
) -> None:
    n = 40
    pool = make_pool(make_random_catalog(n, seed=neighbours), neighbours=neighbours)
    pairs: Pairs = every_pair(n)
    features = of_graph(pool, pairs)
    assert set(features) == {f"{name}_common" for name in pool.branches}
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
    assert np.isnan(features["words_common"]).tolist() == [True, True, False]
