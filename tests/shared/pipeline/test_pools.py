import csv
import os
import shutil
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import branches.stages
from branches.stages import candidates_all, main_embed, train_all
from shared.catalog.reader import DataConfig
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.pools import (
    ALL,
    CATALOG_POOL,
    HOLDOUT_POOL,
    all_pools,
    fold_pools,
    load_split,
    new_catalog,
    pool_catalog,
    pool_rows,
    prepare,
    train_catalog,
    training_rows,
)
from shared.pipeline.run import Run, digest
from shared.pipeline.settings import Settings
from shared.schema import Candidates, Catalog, Embeddings

NAME = "image"  # a branch that learns; what it does is put in its place by `Recorder`
TESTS = 6  # listings of the demo that make test.csv


def settings_of(folder: Path, **sections: dict[str, Any]) -> Settings:
    given = {"data": {"path": str(folder)}, "split": {"folds": 3}, "compute": {"threads": 1, "device": "cpu"}}
    return Settings({name: given.get(name, {}) | sections.get(name, {}) for name in given | sections})


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def whole(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Settings]:
    """A run on the demo's 40 listings, up to its pools."""
    run, settings = Run(tmp_path_factory.mktemp("run"), say=lambda line: None), settings_of(demo_folder)
    prepare(run, settings)
    return run, settings


@pytest.fixture
def tested(demo_folder: Path, tmp_path: Path) -> Path:
    """The demo with its last listings in a test.csv, labels and all."""
    folder = tmp_path / "data"
    shutil.copytree(demo_folder, folder)
    shutil.copytree(demo_folder / "train_images", folder / "test_images")
    rows = read_rows(folder / "train.csv")
    write_rows(folder / "train.csv", rows[:-TESTS])
    write_rows(folder / "test.csv", rows[-TESTS:])
    return folder


class Recorder:
    """Stands in for a branch and keeps what it was given."""

    def __init__(self) -> None:
        self.trained: dict[str, list[str]] = {}
        self.components: dict[str, NDArray[np.int32]] = {}
        self.embedded: dict[str, tuple[str, list[Any]]] = {}
        self.calls: list[str] = []

    def train(
        self, catalog: Catalog, components: NDArray[np.int32], config: ConfigSection, compute: ComputeConfig, out: Path
    ) -> Mapping[str, Any]:
        encoder = out.name.removesuffix(".work")
        self.trained[encoder], self.components[encoder] = catalog.ids.tolist(), components
        self.calls.append(f"train {encoder}")
        (out / "encoder").write_text(f"{encoder} {config.until('train')} {catalog.ids}")
        return {}

    def embed(self, catalog: Catalog, encoder: Path, config: ConfigSection, compute: ComputeConfig) -> Embeddings:
        self.embedded[",".join(catalog.ids)] = (encoder.name, catalog.labels.tolist())
        self.calls.append(f"embed with {encoder.name}")
        made = np.random.default_rng(len(catalog)).normal(size=(len(catalog), 4))
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return Embeddings(made.astype(np.float32), np.ones(len(catalog), dtype=bool))

    def candidates(self, embeddings: Embeddings, config: ConfigSection, compute: ComputeConfig) -> Candidates:
        self.calls.append("candidates")
        none = np.zeros(0, dtype=np.int32)
        return Candidates(len(embeddings), none, none, np.zeros(0, dtype=np.float32), none, none)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()

    def stand_in(module: str) -> SimpleNamespace:
        step = module.rpartition(".")[2]
        return SimpleNamespace(**{step: getattr(made, step)})

    monkeypatch.setattr(branches.stages, "import_module", stand_in)
    return made


def go(run: Run, settings: Settings, recorder: Recorder) -> list[str]:
    """Take the branch through all its steps; returns what was not skipped."""
    recorder.calls.clear()
    fresh = Run(run.folder, say=run.say)
    prepare(fresh, settings)
    candidates_all(fresh, settings, NAME)
    return list(recorder.calls)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", say=lambda line: None)


# --- who is in which pool --------------------------------------------------------------------------------------------


def test_fold_pools_and_holdout_partition_the_labeled_catalog(whole: tuple[Run, Settings]) -> None:
    run, settings = whole
    parts = [pool_rows(load_split(run), pool) for pool in [*fold_pools(settings), HOLDOUT_POOL]]
    assert len(parts) == 4
    assert all(len(part) > 1 for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(40))


