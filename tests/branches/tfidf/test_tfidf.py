from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from branches import registry
from branches.candidates import propose
from branches.stages import embed_catalog
from branches.tfidf import embed as embed_module
from branches.tfidf.config import Config
from branches.tfidf.embed import fit
from shared.compute import ComputeConfig
from shared.schema import Candidates, Embeddings
from tests.support.catalogs import catalog_of

embed = partial(embed_catalog, registry.get("tfidf"))

CPU = ComputeConfig(device="cpu")
TITLES = [
    "Freeman Mask All Variant 175ml",
    "Freeman Feeling Beautiful Green Tea Mask 175 mL",
    "apple iphone 8 plus 64gb silver",
    "apple iphone 8 plus 64 gb spacegrau",
    "Sarung tangan karet",
    "x",
    "7",
    "apple iphone 8 plus 64gb silver",
]


def embedded(titles: Sequence[str | None], config: Config | None = None) -> Embeddings:
    return embed(catalog_of(len(titles), title=titles), None, config or Config(), CPU)


def pairs(titles: Sequence[str | None], config: Config | None = None) -> Candidates:
    return propose(embedded(titles, config), config or Config(), CPU)


def cosines(embeddings: Embeddings) -> np.ndarray:
    wide = embeddings.vectors.astype(np.float64)
    return (wide @ wide.T).toarray()


@pytest.mark.parametrize("config", [Config(), Config(words=2, word_weight=0.6, max_chars=5, sublinear=False)])
def test_cosine_is_weighted_mean_of_words_and_characters(config: Config) -> None:
    lower = [t.lower().replace("175 ml", "175ml").replace("64 gb", "64gb") for t in TITLES]  # as normalized
    words = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, config.words), sublinear_tf=config.sublinear)
    span = (config.min_chars, config.max_chars)
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=span, sublinear_tf=config.sublinear)
    by_kind = [(v @ v.T).toarray() for v in (words.fit_transform(lower), chars.fit_transform(lower))]
    expected = config.word_weight * by_kind[0] + (1 - config.word_weight) * by_kind[1]
    np.testing.assert_allclose(cosines(embedded(TITLES, config)), expected, atol=1e-6)


@pytest.mark.parametrize("config", [Config(), Config(words=2, word_weight=1, sublinear=False, min_listings=2)])
def test_vectors_are_to_the_last_digit_those_of_the_formula(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_module, "BLOCK", 7)
    lower = [t.lower().replace("175 ml", "175ml").replace("64 gb", "64gb") for t in TITLES]
    span, options = (
        (config.min_chars, config.max_chars),
        {"sublinear_tf": config.sublinear, "min_df": config.min_listings},
    )
    words = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, config.words), **options)
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=span, **options)
    weights = np.sqrt(config.word_weight), np.sqrt(1 - config.word_weight)
    parts = [v.fit_transform(lower).multiply(weight) for v, weight in zip((words, chars), weights, strict=True)]
    joined = sparse.hstack(parts, format="csr").toarray()
    norms = [sum(row**2, start=0.0) ** 0.5 for row in joined]  # in the order of the terms
    expected = np.array([row * (1 / norm) if norm else row for row, norm in zip(joined, norms, strict=True)])
    np.testing.assert_array_equal(embedded(TITLES, config).vectors.toarray(), expected.astype(np.float32))


def test_vectors_are_sparse_float32_unit_rows() -> None:
    found = embedded(TITLES)
    assert found.vectors.format == "csr"
    assert found.vectors.dtype == np.float32
    assert all((np.diff(row) > 0).all() for row in np.split(found.vectors.indices, found.vectors.indptr[1:-1]))
    np.testing.assert_allclose(cosines(found).diagonal(), 1, atol=1e-6)


def test_titles_equal_once_normalized() -> None:
    found = pairs(["Sabun MANDI, 250 ml!", "sabun mandi 250ml", "lampu tidur"])
    assert (found.left[0], found.right[0], found.similarity[0]) == (0, 1, 1.0)
    assert (found.rank_left[0], found.rank_right[0]) == (1, 1)


@pytest.mark.fault(3)
def test_title_without_words_is_no_evidence() -> None:
    titles = ["", None, "   ", "!!! ---", "🎉", "sabun mandi", "sabun cuci"]
    assert embedded(titles).present.tolist() == [False] * 5 + [True] * 2
    found = pairs(titles)
    assert list(zip(found.left, found.right, strict=True)) == [(5, 6)]


@pytest.mark.fault(12)
@pytest.mark.parametrize("titles", [[], [""], ["", "", "!"], ["sabun"], ["sabun", ""]])
def test_pool_without_two_titles(titles: list[str], tmp_path: Path) -> None:
    found = embedded(titles)
    assert found.present.tolist() == [t == "sabun" for t in titles]
    found.save(tmp_path / "e.safetensors")
    loaded = Embeddings.load(tmp_path / "e.safetensors")
    assert len(propose(loaded, Config(), CPU)) == 0


