"""What `branches/stages.py` asks of a branch, checked on every branch that there is."""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from branches import registry
from branches.base import BranchConfig, Embedder
from branches.candidates import propose
from shared.catalog.split import components
from shared.compute import ComputeConfig
from shared.errors import ArtifactError
from shared.schema import Candidates, Catalog, Embeddings

TINY = {"size": 64, "embed_size": 64, "dim": 16, "epochs": 1, "batch_size": 16, "embed_batch": 8, "neighbors": 4}
BARE = (0, 17, 39)  # rows of listings with neither title nor picture
PLAIN = tuple(row for row in range(40) if row not in BARE)


def changed(catalog: Catalog, **columns: list[Any]) -> Catalog:
    return catalog.with_columns(columns)


@pytest.fixture(scope="module")
def pool(demo_catalog: Catalog) -> Catalog:
    """The demo with some listings that no branch can know anything about."""
    blank = ("title", "image", "phash", "image_sha", "width", "height", "bytes")
    columns = {name: demo_catalog.column(name) for name in blank}
    for values in columns.values():
        values[list(BARE)] = None
    return changed(demo_catalog, **{name: values.tolist() for name, values in columns.items()})


@dataclass(frozen=True)
class Trained:
    """A branch with tiny settings, its encoder trained if it has one."""

    name: str
    config: BranchConfig
    compute: ComputeConfig
    encoder: Path | None

    @property
    def learns(self) -> bool:
        return registry.get(self.name).learns

    def with_neighbors(self, k: int) -> "Trained":
        return replace(self, config=self.config.model_copy(update={"neighbors": k}))

    def train(self, catalog: Catalog, out: Path) -> Mapping[str, Any]:
        out.mkdir()
        return registry.get(self.name).train(catalog, components(catalog), self.config, self.compute, out)

    def fit(self, pool: Catalog) -> Embedder:
        return registry.get(self.name).fit(pool, self.encoder, self.config, self.compute)

    def embed(self, catalog: Catalog) -> Embeddings:
        return self.fit(catalog).transform(catalog)

    def candidates(self, embeddings: Embeddings) -> Candidates:
        return propose(embeddings, self.config, self.compute)

    def pairs(self, catalog: Catalog) -> Candidates:
        return self.candidates(self.embed(catalog))


@pytest.fixture(scope="module", autouse=True)
def _no_network() -> Iterator[None]:
    def refuse(*_: object) -> None:
        pytest.fail("asks a network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="module", params=registry.names())
def branch(
    request: pytest.FixtureRequest, pool: Catalog, one_thread: ComputeConfig, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    cls = registry.get(request.param).Config
    config = cls(**{key: value for key, value in TINY.items() if key in cls.model_fields})
    branch = Trained(request.param, config, one_thread, None)
    if not branch.learns:
        return branch
    encoder = tmp_path_factory.mktemp(request.param) / "encoder"
    branch.train(pool, encoder)
    return replace(branch, encoder=encoder)


@pytest.fixture(scope="module")
def embeddings(branch: Trained, pool: Catalog) -> Embeddings:
    return branch.embed(pool)


@pytest.fixture(scope="module")
def found(branch: Trained, embeddings: Embeddings) -> Candidates:
    return branch.candidates(embeddings)


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for the log, which speaks of times."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != "log")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def saved(made: Embeddings | Candidates, folder: Path) -> bytes:
    made.save(folder / "saved")
    return (folder / "saved").read_bytes()


def by_id(made: Candidates, ids: NDArray[Any]) -> dict[frozenset[tuple[str, int]], float]:
    """Candidates without their order: both ids, each with the rank that the other has for it → similarity."""
    columns = (ids[made.left], ids[made.right], made.rank_left, made.rank_right, made.similarity)
    return {frozenset({(a, p), (b, q)}): s for a, b, p, q, s in zip(*(c.tolist() for c in columns), strict=True)}


def test_branch_is_registered(branch: Trained) -> None:
    member = registry.get(branch.name)
    assert (member.name, registry.sections()[branch.name]) == (branch.name, member.Config)
    assert issubclass(member.Config, BranchConfig)
    assert member.Config().neighbors >= 1
    assert 0 <= member.Config().minimum < 1


@pytest.mark.fault(21, 25)
def test_train_twice_writes_the_same_bytes_and_no_checkpoint(branch: Trained, pool: Catalog, tmp_path: Path) -> None:
    if branch.encoder is None:
        assert not branch.learns
        return
    metrics = branch.train(pool, tmp_path / "again")
    assert json.loads(json.dumps(metrics)) == metrics
    written = files(tmp_path / "again")
    assert written == files(branch.encoder)
    assert written
    assert {Path(name).suffix for name in written} <= {".json", ".safetensors", ".txt"}
    assert not (tmp_path / "again" / "checkpoint").exists()


def test_fit_without_the_encoder_it_needs(branch: Trained, pool: Catalog, tmp_path: Path) -> None:
    if branch.encoder is None:
        return
    for encoder in (None, tmp_path):
        with pytest.raises(ArtifactError, match=f"branches.{branch.name}.train|train the branch"):
            replace(branch, encoder=encoder).embed(pool)


@pytest.mark.fault(10)
def test_embeddings_are_unit_rows(embeddings: Embeddings) -> None:
    vectors = dense(embeddings)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1)[embeddings.present], 1, rtol=0, atol=1e-5)
    assert not vectors[~embeddings.present].any()


