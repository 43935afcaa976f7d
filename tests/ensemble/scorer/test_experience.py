"""What a scorer was trained on is kept, and other catalogs are compared with it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from ensemble.features.assemble import feature_names
from ensemble.scorer.distribution import Distribution, PoolFeatures
from ensemble.scorer.experience import FILE, LEAST_LIMIT, Experience, Unlikeness
from ensemble.scorer.feature_words import in_words
from shared.errors import ArtifactError
from shared.schema import PairFeatures

IMPORTANCE = {"tfidf_cosine": 0.6, "title_chars_low": 0.3, "image_cosine": 0.1, "tfidf_pool_lead50": 0.4}


def pool(p: int, seed: int, hopeless: int = 0, **shifts: float) -> PairFeatures:
    """p pairs of nearest neighbors with normal features, some shifted, and pairs that are all alike but hopeless."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({name: rng.standard_normal(p) + shifts.get(name, 0) for name in IMPORTANCE})
    table["tfidf_pool_lead50"] = seed
    table["all_rank_low"] = 1
    table = pd.concat([table, pd.DataFrame(9, index=range(hopeless), columns=table.columns)]).astype(np.float32)
    rows = np.arange(len(table), dtype=np.int32)
    return PairFeatures(len(table) + 1, rows, rows + 1, table)


@pytest.fixture(scope="module")
def experience() -> Experience:
    pools = [pool(2000, 0), pool(300, 1, tfidf_cosine=-1), pool(2000, 2), pool(300, 3, tfidf_cosine=-1)]
    return Experience.of_pools(pools, [0, 0, 1, 1], IMPORTANCE)


# --- distributions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 0.3, 1, 5])
@pytest.mark.parametrize("digits", [0, 1, 6])
def test_distance_is_nearly_that_of_scipy(shift: float, digits: int) -> None:
    rng = np.random.default_rng(4)
    one, other = (np.round(rng.standard_normal(3000) + by, digits) for by in (0, shift))
    a, b = Distribution.of(one), Distribution.of(other)
    assert a.distance(b) == b.distance(a) == pytest.approx(ks_2samp(one, other).statistic, abs=0.05)


@pytest.mark.parametrize(("one", "other"), [(0.0, 1.0), (1.0, 1.0), (0.25, 0.75), (0.5, 0.5)])
def test_distance_counts_missing_values(one: float, other: float) -> None:
    a, b = (Distribution.of(np.where(np.arange(400) < 400 * share, np.nan, 3.0)) for share in (one, other))
    assert a.distance(b) == b.distance(a) == pytest.approx(abs(one - other))


@pytest.mark.parametrize("p", [3, 30, 300])
def test_small_samples_of_one_distribution_are_near(p: int) -> None:
    large = PoolFeatures.of(pool(5000, 0), ["tfidf_cosine"])
    distances = [PoolFeatures.of(pool(p, seed), ["tfidf_cosine"]).distances([large]) for seed in range(1, 50)]
    assert np.mean([distance["tfidf_cosine"] for distance in distances]) < 0.08


# --- comparison ------------------------------------------------------------------------------------------------------


def test_compare_like_catalog(experience: Experience) -> None:
    assert experience.limit == LEAST_LIMIT
    for catalog in (pool(1000, 7), pool(1000, 8, tfidf_cosine=-1), pool(40, 9), pool(0, 10)):
        assert not experience.compare(catalog, IMPORTANCE).is_unlike


def test_compare_weighs_features_by_importance(experience: Experience) -> None:
    shifted = [
        experience.compare(pool(1000, 7, **{name: 9.0}), IMPORTANCE) for name in ("tfidf_cosine", "image_cosine")
    ]
    assert [found.distance for found in shifted] == pytest.approx([0.6, 0.1], abs=0.04)
    assert [found.reasons for found in shifted] == [
        ("tfidf: similarity of the likeliest pairs",),
        ("image: similarity of the likeliest pairs",),
    ]


