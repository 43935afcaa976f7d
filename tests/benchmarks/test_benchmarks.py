"""The benchmarks work at tiny sizes; how fast anything is they do not judge."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shared.errors import MatcherError
from shared.pipeline.settings import Settings
from shared.schema import Embeddings
from tests.benchmarks.__main__ import main
from tests.benchmarks.catalogs import CLOUDS, TABLE, make_catalog
from tests.benchmarks.measure import KEY, measure
from tests.benchmarks.results import Results, machine_facts
from tests.benchmarks.sampling import OWN, Sampler
from tests.benchmarks.system import make_system, settings_of, system_folder
from tests.benchmarks.works import STAGES, WORKS, Order, do
from tests.support.rows import stage_row


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "300"
    make_catalog(folder, 300)
    return folder


# --- catalogs ---------------------------------------------------------------------------------------------------------


def test_a_catalog_has_titles_hashes_and_labels(catalog: Path) -> None:
    table = pd.read_parquet(catalog / TABLE)
    assert len(table) == 300
    assert table["posting_id"].is_unique
    assert table["title"].str.len().median() > 20
    assert table["image_phash"].dropna().str.fullmatch("[0-9a-f]{16}").all()
    assert 100 < table["label_group"].nunique() < 200


def test_a_seed_gives_the_same_catalog(catalog: Path, tmp_path: Path) -> None:
    make_catalog(tmp_path / "again", 300)
    for file in sorted(path.name for path in catalog.iterdir()):
        assert (tmp_path / "again" / file).read_bytes() == (catalog / file).read_bytes(), file
    make_catalog(tmp_path / "other", 300, seed=1)
    assert (tmp_path / "other" / TABLE).read_bytes() != (catalog / TABLE).read_bytes()


@pytest.mark.parametrize("branch", CLOUDS)
def test_nearest_listings_are_mostly_of_one_product(branch: str, catalog: Path) -> None:
    embeddings = Embeddings.load(catalog / f"{branch}.safetensors")
    codes = pd.factorize(pd.read_parquet(catalog / TABLE)["label_group"])[0]
    cosine = embeddings.vectors @ embeddings.vectors.T - 2 * np.eye(300, dtype=np.float32)
    judged = (np.bincount(codes)[codes] > 1) & embeddings.present
    assert 0.7 < (codes[cosine.argmax(axis=1)] == codes)[judged].mean() < 0.99


def test_hashes_of_a_product_are_often_near(catalog: Path) -> None:
    table = pd.read_parquet(catalog / TABLE).dropna(subset=["image_phash"])
    bits = np.array([int(text, 16) for text in table["image_phash"]], dtype=np.uint64)
    distance = np.bitwise_count(bits[:, None] ^ bits)
    same = (table["label_group"].to_numpy()[:, None] == table["label_group"].to_numpy()) & ~np.eye(
        len(bits), dtype=bool
    )
    assert 0.25 < (distance[same] <= 12).mean() < 0.75
    assert (distance[~same & ~np.eye(len(bits), dtype=bool)] <= 12).mean() < 0.01


# --- measure ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(catalog: Path) -> Path:
    """A cache with a system that is trained on next to nothing, and a catalog of 300 listings."""
    make_system(catalog.parent, {}, 150)
    return catalog.parent


@pytest.mark.slow
def test_every_stage_is_measured(cache: Path) -> None:
    order = Order("", 300, str(cache), threads=1)
    rows = {stage: row for name in WORKS for stage, row in do(replace(order, work=name)).items()}
    assert set(rows) == set(STAGES)
    assert all(row["peak_memory_mb"] > 50 and row["seconds"] >= 0 for row in rows.values())
    assert rows["union"]["recall"] > 0.9
    assert rows["whole"]["row_f1"] > 0.5
    assert rows["whole"]["pairs"] == rows["union"]["pairs"]
    other = replace(order, work="search tfidf", settings={"tfidf": {"neighbors": "5"}}, profile=True)
    row = do(other)["search tfidf"]
    assert row["pairs"] < rows["search tfidf"]["pairs"]
    assert sum(row["shares"].values()) <= 1.01


@pytest.mark.slow
def test_measure_starts_a_process_and_skips_what_is_there(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results, order = Results.open(cache / "results.json"), Order("", 0, str(cache), threads=1)
    assert measure(results, [300], ["read"], order) == 0
    assert "  read " in capfd.readouterr().out
    assert [row["stage"] for row in Results.open(cache / "results.json").rows["stages"]] == ["read"]
    assert measure(results, [300], ["read"], order) == 0
    assert "  read " not in capfd.readouterr().out


def test_works_read_what_earlier_ones_write() -> None:
    written: set[str] = set()
    for name, work in WORKS.items():
        assert set(work.reads) <= written, name
        written |= set(work.writes)


def test_unknown_stages_and_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path / "r.json"), "--cache", str(tmp_path / "cache")]
    for wrong, word in (
        (["--stages", "serch"], "no stage 'serch'"),
        (["--listings", "3"], "numbers of at least 4"),
        (["--tfidf.neighbours=4"], "neighbours"),
    ):
        assert main(["measure", *options, *wrong]) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


def test_failed_work_is_told_and_leaves_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system_folder(tmp_path / "cache", settings_of({})).mkdir(parents=True)
    killed = SimpleNamespace(returncode=-9)
    monkeypatch.setattr("tests.benchmarks.measure.subprocess.run", lambda *given, **options: killed)
    results = Results.open(tmp_path / "results.json")
    assert measure(results, [40], ["read", "union"], Order("", 0, str(tmp_path / "cache"), threads=1)) == 7
    output = capsys.readouterr().out
    assert "read: failed (killed, perhaps for lack of memory)" in output
    assert "union: left out, since there is no catalog.parquet" in output
    assert not results.rows["stages"]


def test_results_replace_rows_of_the_same_key(tmp_path: Path) -> None:
    results = Results.open(tmp_path / "results.json")
    for seconds in (1.0, 2.0):
        results.add("stages", [stage_row("union", 9, seconds)], KEY)
    results.add("stages", [stage_row("union", 8, 3.0)], KEY)
    again = Results.open(tmp_path / "results.json", to_add=True)
    assert [row["seconds"] for row in again.rows["stages"]] == [2.0, 3.0]
    assert again.holds("stages", {"stage": "union", "listings": 8})
    assert not again.holds("stages", {"stage": "union", "listings": 7})


def test_results_of_another_machine_take_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"machine": machine_facts() | {"cores": 999}}), encoding="utf-8")
    with pytest.raises(MatcherError, match=r"cores: 999, now \d+"):
        Results.open(path, to_add=True)
    assert Results.open(path).machine["cores"] == 999


# --- profile and device -----------------------------------------------------------------------------------------------


def test_sampler_tells_numpy_from_own_python() -> None:
    square = np.random.default_rng(0).random((700, 700))
    with Sampler() as numeric:
        for _ in range(25):
            square @ square
    with Sampler() as plain:
        for _ in range(8):
            sum(len(str(number)) for number in range(50_000))
    assert numeric.shares()["numpy"] > 0.8
    assert plain.shares()[OWN] > 0.8


def test_without_a_gpu_a_message_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["gpu", "--out", str(tmp_path / "r.json")]) == 2
    assert "torch finds no NVIDIA GPU" in capsys.readouterr().err


@pytest.mark.slow
def test_images_a_second_of_a_network_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.device.NETWORKS", {"tf_efficientnet_lite0": 32})
    given = ["--only", "images", "--images", "8", "--threads", "1", "--compute.device=cpu"]
    assert main(["gpu", *given, "--out", str(tmp_path / "r.json"), "--cache", str(tmp_path / "cache")]) == 0
    rows = {row["what"].rpartition(": ")[2]: row for row in Results.open(tmp_path / "r.json").rows["device"]}
    assert set(rows) == {"embedding", "forward pass alone", "ratio"}
    assert rows["ratio"]["value"] == pytest.approx(
        rows["embedding"]["value"] / rows["forward pass alone"]["value"], abs=0.01
    )


def test_settings_of_a_measurement_run_on_the_cpu_unless_asked() -> None:
    from shared.compute import ComputeConfig

    assert isinstance(settings_of({}), Settings)
    assert settings_of({}, 3)[ComputeConfig].threads == 3
    assert settings_of({})[ComputeConfig].device == "cpu"
    assert settings_of({"compute": {"device": "cuda"}})[ComputeConfig].device == "cuda"