def test_no_product_lies_in_two_pools(whole: tuple[Run, Settings]) -> None:
    run, settings = whole
    pools = [pool_catalog(run, settings, pool) for pool in [*fold_pools(settings), HOLDOUT_POOL]]
    for column in ("label_group", "image_sha", "title"):
        for one, other in combinations(pools, 2):
            assert not set(one.column(column)) & set(other.column(column)) - {None}, column


def test_a_pool_keeps_the_order_of_the_table(whole: tuple[Run, Settings], demo_folder: Path) -> None:
    run, settings = whole
    order = [row["posting_id"] for row in read_rows(demo_folder / "train.csv")]
    assert train_catalog(run).ids.tolist() == order
    for pool in all_pools(settings):
        ids = pool_catalog(run, settings, pool).ids.tolist()
        assert ids == sorted(ids, key=order.index)


def test_an_encoder_may_train_on_all_but_its_fold_and_the_holdout(whole: tuple[Run, Settings]) -> None:
    run, settings = whole
    split = load_split(run)
    held_out = set(pool_rows(split, HOLDOUT_POOL).tolist())
    for pool in fold_pools(settings):
        mine = set(pool_rows(split, pool).tolist())
        assert set(training_rows(split, pool.encoder).tolist()) == set(range(40)) - mine - held_out
    assert set(training_rows(split, ALL).tolist()) == set(range(40)) - held_out


def test_without_test_listings_the_whole_catalog_is_matched_without_its_labels(whole: tuple[Run, Settings]) -> None:
    run, settings = whole
    made = pool_catalog(run, settings, CATALOG_POOL)
    assert made.ids.tolist() == train_catalog(run).ids.tolist()
    assert set(made.labels) == {None}


def test_with_test_listings_these_are_matched_and_their_labels_never_read(tested: Path, run: Run) -> None:
    settings = settings_of(tested)
    prepare(run, settings)
    made = pool_catalog(run, settings, CATALOG_POOL)
    assert made.ids.tolist() == [row["posting_id"] for row in read_rows(tested / "test.csv")]
    assert set(made.labels) == {None}
    assert made.has_image.all()
    assert made.image_folder == tested / "test_images"
    assert len(train_catalog(run)) == 40 - TESTS


# --- what encoders get to see ----------------------------------------------------------------------------------------


def test_no_pool_is_embedded_by_an_encoder_that_saw_one_of_its_products(
    run: Run, tested: Path, recorder: Recorder
) -> None:
    settings = settings_of(tested)
    go(run, settings, recorder)
    label = {row["posting_id"]: row["label_group"] for row in read_rows(tested / "train.csv")}
    assert sorted(recorder.trained) == ["all", "fold0", "fold1", "fold2"]
    for pool in [*fold_pools(settings), HOLDOUT_POOL]:
        ids = pool_catalog(run, settings, pool).ids.tolist()
        encoder, _ = recorder.embedded[",".join(ids)]
        assert encoder == pool.encoder
        seen = recorder.trained[encoder]
        assert not {label[i] for i in seen} & {label[i] for i in ids}
    test_ids = ",".join(row["posting_id"] for row in read_rows(tested / "test.csv"))
    assert recorder.embedded[test_ids] == (ALL, [None] * TESTS)


def test_an_encoder_gets_the_components_of_its_listings(run: Run, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder), recorder)
    split = load_split(run)
    component = dict(zip(split.posting_id, split.component.tolist(), strict=True))
    for encoder, ids in recorder.trained.items():
        assert recorder.components[encoder].tolist() == [component[i] for i in ids]


# --- what a change does again ----------------------------------------------------------------------------------------

POOLS = 5  # three folds, the holdout, the catalog
ENCODERS = 4


