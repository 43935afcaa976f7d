"""What `branches/stages.py` asks of a branch, checked on every branch that there is."""

import inspect
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from branches.stages import learns
from shared.catalog.split import components
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import ArtifactError
from shared.pipeline.settings import branch_names, section_classes
from shared.schema import Candidates, Catalog, Embeddings
from shared.search.exact import Known

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
class Branch:
    """A branch with tiny settings, its encoder trained if it has one."""

    name: str
    config: ConfigSection
    compute: ComputeConfig
    encoder: Path | None

    def step(self, name: str) -> Callable[..., Any]:
        return getattr(import_module(f"branches.{self.name}.{name}"), name)  # type: ignore[no-any-return]

    def with_neighbors(self, k: int) -> "Branch":
        assert "neighbors" in type(self.config).model_fields
        return Branch(self.name, self.config.model_copy(update={"neighbors": k}), self.compute, self.encoder)

    def train(self, catalog: Catalog, out: Path) -> dict[str, Any]:
        out.mkdir()
        return self.step("train")(catalog, components(catalog), self.config, self.compute, out)  # type: ignore[no-any-return]

    def embed(self, catalog: Catalog) -> Embeddings:
        return self.step("embed")(catalog, self.encoder, self.config, self.compute)  # type: ignore[no-any-return]

    def candidates(self, embeddings: Embeddings) -> Candidates:
        return self.step("candidates")(embeddings, self.config, self.compute)  # type: ignore[no-any-return]

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


@pytest.fixture(scope="module", params=branch_names())
def branch(
    request: pytest.FixtureRequest, pool: Catalog, one_thread: ComputeConfig, tmp_path_factory: pytest.TempPathFactory
) -> Branch:
    cls = section_classes()[request.param]
    config = cls(**{key: value for key, value in TINY.items() if key in cls.model_fields})
    made = Branch(request.param, config, one_thread, None)
    if not learns(request.param):
        return made
    encoder = tmp_path_factory.mktemp(request.param) / "encoder"
    made.train(pool, encoder)
    return Branch(request.param, config, one_thread, encoder)


@pytest.fixture(scope="module")
def embeddings(branch: Branch, pool: Catalog) -> Embeddings:
    return branch.embed(pool)


@pytest.fixture(scope="module")
def found(branch: Branch, embeddings: Embeddings) -> Candidates:
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


def test_each_step_has_the_signature_of_the_contract(branch: Branch) -> None:
    expected = {
        "embed": ["catalog", "encoder", "config", "compute"],
        "candidates": ["embeddings", "config", "compute", "known"],
        "train": ["catalog", "components", "config", "compute", "out"],
    }
    for step, names in expected.items():
        if step != "train" or learns(branch.name):
            assert list(inspect.signature(branch.step(step)).parameters) == names


def test_training_twice_writes_the_same_bytes_and_no_checkpoint(branch: Branch, pool: Catalog, tmp_path: Path) -> None:
    if branch.encoder is None:
        assert not learns(branch.name)
        return
    figures = branch.train(pool, tmp_path / "again")
    assert json.loads(json.dumps(figures)) == figures
    written = files(tmp_path / "again")
    assert written == files(branch.encoder)
    assert written
    assert {Path(name).suffix for name in written} <= {".json", ".safetensors", ".txt"}
    assert not (tmp_path / "again" / "checkpoint").exists()


def test_a_branch_that_learns_refuses_to_embed_without_its_encoder(
    branch: Branch, pool: Catalog, tmp_path: Path
) -> None:
    if branch.encoder is None:
        return
    for encoder in (None, tmp_path):
        with pytest.raises(ArtifactError, match=f"branches.{branch.name}.train|train the branch"):
            branch.step("embed")(pool, encoder, branch.config, branch.compute)


def test_embeddings_are_a_row_a_listing_and_say_nothing_without_evidence(embeddings: Embeddings) -> None:
    assert isinstance(embeddings, Embeddings)
    assert len(embeddings) == 40
    assert not embeddings.present[list(BARE)].any()
    assert embeddings.present[list(PLAIN)].mean() > 0.9


def test_embedding_twice_gives_the_same_bytes(
    branch: Branch, pool: Catalog, embeddings: Embeddings, found: Candidates, tmp_path: Path
) -> None:
    assert saved(branch.embed(pool), tmp_path) == saved(embeddings, tmp_path)
    assert saved(branch.candidates(embeddings), tmp_path) == saved(found, tmp_path)


def test_labels_play_no_part_in_embedding(
    branch: Branch, pool: Catalog, embeddings: Embeddings, tmp_path: Path
) -> None:
    assert saved(branch.embed(pool.without_labels()), tmp_path) == saved(embeddings, tmp_path)


