"""The benchmarks work at tiny sizes; how fast anything is they do not judge."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from shared.errors import MatcherError
from shared.pipeline.settings import Settings
from shared.schema import Embeddings
from tests.benchmarks import compare as compare_module
from tests.benchmarks.__main__ import main
from tests.benchmarks.alternatives import ALTERNATIVES, Alternative, Task, without_itself
from tests.benchmarks.catalogs import CLOUDS, TABLE, make_catalog
from tests.benchmarks.chart import chart
from tests.benchmarks.compare import _rounds, neighbor_recall, true_pairs, whole_products
from tests.benchmarks.draw import BEGIN, END, growth, into, save_chart, section
from tests.benchmarks.measure import KEY, measure
from tests.benchmarks.results import Results, machine_facts
from tests.benchmarks.sampling import OWN, Sampler
from tests.benchmarks.system import make_system, settings_of, system_folder
from tests.benchmarks.works import STAGES, WORKS, Order, do


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "300"
    make_catalog(folder, 300)
    return folder


def stage_row(stage: str, listings: int, seconds: float, **more: Any) -> dict[str, Any]:
    cost = {"seconds": seconds, "cpu_seconds": seconds, "peak_memory_mb": 100.0, "threads": 1, "settings": {}}
    return {"stage": stage, "listings": listings} | cost | more


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


# --- alternatives -----------------------------------------------------------------------------------------------------


EVERY = np.arange(200)


def brute_force(vectors: Any, k: int) -> tuple[Any, Any]:
    return without_itself(np.argsort(-(vectors @ vectors.T), axis=1)[:, : k + 1])


@pytest.fixture(scope="module")
def unit_vectors() -> Any:
    vectors = np.random.default_rng(0).standard_normal((200, 24)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_recall_of_neighbors(unit_vectors: Any) -> None:
    listing, neighbor = brute_force(unit_vectors, 10)
    assert neighbor_recall((listing, neighbor), unit_vectors, 10, 0.0, EVERY) == 1
    assert neighbor_recall((listing, neighbor), sparse.csr_array(unit_vectors), 10, 0.0, EVERY) == 1
    half = np.arange(len(listing)) % 2 == 0
    assert neighbor_recall((listing[half], neighbor[half]), unit_vectors, 10, 0.0, EVERY) == pytest.approx(0.5)
    far = brute_force(-unit_vectors, 10)[0], (neighbor + 100) % 200
    assert neighbor_recall(far, unit_vectors, 10, 0.0, EVERY) < 0.2


EXACT = [
    (kind, way)
    for kind, ways in ALTERNATIVES.items()
    for way in ways
    if kind != "titles" and not re.search("IVF|HNSW", way.name)
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of packages that a user would take
@pytest.mark.parametrize(("kind", "way"), EXACT, ids=lambda value: getattr(value, "name", value))
def test_exact_alternatives_find_all_neighbors(kind: str, way: Alternative, unit_vectors: Any) -> None:
    if way.lacking:
        pytest.skip(f"{way.lacking} is not installed")
    settings = settings_of({name: {"neighbors": 10} for name in ("distilbert", "tfidf", "phash")}, 1)
    vectors, minimum = unit_vectors, 0.0
    if kind == "sparse":
        vectors = sparse.csr_array(unit_vectors)
    if kind == "hashes":
        bits = np.random.default_rng(0).random((200, 64)) < 0.5
        bits[100:] = bits[:100] ^ (np.random.default_rng(1).random((100, 64)) < 0.1)
        vectors, minimum = ((bits * 2 - 1) / 8).astype(np.float32), 1 - 2 * 12 / 64
    lists = way.search(Task(vectors, np.zeros(0, dtype=object), settings, 10))
    assert neighbor_recall(lists, vectors, 10, minimum, EVERY) == 1
    assert (lists[0] != lists[1]).all()
    if kind == "sparse" and way.large == "sample":
        sample = np.array([3, 50, 199])
        some = way.search(Task(vectors, np.zeros(0, dtype=object), settings, 10, sample))
        of_sample = np.isin(lists[0], sample)
        expected = set(zip(lists[0][of_sample].tolist(), lists[1][of_sample].tolist(), strict=True))
        assert set(zip(some[0].tolist(), some[1].tolist(), strict=True)) == expected


def test_recall_of_true_pairs_counts_those_of_the_products_of_a_sample() -> None:
    codes = np.array([0, 1, 0, 2, 1, 0])
    rows = whole_products(codes, 3)
    assert set(codes[rows]).isdisjoint(codes[np.setdiff1d(np.arange(6), rows)])
    assert len(rows) >= 3
    lists = np.array([0, 2, 0, 3, 1]), np.array([2, 5, 1, 4, 4])
    assert true_pairs(lists, codes, np.array([0, 2, 5])) == pytest.approx(2 / 3)


def rounds_of(*ways: Alternative) -> dict[str, Any]:
    task = Task(None, np.zeros(0, dtype=object), settings_of({}, 1), 1)
    rows = _rounds(ways, task, np.arange(1), lambda lists: {"true_pairs": 0.5}, repeats=2)
    return {row["method"]: row for row in rows}


def test_ways_that_lack_a_package_or_fail_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def search(task: Task) -> Any:
        return np.zeros(sum(range(200_000)) % 2), np.zeros(0)

    def fail(task: Task) -> Any:
        raise ValueError("moved")

    lacking = Alternative("lacking", ("no_such_package",), search, "all")
    rows = rounds_of(Alternative("ours", (), search, "all"), lacking, Alternative("other", (), fail, "all"))
    assert list(rows) == ["ours"]
    assert (rows["ours"]["ratio"], rows["ours"]["true_pairs"], rows["ours"]["repeats"]) == (1, 0.5, 2)
    output = capsys.readouterr().out
    assert "lacking: left out, no_such_package is not installed" in output
    assert "other: left out, ValueError: moved" in output
    with pytest.raises(ValueError, match="moved"):
        rounds_of(Alternative("ours", (), fail, "all"))


def test_other_ways_search_a_sample_of_a_large_pool(
    unit_vectors: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_module, "WHOLE", 199)
    searched: list[int] = []

    def search(task: Task) -> Any:
        searched.append(len(task.rows))
        with task.searching:
            until = time.process_time() + 0.01
            while time.process_time() < until:
                pass
        return without_itself(np.argsort(-(unit_vectors[task.rows] @ unit_vectors.T), axis=1)[:, :11], task.rows)

    ways = (
        Alternative("ours", (), search, "all"),
        Alternative("flat", (), search),
        Alternative("x", (), search, "none"),
    )
    task = Task(unit_vectors, np.zeros(0, dtype=object), settings_of({}, 1), 10)
    sample = np.arange(20, 70)
    judge = lambda lists: {"recall": neighbor_recall(lists, unit_vectors, 10, 0.0, sample)}  # noqa: E731
    rows = _rounds(ways, task, sample, judge, repeats=1)
    assert searched == [200, 50]
    assert [(row["method"], row["recall"]) for row in rows] == [("ours", 1), ("flat (a sample)", 1)]
    assert rows[1]["cpu_seconds"] >= 0.04  # of a quarter of the listings
    assert "x: left out, it grows with the square of 200 listings" in capsys.readouterr().out


# --- draw -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results.open(tmp_path / "results.json")
    rows = [stage_row("whole", size, size / 500, row_f1=0.9) for size in (5000, 35_000, 70_000)]
    rows += [stage_row("search image", size, size**2 / 1e7, recall=0.8) for size in (5000, 35_000, 70_000)]
    rows += [stage_row("search image", 70_000, 980.0, recall=0.81, settings={"image": {"neighbors": "60"}})]
    results.add("stages", rows, KEY)
    way = {"kind": "dense", "listings": 35_000, "threads": 1, "settings": {}, "recall": 1.0, "true_pairs": 0.9}
    ours = way | {"method": "ours", "ratio": 1.0, "cpu_seconds": 8.0}
    exact = ours | {"settings": {"distilbert": {"search": "exact"}}}
    rows = [ours, way | {"method": "faiss, flat", "ratio": 2.5}, exact]
    results.add("alternatives", rows, ["method", "settings"])
    results.add("profiles", [stage_row("whole", 5000, 10.0, shares={"numpy": 0.75, OWN: 0.25})], KEY)
    results.add("device", [{"what": "a network", "device": "a GPU", "value": 1234.5, "unit": "images/s"}], ["what"])
    return results


def test_section_has_all_tables(results: Results) -> None:
    text = section([results], "speed.svg")
    assert "| **whole, table to matches** | 10 s · 0.1 GB | 70 s · 0.1 GB | 140 s · 0.1 GB | 2.00 |" in text
    assert "| search, image vectors | 2.5 s · 0.1 GB | 122 s · 0.1 GB | 8.2 min · 0.1 GB | 4.00 |" in text
    assert "| 70,000 | `image.neighbors=60` | 16.3 min · 0.1 GB | 0.50 | 0.9877 |" in text
    assert "| way | 35,000 listings | 35,000 listings, `distilbert.search=exact` |" in text
    assert "| ours | 1.00 (8.0 s) · 1.000 · 0.900 | 1.00 (8.0 s) · 1.000 · 0.900 |" in text
    assert "| faiss, flat | 2.50 · 1.000 · 0.900 |  |" in text
    assert "| whole, table to matches | 10 s | 75% | 25% |" in text
    assert "| a network | a GPU | 1,234 images/s |" in text


def test_growth_needs_two_sizes_and_seconds_that_say_something() -> None:
    assert growth([(35_000, 2.0), (140_000, 8.0)]) == pytest.approx(2)
    assert growth([(35_000, 2.0)]) is None
    assert growth([(35_000, 0.1), (70_000, 8.0)]) is None


def test_document_keeps_what_stands_around_the_section(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "RESULTS.md"
    document.write_text("# Results\n\n## Other\n\nWords.\n", encoding="utf-8")
    assert main(["draw", str(results.path), "--into", str(document)]) == 0
    first = document.read_text(encoding="utf-8")
    assert first.startswith(
        "# Results\n\n## Other\n\nWords.\n\n## Speed and scale\n\n```sh\npython -m tests.benchmarks"
    )
    assert first.count(BEGIN) == first.count(END) == 1
    assert "![Seconds of each stage against the number of listings](speed.svg)" in first
    assert (tmp_path / "speed.svg").stat().st_size < 30_000
    document.write_text(first.replace(BEGIN, f"Before.\n\n{BEGIN}").replace(END, f"{END}\n\nAfter."), encoding="utf-8")
    into(document, "new")
    assert f"Before.\n\n{BEGIN}\n\nnew\n{END}\n\nAfter.\n" in document.read_text(encoding="utf-8")


def test_chart_draws_rows_of_equally_many_threads(results: Results, tmp_path: Path) -> None:
    other = Results.open(tmp_path / "other.json")
    other.add("stages", [stage_row("union", size, 1.0, threads=2) for size in (5000, 35_000)], KEY)
    assert save_chart([results, other], tmp_path / "speed.svg")
    text = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    assert "whole, table to matches" in text
    assert ">union<" not in text


def test_files_without_a_measurement_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(tmp_path / "none.json")]) == 2
    assert "hold no measurement" in capsys.readouterr().err


def test_chart_draws_a_line_per_stage_and_keeps_names_apart() -> None:
    text = chart({f"stage {number}": [(1000, 1.0), (10_000, 10.0)] for number in range(12)})
    assert text.count("<polyline") == 12
    heights = sorted(float(y) for y in re.findall(r'<text x="514" y="([\d.]+)"', text))
    assert min(np.diff(heights)) > 12
    assert "<svg" in text[:10]


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