def counts(calls: list[str]) -> tuple[int, int, int]:
    """Trainings, embeddings, searches for candidates."""
    return tuple(sum(call.startswith(step) for call in calls) for step in ("train", "embed", "candidates"))  # type: ignore[return-value]


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
def test_a_changed_setting_does_again_what_depends_on_it_and_no_more(
    run: Run, demo_folder: Path, recorder: Recorder, changed: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    assert counts(go(run, settings_of(demo_folder), recorder)) == (ENCODERS, POOLS, POOLS)
    assert counts(go(run, settings_of(demo_folder, **changed), recorder)) == expected


def test_another_seed_splits_and_trains_anew(run: Run, demo_folder: Path, recorder: Recorder) -> None:
    go(run, settings_of(demo_folder), recorder)
    before = load_split(run).fold
    calls = go(run, settings_of(demo_folder, compute={"seed": 1}), recorder)
    assert counts(calls)[:2] == (ENCODERS, POOLS)
    assert load_split(Run(run.folder)).fold.tolist() != before.tolist()


def test_a_changed_test_listing_trains_nothing_again(run: Run, tested: Path, recorder: Recorder) -> None:
    settings = settings_of(tested)
    go(run, settings, recorder)
    for path in (tested / "test.csv", tested / "train.csv", *(tested / "train_images").iterdir()):
        os.utime(path, (1, 1))
    assert go(run, settings, recorder) == []
    write_rows(tested / "test.csv", read_rows(tested / "test.csv")[1:])
    assert go(run, settings, recorder) == ["embed with all", "candidates"]


def test_a_changed_picture_trains_again(run: Run, tested: Path, recorder: Recorder) -> None:
    settings = settings_of(tested)
    go(run, settings, recorder)
    first, second = (tested / "train_images" / row["image"] for row in read_rows(tested / "train.csv")[:2])
    shutil.copy(second, first)
    assert counts(go(run, settings, recorder))[0] > 0


def test_a_changed_file_of_a_weight_folder_trains_again(
    run: Run, demo_folder: Path, recorder: Recorder, tmp_path: Path
) -> None:
    weights = tmp_path / "weights" / "deep" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"1")
    settings = settings_of(demo_folder, image={"backbone": str(tmp_path / "weights")})
    go(run, settings, recorder)
    os.utime(weights, (1, 1))
    assert go(run, settings, recorder) == []
    weights.write_bytes(b"2")
    assert counts(go(run, settings, recorder))[0] == ENCODERS


def test_a_run_that_was_moved_finds_its_pictures(tmp_path: Path) -> None:
    settings = Settings({"demo": {"listings": 40}, "compute": {"threads": 1}})
    prepare(Run(tmp_path / "old", say=lambda line: None), settings)
    (tmp_path / "old").rename(tmp_path / "new")
    run = Run(tmp_path / "new", say=lambda line: None)
    prepare(run, settings)
    assert all(path is None or path.exists() for path in train_catalog(run).image_paths())
    assert train_catalog(run).has_image.any()


def test_a_killed_demo_is_made_anew(tmp_path: Path) -> None:
    settings = Settings({"demo": {"listings": 40}, "compute": {"threads": 1}})
    run = Run(tmp_path / "run", say=lambda line: None)
    prepare(run, settings)
    made = run.digest_of("demo")
    key = (run.manifest("demo") or {})["key"]
    (tmp_path / "run" / "demo").rename(tmp_path / "run" / "demo.work")
    (tmp_path / "run" / "demo.work" / "manifest.json").unlink()
    (tmp_path / "run" / "demo.work" / "key").write_text(digest(key))
    prepare(Run(run.folder, say=lambda line: None), settings)
    assert Run(run.folder).digest_of("demo") == made


# --- embedding other listings with a finished run --------------------------------------------------------------------


def test_new_listings_are_embedded_by_the_encoder_of_all_folds_and_change_nothing_of_the_run(
    run: Run,
    demo_folder: Path,
    tested: Path,
    recorder: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = settings_of(demo_folder)
    prepare(run, settings)
    train_all(run, settings, NAME)
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    given = ["--run", run.folder, "--data", tested, "--out", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["x", *map(str, given)])
    assert main_embed(NAME) == 0
    ids = [row["posting_id"] for row in read_rows(tested / "test.csv")]
    assert recorder.embedded == {",".join(ids): (ALL, [None] * TESTS)}
    assert pq.read_table(tmp_path / "out" / "ids.parquet").column("posting_id").to_pylist() == ids
    assert len(Embeddings.load(tmp_path / "out" / "embeddings.safetensors")) == TESTS
    after = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before


@pytest.mark.parametrize("given", [["--data", "x"], ["--out", "x"]])
def test_new_data_and_where_to_write_go_together(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["x", "--run", str(tmp_path / "run"), *given])
    assert main_embed(NAME) == 2
    assert "go together" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_embedding_without_a_trained_encoder_is_a_bad_artifact(
    tested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--run", tmp_path / "run", "--data", tested, "--out", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["x", *map(str, given)])
    assert main_embed(NAME) == ArtifactError.exit_code == 3
    assert "no finished stage 'image/encoder/all'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_new_catalog_must_be_named() -> None:
    with pytest.raises(MatcherError, match="--data DIR"):
        new_catalog(Settings({}))


def test_a_new_catalog_needs_no_labels(tested: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "label_group"} for row in read_rows(tested / "train.csv")]
    (tested / "test.csv").unlink()
    write_rows(tested / "train.csv", rows)
    assert set(new_catalog(settings_of(tested)).labels) == {None}
    assert DataConfig().label_column == "label_group"