@pytest.mark.fault(3)
def test_embeddings_absent_without_evidence(embeddings: Embeddings) -> None:
    assert isinstance(embeddings, Embeddings)
    assert len(embeddings) == 40
    assert not embeddings.present[list(BARE)].any()
    assert embeddings.present[list(PLAIN)].mean() > 0.9


@pytest.mark.fault(25)
def test_transform_twice_gives_the_same_bytes(
    branch: Trained, pool: Catalog, embeddings: Embeddings, found: Candidates, tmp_path: Path
) -> None:
    assert saved(branch.embed(pool), tmp_path) == saved(embeddings, tmp_path)
    assert saved(branch.candidates(embeddings), tmp_path) == saved(found, tmp_path)


def test_transform_ignores_labels(branch: Trained, pool: Catalog, embeddings: Embeddings, tmp_path: Path) -> None:
    assert saved(branch.embed(pool.without_labels()), tmp_path) == saved(embeddings, tmp_path)


def test_encoder_embeds_each_listing_alone(branch: Trained, pool: Catalog, embeddings: Embeddings) -> None:
    if branch.encoder is None:
        return
    for rows in ([PLAIN[5]], list(PLAIN[3:20:3]), [*BARE, *PLAIN[:9]]):
        part = branch.embed(pool.take(np.array(rows)))
        np.testing.assert_array_equal(part.vectors, embeddings.vectors[rows])


def test_transform_some_listings_of_the_pool(branch: Trained, pool: Catalog, embeddings: Embeddings) -> None:
    embedder = branch.fit(pool)
    for rows in ([PLAIN[5]], [*BARE, *PLAIN[3:20:3]], list(range(40)), []):
        part = embedder.transform(pool.take(np.array(rows, dtype=np.int64)))
        assert len(part) == len(rows)
        np.testing.assert_array_equal(part.present, embeddings.present[rows])
        np.testing.assert_array_equal(dense(part), dense(embeddings)[rows])


def test_transform_of_new_listings(branch: Trained, pool: Catalog) -> None:
    """A new listing that is a copy of one of the pool is as similar to it as it can be."""
    embedder = branch.fit(pool)
    copies = changed(pool.take(np.array(PLAIN[:5])), posting_id=[f"copy{row}" for row in range(5)])
    both = Catalog(pa.concat_tables([pool.table, copies.table]), pool.image_folder)
    made = embedder.transform(both)
    similarity = made.similarity(np.array(PLAIN[:5], dtype=np.int32), np.arange(40, 45, dtype=np.int32))
    np.testing.assert_allclose(similarity, 1, rtol=0, atol=1e-5)


