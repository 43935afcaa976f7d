"""What encoders get to see, what a change does again, and the commands of a branch."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from branches import registry, stages
from branches.cli import branch_graph, main_embed, main_train, sections
from branches.pool_stages import load_candidates, load_embeddings
from branches.stage_names import new_catalog_encoders
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import ArtifactError
from shared.pipeline.pools import ALL, CATALOG_POOL, HOLDOUT_POOL, all_pools, fold_pools, load_catalog, load_split
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.update import update_stages
from shared.schema import Catalog, Embeddings
from tests.support.run_files import content
from tests.support.tables import TEST_ROWS, read_rows, write_rows

pytestmark = pytest.mark.usefixtures("sigterm")
NAME = "image"  # a branch that learns; what it does is put in its place by `Recorder`
FOLDS = fold_pools(3)
POOLS, ENCODERS = 5, 4  # three folds, the holdout, the catalog; an encoder per fold and one for the others


def settings_of(folder: Path, **given: dict[str, Any]) -> Settings:
    compute = {"threads": 1, "device": "cpu"}
    values: dict[str, dict[str, Any]] = {"data": {"path": str(folder)}, "split": {"folds": 3}, "compute": compute}
    return Settings({name: values.get(name, {}) | given.get(name, {}) for name in values | given}, sections())


class ByTitle:
    """Embeds a listing by its title alone."""

    def __init__(self, asked: list[list[str]]) -> None:
        self.asked = asked

    def transform(self, listings: Catalog) -> Embeddings:
        self.asked.append(listings.ids.tolist())
        seeds = [sum(map(ord, title)) for title in listings.titles]
        vectors = np.array([np.random.default_rng(seed).normal(size=4) for seed in seeds]).reshape(-1, 4)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(vectors.astype(np.float32), np.ones(len(listings), dtype=bool))


class Recorder:
    """Stands in for training and embedding of every branch and keeps what it was given."""

    def __init__(self) -> None:
        self.trained: dict[str, list[str]] = {}
        self.components: dict[str, NDArray[np.int32]] = {}
        self.pools: dict[tuple[str, ...], str] = {}
        self.labels: set[Any] = set()
        self.transformed: list[list[str]] = []

    def train(
        self,
        branch: Any,
        catalog: Catalog,
        components: NDArray[np.int32],
        config: ConfigSection,
        compute: ComputeConfig,
        out: Path,
    ) -> Mapping[str, Any]:
        encoder = out.name.removesuffix(".work")
        self.trained[encoder], self.components[encoder] = catalog.ids.tolist(), components
        (out / "encoder").write_text(f"{encoder} {config.cache_key('train')} {catalog.ids}")
        return {}

    def fit(self, branch: Any, pool: Catalog, encoder: Path, config: ConfigSection, compute: ComputeConfig) -> ByTitle:
        self.pools[tuple(pool.ids)] = encoder.name
        if encoder.name == ALL:
            self.labels |= set(pool.labels)
        return ByTitle(self.transformed)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    for step in ("train", "fit"):
        replacement = getattr(made, step)
        monkeypatch.setattr(registry.FolderBranch, step, lambda *given, of=replacement: of(*given))
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def go(folder: Path, settings: Settings) -> list[str]:
    """Take the branch through all its steps; returns the stages that were not skipped."""
    lines: list[str] = []
    run = RunFolder(folder, say=lines.append)
    graph = branch_graph(run, settings, [NAME])
    update_stages(run, settings, graph, list(graph))
    return [line.split()[0] for line in lines if not line.endswith("unchanged")]


def counts(done: list[str]) -> tuple[int, ...]:
    """Trainings, embeddings, searches for candidates."""
    return tuple(
        sum(name.startswith(f"{NAME}/{step}/") for name in done) for step in ("encoder", "embeddings", "candidates")
    )


def pool_ids(run: Path, pool: str) -> list[str]:
    return list(load_catalog(RunFolder(run).open(pool)).ids)


# --- what encoders get to see ----------------------------------------------------------------------------------------


@pytest.mark.fault(26)
def test_pools_are_embedded_by_unseen_encoders(run: Path, tested: Path, recorder: Recorder) -> None:
    go(run, settings_of(tested))
    label = {row["posting_id"]: row["label_group"] for row in read_rows(tested / "train.csv")}
    assert sorted(recorder.trained) == ["all", "fold0", "fold1", "fold2"]
    for pool in (*FOLDS, HOLDOUT_POOL):
        ids = pool_ids(run, pool.stage)
        encoder = recorder.pools[tuple(ids)]
        assert encoder == pool.encoder
        assert not {label[i] for i in recorder.trained[encoder]} & {label[i] for i in ids}
    assert recorder.pools[tuple(row["posting_id"] for row in read_rows(tested / "test.csv"))] == ALL


@pytest.mark.fault(26)
def test_labels_of_the_catalog_are_not_seen(run: Path, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder))
    assert set(load_catalog(RunFolder(run).open("pools/catalog")).labels) == {None}
    assert None in recorder.labels


def test_encoder_gets_its_rows_and_components(run: Path, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder))
    split = load_split(RunFolder(run).open("split"))
    component = dict(zip(split.posting_id, split.component.tolist(), strict=True))
    held_out = set(pool_ids(run, HOLDOUT_POOL.stage))
    for pool in (*FOLDS, HOLDOUT_POOL):
        trained = recorder.trained[pool.encoder]
        assert set(trained) == set(component) - held_out - set(pool_ids(run, pool.stage))
        assert recorder.components[pool.encoder].tolist() == [component[i] for i in trained]


def test_holdout_listings_are_embedded_once(run: Path, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder))
    holdout, catalog = pool_ids(run, HOLDOUT_POOL.stage), pool_ids(run, CATALOG_POOL.stage)
    assert recorder.transformed[-2:] == [holdout, [i for i in catalog if i not in holdout]]
    embeddings = load_embeddings(RunFolder(run).open(f"{NAME}/embeddings/catalog"))
    expected = ByTitle([]).transform(load_catalog(RunFolder(run).open(CATALOG_POOL.stage)))
    np.testing.assert_array_equal(embeddings.vectors, expected.vectors)


def test_candidates_of_every_pool(run: Path, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder))
    for pool in all_pools(3):
        candidates = load_candidates(RunFolder(run).open(f"{NAME}/candidates/{pool.name}"))
        assert candidates.n == len(pool_ids(run, pool.stage))
        assert len(candidates) > 0


# --- what a change does again ----------------------------------------------------------------------------------------


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (0, 0, 0)),
        ({"compute": {"threads": 2}}, (0, 0, 0)),
        ({"tfidf": {"words": 2}}, (0, 0, 0)),
        ({"image": {"neighbors": 7}}, (0, 0, POOLS)),
        ({"image": {"embed_batch": 7}}, (0, POOLS, POOLS)),
        ({"image": {"epochs": 1}}, (ENCODERS, POOLS, POOLS)),
    ],
)
def test_change_of_a_setting(
    run: Path, demo_folder: Path, recorder: Recorder, changed: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert counts(go(run, settings_of(demo_folder))) == (ENCODERS, POOLS, POOLS)
    assert counts(go(run, settings_of(demo_folder, **changed))) == expected


def test_change_of_the_seed(run: Path, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder))
    assert counts(go(run, settings_of(demo_folder, compute={"seed": 1})))[0] == ENCODERS


def test_change_of_a_test_listing_trains_nothing(run: Path, tested: Path, recorder: Recorder) -> None:
    settings = settings_of(tested)
    go(run, settings)
    write_rows(tested / "test.csv", read_rows(tested / "test.csv")[1:])
    expected = ["catalog/test", "pools/catalog", f"{NAME}/embeddings/catalog", f"{NAME}/candidates/catalog"]
    assert go(run, settings) == expected


@pytest.mark.fault(22)
def test_change_of_an_image_trains(run: Path, tested: Path, recorder: Recorder) -> None:
    settings = settings_of(tested)
    go(run, settings)
    first, second = (tested / "train_images" / row["image"] for row in read_rows(tested / "train.csv")[:2])
    shutil.copy(second, first)
    assert counts(go(run, settings))[0] > 0


@pytest.mark.fault(22)
def test_change_of_a_file_of_pretrained_weights(
    run: Path, demo_folder: Path, recorder: Recorder, tmp_path: Path
) -> None:
    weights = tmp_path / "weights" / "deep" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"1")
    settings = settings_of(demo_folder, image={"backbone": str(tmp_path / "weights")})
    go(run, settings)
    os.utime(weights, (1, 1))
    assert go(run, settings) == []
    weights.write_bytes(b"2")
    assert counts(go(run, settings))[0] == ENCODERS


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *arguments: monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])


def test_train_and_embed_bring_their_stages_up_to_date(
    run: Path, demo_folder: Path, recorder: Recorder, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given("--run", run, "--data", demo_folder, "--split.folds=3", "--compute.threads=1", "--compute.device=cpu")
    assert main_train(NAME) == 0
    assert len(recorder.trained) == ENCODERS
    assert recorder.pools == {}
    given("--run", run)
    assert main_embed(NAME) == 0
    assert len(recorder.pools) == POOLS
    recorder.trained.clear()
    given("--run", run, "--force")
    assert main_train(NAME) == 0
    assert len(recorder.trained) == ENCODERS


def test_embed_new_listings_changes_nothing_of_the_run(
    run: Path, demo_folder: Path, tested: Path, recorder: Recorder, tmp_path: Path, given: Any
) -> None:
    go(run, settings_of(demo_folder))
    recorder.pools.clear()
    before = content(run)
    given("--run", run, "--data", tested, "--out", tmp_path / "out")
    assert main_embed(NAME) == 0
    ids = [row["posting_id"] for row in read_rows(tested / "test.csv")]
    assert recorder.pools == {tuple(ids): ALL}
    assert pq.read_table(tmp_path / "out" / "ids.parquet").column("posting_id").to_pylist() == ids
    assert len(Embeddings.load(tmp_path / "out" / "embeddings.safetensors")) == TEST_ROWS
    assert content(run) == before


@pytest.mark.parametrize("arguments", [["--data", "x"], ["--out", "x"]])
def test_embed_needs_data_and_out_together(
    arguments: list[str], run: Path, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given("--run", run, *arguments)
    assert main_embed(NAME) == 2
    assert "go together" in capsys.readouterr().err
    assert not run.exists()


def test_embed_without_a_trained_encoder(
    tested: Path, run: Path, tmp_path: Path, given: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    given("--run", run, "--data", tested, "--out", tmp_path / "out")
    assert main_embed(NAME) == ArtifactError.exit_code == 3
    assert "no finished stage 'image/encoder/all'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_new_catalog_encoders() -> None:
    assert new_catalog_encoders(["tfidf", "image", "phash"]) == ["image/encoder/all"]


def test_weights_below_the_home_folder_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "weights").write_text("a")
    config = registry.get("image").Config.model_validate({"backbone": "~/net"})
    before = stages._weights(config)
    assert set(before) == {"backbone"}
    (tmp_path / "net" / "weights").write_text("b")
    assert stages._weights(config) != before
