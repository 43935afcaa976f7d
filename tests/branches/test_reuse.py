"""Embeddings that are taken over from another pool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from branches import registry
from branches.base import Embedder
from branches.reuse import embed_reusing
from shared.catalog.split import components
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings

TINY = {"size": 64, "embed_size": 64, "dim": 16, "epochs": 0, "batch_size": 16, "embed_batch": 8}


class ByTitle:
    """Embeds a listing by the length of its title alone, and keeps which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def transform(self, listings: Catalog) -> Embeddings:
        self.asked += listings.ids.tolist()
        lengths = np.array([len(title) for title in listings.titles], dtype=np.float32).reshape(-1, 1)
        vectors = np.concatenate([np.sin(lengths), np.cos(lengths)], axis=1) * (lengths > 0)
        return Embeddings(vectors.astype(np.float32), lengths[:, 0] > 0)


def ids(rows: Any) -> list[str]:
    return [f"l{row}" for row in rows]


@pytest.fixture
def listings(catalog_of: Callable[..., Catalog]) -> Catalog:
    titles = ["a", "bb", None, "dddd", "", "a", "ggggggg", "bb"]
    return catalog_of(8, title=titles, phash=list(range(8)), image_sha=[f"sha{row}" for row in range(8)])


def same(made: Embeddings, expected: Embeddings) -> None:
    np.testing.assert_array_equal(made.vectors, expected.vectors)
    np.testing.assert_array_equal(made.present, expected.present)


@pytest.mark.parametrize("before", [[], [0], [2], [4, 2, 6], [7, 6, 5, 4, 3, 2, 1, 0]], ids=str)
def test_only_missing_listings_are_embedded(listings: Catalog, before: list[int]) -> None:
    earlier = listings.take(np.array(before, dtype=np.int64))
    embedder = ByTitle()
    made = embed_reusing(embedder, listings, [(earlier, ByTitle().transform(earlier))])
    assert embedder.asked == ids(row for row in range(8) if row not in before)
    same(made, ByTitle().transform(listings))


def test_without_earlier_embeddings_all_are_embedded(listings: Catalog) -> None:
    embedder = ByTitle()
    same(embed_reusing(embedder, listings, []), ByTitle().transform(listings))
    assert embedder.asked == ids(range(8))


def test_several_earlier_pools(listings: Catalog) -> None:
    pools = [listings.take(np.array(rows)) for rows in ([0, 1], [1, 5])]
    embedder = ByTitle()
    made = embed_reusing(embedder, listings, [(pool, ByTitle().transform(pool)) for pool in pools])
    assert embedder.asked == ids([2, 3, 4, 6, 7])
    same(made, ByTitle().transform(listings))


@pytest.mark.parametrize(("column", "value"), [("title", "other"), ("phash", 99), ("image_sha", "other")])
def test_listing_with_other_evidence_is_embedded_again(listings: Catalog, column: str, value: Any) -> None:
    values = listings.column(column).tolist()
    values[3] = value
    earlier = listings.with_columns({column: values})
    embedder = ByTitle()
    made = embed_reusing(embedder, listings, [(earlier, ByTitle().transform(earlier))])
    assert embedder.asked == ["l3"]
    same(made, ByTitle().transform(listings))


def test_listing_of_other_labels_is_taken_over(listings: Catalog) -> None:
    earlier = listings.with_columns({"label_group": ["g"] * 8})
    embedder = ByTitle()
    embed_reusing(embedder, listings, [(earlier, ByTitle().transform(earlier))])
    assert embedder.asked == []


@pytest.fixture(scope="module", params=[name for name in registry.names() if registry.get(name).learns])
def embedder(
    request: pytest.FixtureRequest,
    demo_catalog: Catalog,
    one_thread: ComputeConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Embedder:
    """Of a branch that learns, with its pretrained weights."""
    branch, folder = registry.get(request.param), tmp_path_factory.mktemp(request.param)
    config = branch.Config(**{key: value for key, value in TINY.items() if key in branch.Config.model_fields})
    branch.train(demo_catalog, components(demo_catalog), config, one_thread, folder)
    return branch.fit(demo_catalog, Path(folder), config, one_thread)


@pytest.mark.slow
@pytest.mark.parametrize("before", [range(0, 40, 3), [39, 0, 7], range(40)], ids=str)
def test_same_to_the_bit_as_embedding_all(embedder: Embedder, demo_catalog: Catalog, before: Any) -> None:
    titles, hashes = demo_catalog.column("title"), demo_catalog.column("image_sha")
    titles[[3, 10]] = hashes[[5, 10]] = None
    listings = demo_catalog.with_columns({"title": titles.tolist(), "image_sha": hashes.tolist()})
    earlier = listings.take(np.array(list(before)))
    made = embed_reusing(embedder, listings.without_labels(), [(earlier, embedder.transform(earlier))])
    same(made, embedder.transform(listings))
    assert made.present.sum() > 0