def test_min_listings_excludes_rare_terms() -> None:
    config = Config(min_listings=2)
    found = embedded(["abcd", "abce", "sabun", "sabun", "uvw"], config)
    assert found.present.tolist() == [True, True, True, True, False]  # nothing of "uvw" occurs elsewhere
    similarity = cosines(found)
    np.testing.assert_allclose(similarity[0, 1], 1, atol=1e-6)  # no common word, the same common characters
    np.testing.assert_allclose(similarity[2, 3], 1, atol=1e-6)
    assert not embedded(["abc", "def"], config).present.any()


def test_short_word_counts() -> None:
    similarity = cosines(embedded(["iphone x", "iphone x", "iphone y", "iphone"]))
    assert similarity[0, 1] > similarity[0, 2]
    assert embedded(["x", "7"]).present.all()


@pytest.mark.fault(11)
def test_candidates_are_neighbors_and_ties() -> None:
    titles = [*(f"sabun mandi cair varian {i:03d}" for i in range(40)), "sabun mandi", "sabun mandi", "sabun mandi"]
    found = pairs(titles, Config(neighbors=1))
    assert {(40, 41), (40, 42), (41, 42)} <= set(zip(found.left, found.right, strict=True))
    assert found.rank_left.max() == 1
    assert len(found) < len(pairs(titles, Config(neighbors=5)))


@settings(deadline=None, max_examples=25)
@given(st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(random: Random) -> None:
    titles = TITLES * 2 + ["", *(f"kaos {c} {s}" for c in ["merah", "biru", "hitam"] for s in ["s", "m", "l", "xl"])]
    order = list(range(len(titles)))
    random.shuffle(order)
    there, here = embedded(titles), embedded([titles[i] for i in order])
    assert (there.vectors[order] != here.vectors).nnz == 0  # to the last bit
    assert ranks(propose(there, Config(neighbors=3), CPU)) == ranks(propose(here, Config(neighbors=3), CPU), order)


def ranks(found: Candidates, names: Sequence[int] | None = None) -> dict[tuple[int, int], tuple[float, int]]:
    """(listing, neighbor) → (similarity, rank), both ways round."""
    name = np.asarray(range(found.n) if names is None else names)
    left, right = name[found.left].tolist(), name[found.right].tolist()
    similarity = found.similarity.tolist()
    there = zip(zip(left, right, strict=True), zip(similarity, found.rank_left.tolist(), strict=True), strict=True)
    back = zip(zip(right, left, strict=True), zip(similarity, found.rank_right.tolist(), strict=True), strict=True)
    return {**dict(there), **dict(back)}


def test_labels_are_not_used() -> None:
    plain = catalog_of(len(TITLES), title=TITLES)
    labeled = plain.with_columns({"label_group": [str(i % 2) for i in range(len(TITLES))]})
    assert (embed(labeled, None, Config(), CPU).vectors != embed(plain, None, Config(), CPU).vectors).nnz == 0


def test_contradicting_settings() -> None:
    with pytest.raises(ValueError, match="min_chars=6 is above max_chars=4"):
        Config(min_chars=6)
    with pytest.raises(ValueError, match="word_weight"):
        Config(word_weight=1.5)


@pytest.mark.parametrize("config", [Config(), Config(words=2, sublinear=False), Config(word_weight=1)])
@pytest.mark.parametrize("new", ["apple iphone 9 plus 64 gb purpur", "Freeman Mask", "zzz", "", None])
def test_new_listing_is_embedded_as_if_in_the_pool(new: str | None, config: Config) -> None:
    whole = catalog_of(len(TITLES) + 1, title=[*TITLES, new])
    embed_listings = fit(whole.take(np.arange(len(TITLES))), None, config, CPU)
    expected = cosines(embed(whole, None, config, CPU))
    for rows in ([2, 3, 8], [8], [*range(9)]):
        found = embed_listings.transform(whole.take(np.array(rows)))
        np.testing.assert_allclose(cosines(found), expected[np.ix_(rows, rows)], atol=1e-6)
    alone, pool = (embed_listings.transform(whole.take(np.array(rows))).vectors for rows in ([8], [*range(8)]))
    shared = min(alone.shape[1], pool.shape[1])  # the pool's terms come first
    known = (pool[:, :shared] @ alone[:, :shared].T).toarray()[:, 0]
    np.testing.assert_allclose(known, expected[:8, 8], atol=0.1)


@pytest.mark.parametrize("new", ["apple zzz", "zebrax", "mandi zebrax"])
def test_new_listing_makes_terms_common(new: str) -> None:
    """Where a term must be in two listings, the newcomer may be the second one."""
    config, whole = (
        Config(min_listings=2),
        catalog_of(6, title=["sabun mandi", "sabun cuci", "zebrax", "apple", "", new]),
    )
    found = fit(whole.take(np.arange(5)), None, config, CPU).transform(whole)
    expected = embed(whole, None, config, CPU)
    assert found.present.tolist() == expected.present.tolist()
    np.testing.assert_allclose(cosines(found), cosines(expected), atol=1e-6)
