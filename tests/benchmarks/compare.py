"""Our searches beside what a user would take instead, in one run with equally many threads; ratios are what counts.

    python -m tests.benchmarks compare --listings 35000,250000 --out results.json
    python -m tests.benchmarks compare --kinds hashes,titles --listings 35000 --repeats 5 --out results.json

Ways take turns, and the round with the fewest processor seconds counts; so other work on the machine does no harm. A
way that is ten times slower than ours is not repeated. What is not installed is left out with a word;
`pip install '.[benchmark]'` installs all. Titles are compared by ways that grow with the square of the number of
listings, so at most `TITLES` of them are. Beyond `WHOLE` listings, other ways than ours build their index of all
listings and search a sample of them; the seconds of the search are multiplied up to all, and the method says so.

Two recalls are told, both of a sample of whole products. `true_pairs` is the share of their true pairs that are found.
`recall`, of all but titles, is the share of the k nearest neighbors (within the radius, for hashes), computed in
float64; a neighbor that is tied with the k-th counts as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from branches import registry
from ensemble.candidate_pairs import recall
from shared.catalog.config import DataConfig
from shared.catalog.reader import frame_catalog
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.profiling import measured
from shared.pipeline.settings import Settings
from shared.schema import Catalog, Embeddings
from tests.benchmarks.alternatives import ALTERNATIVES, Alternative, Clock, Index, Lists, Task
from tests.benchmarks.catalogs import make_catalog
from tests.benchmarks.results import Results
from tests.benchmarks.system import labels_of, read_frame, settings_of
from tests.benchmarks.works import Order

KEY = ("kind", "method", "listings", "threads", "settings")
BRANCH = {"dense": "distilbert", "sparse": "tfidf", "hashes": "phash", "titles": "tfidf"}
TITLES = 5000  # listings
SAMPLE, TIE = 500, 1e-6  # listings whose neighbors are looked at; similarities that differ by less are tied
WHOLE, SAMPLED = 100_000, 4096  # listings up to which all are searched by every way; listings of a sample
SLOW = 10  # times as long as ours: not repeated

Judge = Callable[[Lists], dict[str, float]]


def compare(
    results: Results,
    sizes: Sequence[int],
    kinds: Sequence[str],
    repeats: int,
    order: Order,
    *,
    again: bool = False,
) -> int:
    """Compare searches of some kinds at several sizes, and add the rows to the results; return 0.

    Args:
        results: Kinds and sizes that it holds are not compared again.
        sizes: Numbers of listings.
        kinds: Keys of `ALTERNATIVES`.
        repeats: Rounds.
        order: Cache, settings and threads.
        again: Whether to compare although there are rows.
    """
    if unknown := sorted(set(kinds) - ALTERNATIVES.keys()):
        raise MatcherError(f"there is no kind {unknown[0]!r}; there are: {', '.join(ALTERNATIVES)}")
    settings = settings_of(order.settings, order.threads)
    threads = settings[ComputeConfig].cpu_threads
    for listings in sizes:
        folder = Path(order.cache) / str(listings)
        make_catalog(folder, listings)
        for kind in kinds:
            facts = {"kind": kind, "listings": min(listings, TITLES) if kind == "titles" else listings}
            facts |= {"threads": threads, "settings": order.settings}
            if again or not results.holds("alternatives", facts):
                print(f"{kind}, {facts['listings']:,} listings, {threads} threads", flush=True)
                measurements = _rounds(ALTERNATIVES[kind], *_task(kind, folder, settings), repeats)
                results.add("alternatives", [facts | row for row in measurements], KEY)
    return 0


def _task(kind: str, folder: Path, settings: Settings) -> tuple[Task, Index, Judge]:
    """Return what is searched, the listings of a sample, and what judges lists."""
    catalog = frame_catalog(read_frame(folder), None, settings[DataConfig], settings[ComputeConfig])
    codes, config = labels_of(folder), settings[registry.get(BRANCH[kind]).Config]
    if kind == "titles":
        rows = np.flatnonzero(catalog.normalized_titles != "")[:TITLES]
        task = Task(None, catalog.normalized_titles[rows], settings, config.neighbors)
        every = np.arange(len(rows))
        return task, every, lambda lists: {"true_pairs": true_pairs(lists, codes[rows], every)}
    embeddings = _embeddings(kind, catalog, folder, settings)
    present = np.flatnonzero(embeddings.present)
    vectors, codes = embeddings.vectors[present], codes[present]
    sample = whole_products(codes, SAMPLED)

    def judge(lists: Lists) -> dict[str, float]:
        neighbors = neighbor_recall(lists, vectors, config.neighbors, config.minimum, sample)
        return {"recall": neighbors, "true_pairs": true_pairs(lists, codes, sample)}

    return Task(vectors, np.zeros(0, dtype=object), settings, config.neighbors), sample, judge


def _embeddings(kind: str, catalog: Catalog, folder: Path, settings: Settings) -> Embeddings:
    if kind == "dense":
        return Embeddings.load(folder / f"{BRANCH[kind]}.safetensors")
    branch = registry.get(BRANCH[kind])
    return branch.fit(catalog, None, settings[branch.Config], settings[ComputeConfig]).transform(catalog)


def whole_products(codes: NDArray[np.integer], size: int) -> Index:
    """Return the rows of products drawn at random, of at least so many listings or all, rising.

    Examples:
        >>> whole_products(np.array([0, 1, 0, 1]), 2).tolist() in ([0, 2], [1, 3])
        True
    """
    drawn = np.random.default_rng(0).permutation(codes.max() + 1)
    enough = np.searchsorted(np.cumsum(np.bincount(codes, minlength=len(drawn))[drawn]), size) + 1
    return np.flatnonzero(np.isin(codes, drawn[:enough]))


def true_pairs(lists: Lists, codes: NDArray[np.integer], rows: Index) -> float:
    """Return the share of the true pairs of whole products, the listings at `rows`, that are in lists of theirs.

    Examples:
        >>> true_pairs((np.array([0]), np.array([1])), np.array([0, 0, 0]), np.arange(3))
        0.3333333333333333
    """
    place = np.full(len(codes), -1)
    place[rows] = np.arange(len(rows))
    ends = np.sort(place[np.stack(lists, axis=1)], axis=1)
    ends = np.unique(ends[ends[:, 0] >= 0], axis=0).astype(np.int32)
    return recall(ends[:, 0], ends[:, 1], codes[rows])


def neighbor_recall(lists: Lists, vectors: Any, k: int, minimum: float, sample: Index) -> float:
    """Return the share of the k nearest neighbors of some listings that are among lists.

    Args:
        lists: Neighbors of the listings of a sample, at least.
        vectors: Unit rows, [n, d], dense or CSR.
        k: Neighbors per listing.
        minimum: Least similarity of a neighbor; only one above zero counts.
        sample: Listings, at most `SAMPLE` of which are looked at.

    Examples:
        >>> vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], np.float32)
        >>> neighbor_recall((np.array([0, 1, 2]), np.array([1, 2, 0])), vectors, 1, 0.0, np.arange(3))
        0.6666666666666666
    """
    n = vectors.shape[0]
    rows = np.sort(np.random.default_rng(0).permutation(sample)[:SAMPLE])
    place = np.full(n, -1)
    place[rows] = np.arange(len(rows))
    chosen = np.flatnonzero(place[lists[0]] >= 0)
    listing, neighbor = place[lists[0][chosen]], lists[1][chosen]
    similarity = _exact(vectors, rows)
    similarity[np.arange(len(rows)), rows] = -1
    kth = np.partition(similarity, -min(k, n - 1), axis=1)[:, -min(k, n - 1)]
    least = np.maximum(kth, max(minimum, 2 * TIE)) - TIE
    true = np.minimum((similarity >= least[:, None]).sum(axis=1), k)
    hits = np.zeros(len(rows), dtype=np.int64)
    unique = np.unique(listing.astype(np.int64) * n + neighbor)
    np.add.at(hits, unique // n, similarity[unique // n, unique % n] >= least[unique // n])
    return float(np.minimum(hits, true).sum() / max(true.sum(), 1))


def _exact(vectors: Any, rows: Index) -> NDArray[np.float64]:
    if isinstance(vectors, sparse.csr_array):
        return np.asarray((vectors[rows].astype(np.float64) @ vectors.T.astype(np.float64)).toarray())
    chosen = vectors[rows].astype(np.float64)
    step = 1 << 16
    blocks = [chosen @ vectors[start : start + step].T.astype(np.float64) for start in range(0, len(vectors), step)]
    return np.concatenate(blocks, axis=1)


def _rounds(ways: Sequence[Alternative], task: Task, sample: Index, judge: Judge, repeats: int) -> list[dict[str, Any]]:
    """Return a row per way that is installed; the first is ours."""
    rows: dict[str, dict[str, Any]] = {}
    failed: set[str] = set()
    for number in range(repeats):
        for way in ways:
            if number == 0 and way.lacking:
                print(f"  {way.name}: left out, {way.lacking} is not installed", flush=True)
            ours = rows.get(ways[0].name, {"cpu_seconds": float("inf")})
            if number == 0 and _left_out(way, task):
                print(f"  {way.name}: left out, it grows with the square of {len(task.rows):,} listings", flush=True)
            slow = way.name in rows and rows[way.name]["cpu_seconds"] > SLOW * ours["cpu_seconds"]
            if way.lacking is None and not slow and way.name not in failed and not _left_out(way, task):
                try:
                    _round(way, task, sample, judge, rows)
                except Exception as error:  # of a package of another version, which is not ours to judge
                    if way is ways[0]:
                        raise
                    failed.add(way.name)
                    print(f"  {way.name}: left out, {type(error).__name__}: {str(error)[:200]}", flush=True)
    least = max(rows[ways[0].name]["cpu_seconds"], 1e-6)  # a microsecond is the finest that the clocks tell
    for row in rows.values():
        row |= {"ratio": round(row["cpu_seconds"] / least, 3), "cpu_seconds": round(row["cpu_seconds"], 3)}
        print(f"  {row['method']:<42} {row['ratio']:8.2f} × ours · {in_words(row)}", flush=True)
    return list(rows.values())


def in_words(row: Mapping[str, Any]) -> str:
    """Return the recalls of a row.

    Examples:
        >>> in_words({"recall": 0.98765, "true_pairs": 0.5}), in_words({"true_pairs": 0.5})
        ('neighbors .988, true pairs .500', 'true pairs .500')
    """
    names = {"recall": "neighbors", "true_pairs": "true pairs"}
    return ", ".join(f"{name} {row[key]:.3f}".replace(" 0.", " .") for key, name in names.items() if key in row)


def _left_out(way: Alternative, task: Task) -> bool:
    return way.large == "none" and task.vectors.shape[0] > WHOLE


def _round(way: Alternative, task: Task, sample: Index, judge: Judge, rows: dict[str, dict[str, Any]]) -> None:
    """Search once by a way, all listings or those of a sample; keep the least seconds."""
    torch.set_num_threads(task.threads)
    sampled = way.large == "sample" and task.vectors.shape[0] > WHOLE
    task = replace(task, sample=sample if sampled else None, searching=Clock())
    with threadpool_limits(task.threads), measured() as cost:
        cpu = time.process_time()
        lists = way.search(task)
        cpu_seconds = time.process_time() - cpu
    if sampled:
        cpu_seconds += task.searching.seconds * (task.vectors.shape[0] / len(sample) - 1)
    method = f"{way.name} (a sample)" if sampled else way.name
    row = rows.setdefault(way.name, {"method": method, "repeats": 0, "peak_memory_mb": cost["peak_memory_mb"]})
    if row["repeats"] == 0:
        row |= {name: round(value, 5) for name, value in judge(lists).items()}
    row["repeats"] += 1
    row["cpu_seconds"] = min(row.get("cpu_seconds", float("inf")), cpu_seconds)
    print(f"  {method:<42} {cpu_seconds:8.2f} CPU s", flush=True)
