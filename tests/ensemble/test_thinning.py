"""Pools in which fewer products have several listings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from branches import registry
from ensemble.config import EnsembleConfig, ScorerConfig
from ensemble.sections import sections
from ensemble.thinned_pools import load_thinned_rows, thinned_name
from ensemble.thinning import described_pool, kinds_of, thin
from ensemble.training_stages import labeled_pools, thinned_stages
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes
from shared.pipeline.pools import fold_pools, load_catalog
from shared.pipeline.settings import Settings
from shared.schema import Embeddings

CODES = np.repeat(np.arange(2000), np.random.default_rng(0).integers(1, 6, 2000))


# --- which listings stay ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_thin_keeps_the_share_of_products_with_several_listings(share: float) -> None:
    kept = np.bincount(CODES[thin(CODES, share, seed=1)], minlength=2000)
    whole = np.bincount(CODES)
    assert (kept >= 1).all()
    assert (kept <= whole).all()
    assert np.mean(kept > 1) == pytest.approx(min(share, np.mean(whole > 1)), abs=1e-3)
    several = (whole > 2) & (kept > 1)
    assert set(kept[several]) <= {2, 3, 4, 5}
    if share:
        assert np.mean(kept[several] == 2) == pytest.approx(0.5, abs=0.08)
        assert (kept[several & (kept > 2)] == whole[several & (kept > 2)]).all()


def test_thin_keeps_listings_without_a_label() -> None:
    assert thin(np.array([-1, 0, 0, -1]), 0, seed=3).tolist() in ([0, 1, 3], [0, 2, 3])
    assert thin(np.array([-1, -1]), 0, seed=0).tolist() == [0, 1]
    assert thin(np.zeros(0, dtype=int), 0.5, seed=0).tolist() == []


def test_thin_takes_any_listing_and_depends_on_the_seed() -> None:
    codes = np.zeros(4, dtype=int)
    assert {int(thin(codes, 0, seed)[0]) for seed in range(50)} == {0, 1, 2, 3}
    rows = [thin(CODES, 0.3, seed) for seed in (1, 1, 2)]
    assert rows[0].tolist() == rows[1].tolist() != rows[2].tolist()
    assert (np.diff(rows[0]) > 0).all()


# --- what is worked out again ----------------------------------------------------------------------------------------


def test_thin_takes_a_part_of_the_products() -> None:
    rows = thin(CODES, 0.3, seed=1, part=1 / 3)
    kept = np.bincount(CODES[rows], minlength=2000)
    products = (kept > 0).sum()
    assert products == pytest.approx((np.bincount(CODES, minlength=2000) > 0).sum() / 3, rel=0.1)
    assert (kept > 1).sum() == pytest.approx(0.3 * products, rel=0.15)
    assert (np.diff(rows) > 0).all()
    unlabeled = thin(np.full(3000, -1), 0.5, seed=2, part=1 / 3)
    assert 900 < len(unlabeled) < 1100


def test_described_pool_of_no_listings_asks_for_no_encoder(make_catalog: Callable[..., Any]) -> None:
    settings = Settings({}, sections())
    nothing = Embeddings(np.zeros((0, 4), np.float32), np.zeros(0, bool))
    config = {"distilbert": settings[registry.get("distilbert").Config]}
    part = described_pool(make_catalog([]), {"distilbert": nothing}, config, ["branches"], ComputeConfig(device="cpu"))
    assert (part.n, len(part)) == (0, 0)


def test_described_pool_is_that_of_a_catalog_of_its_own(make_catalog: Callable[..., Any]) -> None:
    settings = Settings({}, sections())
    titles = [f"{color} {thing} {size}" for color in ("red", "blue") for thing in ("mug", "fan") for size in "123"]
    catalog = make_catalog(titles)
    configs = {"tfidf": settings[settings.sections["tfidf"]]}
    compute = ComputeConfig(device="cpu", threads=1)
    rows = np.array([0, 1, 5, 7, 11])
    part = described_pool(catalog.take(rows), {}, configs, ["branches", "pool"], compute)
    alone = described_pool(make_catalog([titles[row] for row in rows]), {}, configs, ["branches", "pool"], compute)
    whole = described_pool(catalog, {}, configs, ["branches", "pool"], compute)
    assert part.features.equals(alone.features)
    assert part.features["tfidf_pool_lead75"].iloc[0] != whole.features["tfidf_pool_lead75"].iloc[0]


# --- in a run --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_thinned_pools_of_a_run(first: tuple[Path, str]) -> None:
    run, shares = first[0], ScorerConfig().thinned
    kinds = kinds_of(shares)
    for pool in fold_pools(2):
        codes = label_codes(load_catalog(run / pool.stage).labels)
        kept = load_thinned_rows(run / thinned_name(pool.name))
        assert len(kept) == len(kinds) == 2 * len(shares)
        assert shares[0] == 0
        for part in (kept[: len(shares)], kept[len(shares) :]):
            assert np.bincount(codes[part[0]]).max() == 1
        sizes = [len(rows) for rows in kept]
        assert sizes[: len(shares)] == sorted(sizes[: len(shares)])
        assert sum(sizes[len(shares) :]) < sum(sizes[: len(shares)])
    stages = [(pool.name, pool.fold, pool.source) for pool in fold_pools(2)]
    pools = labeled_pools(lambda name: run / name, stages, thinned=True)
    assert [pool.fold for pool in pools] == [0] * (1 + len(kinds)) + [1] * (1 + len(kinds))
    assert all(pool.pairs.n == len(pool.codes) for pool in pools)
    assert {len(pool.pairs.features.columns) for pool in pools} == {len(pools[0].pairs.features.columns)}


def test_no_thinned_pools_where_none_are_wanted() -> None:
    settings = Settings({"scorer": {"thinned": []}}, sections())
    assert thinned_stages(fold_pools(2), settings) == []
    assert EnsembleConfig().features[-1] == "pool"