def test_compare_names_the_largest_share_first(experience: Experience) -> None:
    found = experience.compare(pool(1000, 7, title_chars_low=9, image_cosine=9, tfidf_cosine=2), IMPORTANCE)
    assert found.is_unlike
    assert [reason.split(":")[0] for reason in found.reasons] == ["tfidf", "length of titles", "image"]


@pytest.mark.parametrize(("share", "words"), [(1.0, "no images"), (0.6, "fewer images")])
def test_compare_names_missing_evidence(share: float, words: str, experience: Experience) -> None:
    catalog = pool(1000, 7)
    catalog.features.loc[np.arange(1000) < 1000 * share, "image_cosine"] = np.nan
    assert experience.compare(catalog, IMPORTANCE).reasons == (words,)
    trained = Experience.of_pools([catalog, catalog], [0, 1], IMPORTANCE)
    assert trained.compare(pool(1000, 8), IMPORTANCE).reasons == ("more images",)


def test_hopeless_pairs_do_not_hide_the_difference() -> None:
    pools = [pool(1000, seed, hopeless=20000) for seed in (0, 1)]
    experience = Experience.of_pools(pools, [0, 1], IMPORTANCE)
    assert not experience.compare(pool(1000, 2, hopeless=500), IMPORTANCE).is_unlike
    assert experience.compare(pool(1000, 2, hopeless=20000, tfidf_cosine=3), IMPORTANCE).distance > 0.4


def test_limit_rises_with_the_distance_between_folds() -> None:
    apart = Experience.of_pools([pool(1000, 0), pool(1000, 1, tfidf_cosine=1)], [0, 1], IMPORTANCE)
    assert 0.2 < apart.limit < 0.4
    assert not apart.compare(pool(1000, 2, tfidf_cosine=-0.5), IMPORTANCE).is_unlike


@pytest.mark.parametrize("folds", [[0, 0], [0, 1]])
def test_nothing_is_unlike_without_another_fold(folds: list[int]) -> None:
    lone = Experience.of_pools([pool(100, 0), pool(100 * (folds[1] == 0), 1)], folds, IMPORTANCE)
    assert lone.limit == 1
    assert not lone.compare(pool(100, 2, tfidf_cosine=9), IMPORTANCE).is_unlike


def test_every_feature_has_words() -> None:
    for names in feature_names(["image", "distilbert", "tfidf", "phash"]).values():
        for name in names:
            if "_pool_lead" not in name:
                words = {in_words(name), in_words(name, "no")}
                assert not [word for word in words if "_" in word or name in word]


# --- files -----------------------------------------------------------------------------------------------------------


def test_saved_experience_compares_the_same(experience: Experience, tmp_path: Path) -> None:
    experience.save(tmp_path)
    again, catalog = Experience.load(tmp_path), pool(1000, 7, tfidf_cosine=2)
    assert again.limit == experience.limit
    assert [(one.pairs, one.fold) for one in again.pools] == [(one.pairs, one.fold) for one in experience.pools]
    assert again.compare(catalog, IMPORTANCE).distance == pytest.approx(
        experience.compare(catalog, IMPORTANCE).distance, abs=1e-4
    )
    found = again.compare(catalog, IMPORTANCE)
    assert Unlikeness.from_json(found.to_json()) == found


def test_load_refuses_scorers_of_older_versions(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="trained by an older version; train it again"):
        Experience.load(tmp_path)


@pytest.mark.fault(20)
@pytest.mark.parametrize("columns", [None, {"feature": ["a"]}])
def test_load_refuses_damaged_files(columns: dict[str, list[str]] | None, tmp_path: Path) -> None:
    if columns is None:
        (tmp_path / FILE).write_bytes(b"PAR1")
    else:
        pd.DataFrame(columns).to_parquet(tmp_path / FILE)
    with pytest.raises(ArtifactError, match="is not of this version"):
        Experience.load(tmp_path)