def dense(made: Embeddings) -> np.ndarray:
    return made.vectors if isinstance(made.vectors, np.ndarray) else made.vectors.toarray()


def test_propose_pairs_with_evidence_at_their_similarity(embeddings: Embeddings, found: Candidates) -> None:
    assert isinstance(found, Candidates)
    assert (found.n, len(found) > 0) == (40, True)
    assert not set(BARE) & {*found.left.tolist(), *found.right.tolist()}
    np.testing.assert_allclose(found.similarity, embeddings.similarity(found.left, found.right), rtol=0, atol=1e-5)


def test_propose_rank_counts_more_similar_listings(embeddings: Embeddings, found: Candidates) -> None:
    rows = np.arange(40, dtype=np.int32)
    for listing, other, rank, similarity in [
        *zip(found.left, found.right, found.rank_left, found.similarity, strict=True),
        *zip(found.right, found.left, found.rank_right, found.similarity, strict=True),
    ]:
        if rank:
            others = np.delete(rows, listing)
            all_similarities = embeddings.similarity(np.full(39, listing, dtype=np.int32), others)
            closer = int((all_similarities > similarity + 2e-6).sum())
            not_further = int((all_similarities > similarity - 2e-6).sum())
            assert closer + 1 <= rank <= max(closer + 1, not_further), (listing, other)


@pytest.mark.fault(11)
def test_propose_ignores_the_order_of_listings(branch: Trained, pool: Catalog, found: Candidates) -> None:
    for order in (np.arange(40)[::-1], np.random.default_rng(0).permutation(40)):
        assert by_id(branch.pairs(pool.take(order)), pool.take(order).ids) == by_id(found, pool.ids)


@pytest.mark.fault(12)
def test_propose_more_neighbors_than_listings(branch: Trained, embeddings: Embeddings, found: Candidates) -> None:
    every = branch.with_neighbors(39).candidates(embeddings)
    many = branch.with_neighbors(10_000).candidates(embeddings)
    rows = np.arange(40)
    assert by_id(many, rows) == by_id(every, rows)
    pairs = {(a, b) for a, b in zip(many.left.tolist(), many.right.tolist(), strict=True)}
    assert pairs >= {(a, b) for a, b in zip(found.left.tolist(), found.right.tolist(), strict=True)}


def test_propose_copy_is_nearest(branch: Trained, pool: Catalog) -> None:
    copy = changed(pool.take(np.array([PLAIN[0]])), posting_id=["copy"])
    made = branch.pairs(Catalog(pa.concat_tables([pool.table, copy.table]), pool.image_folder))
    at = np.flatnonzero((made.left == PLAIN[0]) & (made.right == 40))
    assert made.similarity[at].tolist() == pytest.approx([1], abs=1e-5)
    assert (made.rank_left[at].tolist(), made.rank_right[at].tolist()) == ([1], [1])


@pytest.mark.fault(8)
@pytest.mark.parametrize("rows", [[PLAIN[0]], [BARE[0]], list(BARE), [BARE[0], PLAIN[0]]], ids=str)
def test_propose_nothing_to_pair(branch: Trained, pool: Catalog, rows: list[int]) -> None:
    made = branch.embed(pool.take(np.array(rows)))
    assert made.present.tolist() == [row in PLAIN for row in rows]
    assert branch.candidates(made).n == len(rows)
    assert len(branch.candidates(made)) == 0


def test_embeddings_saved_and_loaded(
    embeddings: Embeddings, found: Candidates, branch: Trained, tmp_path: Path
) -> None:
    embeddings.save(tmp_path / "embeddings")
    again = branch.candidates(Embeddings.load(tmp_path / "embeddings"))
    assert saved(again, tmp_path) == saved(found, tmp_path)
