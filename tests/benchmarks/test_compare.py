"""Comparisons with other libraries judge by recall, and ways that cannot take part are left out."""

import re
import time
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from tests.benchmarks import compare as compare_module
from tests.benchmarks.alternatives import ALTERNATIVES, Alternative, Task, without_itself
from tests.benchmarks.compare import _rounds, neighbor_recall, true_pairs, whole_products
from tests.benchmarks.system import settings_of

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