def test_an_encoder_embeds_a_listing_alone(branch: Branch, pool: Catalog, embeddings: Embeddings) -> None:
    if branch.encoder is None:
        return
    for rows in ([PLAIN[5]], list(PLAIN[3:20:3]), [*BARE, *PLAIN[:9]]):
        part = branch.embed(pool.take(np.array(rows)))
        np.testing.assert_array_equal(part.vectors, embeddings.vectors[rows])


def test_an_embedder_embeds_a_listing_of_its_pool_as_the_pool(
    branch: Branch, pool: Catalog, embeddings: Embeddings
) -> None:
    module = import_module(f"branches.{branch.name}.embed")
    if not hasattr(module, "embedder"):
        assert not learns(branch.name)
        return
    assert list(inspect.signature(module.embedder).parameters) == ["pool", "encoder", "config", "compute"]
    embed = module.embedder(pool, branch.encoder, branch.config, branch.compute)
    for rows in ([PLAIN[5]], [*BARE, *PLAIN[3:20:3]]):
        part = embed(pool.take(np.array(rows)))
        np.testing.assert_array_equal(part.present, embeddings.present[rows])
        np.testing.assert_array_equal(dense(part), dense(embeddings)[rows])


def dense(made: Embeddings) -> np.ndarray:
    return made.vectors if isinstance(made.vectors, np.ndarray) else made.vectors.toarray()


def test_what_a_branch_knows_of_earlier_listings_changes_nothing(
    branch: Branch, embeddings: Embeddings, found: Candidates, tmp_path: Path
) -> None:
    earlier = np.delete(np.arange(40), [4, 21, 39])
    origin = np.full(40, -1)
    origin[earlier] = np.arange(37)
    before = branch.candidates(Embeddings(embeddings.vectors[earlier], embeddings.present[earlier]))
    grown = branch.step("candidates")(embeddings, branch.config, branch.compute, Known(before, origin))
    assert saved(grown, tmp_path) == saved(found, tmp_path)


def test_candidates_are_pairs_of_listings_with_evidence_at_the_embeddings_similarity(
    embeddings: Embeddings, found: Candidates
) -> None:
    assert isinstance(found, Candidates)
    assert (found.n, len(found) > 0) == (40, True)
    assert not set(BARE) & {*found.left.tolist(), *found.right.tolist()}
    np.testing.assert_allclose(found.similarity, embeddings.similarity(found.left, found.right), rtol=0, atol=1e-5)


def test_a_rank_counts_the_listings_that_are_more_similar(embeddings: Embeddings, found: Candidates) -> None:
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


def test_the_order_of_the_listings_changes_nothing(branch: Branch, pool: Catalog, found: Candidates) -> None:
    for order in (np.arange(40)[::-1], np.random.default_rng(0).permutation(40)):
        assert by_id(branch.pairs(pool.take(order)), pool.take(order).ids) == by_id(found, pool.ids)


def test_every_k_beyond_the_pool_finds_the_same_and_all_that_fewer_neighbors_find(
    branch: Branch, embeddings: Embeddings, found: Candidates
) -> None:
    every = branch.with_neighbors(39).candidates(embeddings)
    many = branch.with_neighbors(10_000).candidates(embeddings)
    rows = np.arange(40)
    assert by_id(many, rows) == by_id(every, rows)
    pairs = {(a, b) for a, b in zip(many.left.tolist(), many.right.tolist(), strict=True)}
    assert pairs >= {(a, b) for a, b in zip(found.left.tolist(), found.right.tolist(), strict=True)}


def test_a_copied_listing_is_the_nearest_neighbor_of_its_original(branch: Branch, pool: Catalog) -> None:
    copy = changed(pool.take(np.array([PLAIN[0]])), posting_id=["copy"])
    made = branch.pairs(Catalog(pa.concat_tables([pool.table, copy.table]), pool.image_folder))
    at = np.flatnonzero((made.left == PLAIN[0]) & (made.right == 40))
    assert made.similarity[at].tolist() == pytest.approx([1], abs=1e-5)
    assert (made.rank_left[at].tolist(), made.rank_right[at].tolist()) == ([1], [1])


@pytest.mark.parametrize("rows", [[PLAIN[0]], [BARE[0]], list(BARE), [BARE[0], PLAIN[0]]], ids=str)
def test_a_pool_of_one_or_without_evidence_has_no_candidates(branch: Branch, pool: Catalog, rows: list[int]) -> None:
    made = branch.embed(pool.take(np.array(rows)))
    assert made.present.tolist() == [row in PLAIN for row in rows]
    assert branch.candidates(made).n == len(rows)
    assert len(branch.candidates(made)) == 0


def test_a_pool_comes_back_from_its_files_as_it_was(
    embeddings: Embeddings, found: Candidates, branch: Branch, tmp_path: Path
) -> None:
    embeddings.save(tmp_path / "embeddings")
    again = branch.candidates(Embeddings.load(tmp_path / "embeddings"))
    assert saved(again, tmp_path) == saved(found, tmp_path)
