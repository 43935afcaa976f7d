"""What a user would take in place of the project's searches, each as a function of the same data.

Every function returns the neighbors that it finds as two arrays, (listing, neighbor), without a listing itself. `k` is
the number of neighbors per listing. Building an index is part of the work, as it is of ours. Ways that search each
listing by itself are given a sample of the listings of a large pool to search among all of them (`Task.rows`), and say
when they do that and nothing else (`Task.searching`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from branches import registry
from branches.candidates import propose
from branches.phash.config import Config as HashConfig
from branches.tfidf.embed import fit
from shared.compute import ComputeConfig
from shared.pipeline.settings import Settings
from shared.schema import Candidates, Catalog, Embeddings

Index = NDArray[np.integer]
Lists = tuple[Index, Index]
BLOCK = 1 << 24  # similarities in memory at a time, where a block is the caller's to choose


@dataclass
class Clock:
    """Adds up the processor seconds of the blocks that it is the context of.

    Examples:
        >>> clock = Clock()
        >>> with clock:
        ...     total = sum(range(100_000))
        >>> clock.seconds > 0
        True
    """

    seconds: float = 0.0

    def __enter__(self) -> None:
        self.seconds -= time.process_time()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.process_time()


@dataclass(frozen=True)
class Task:
    """Neighbors to search.

    Args:
        vectors: Unit rows, float32 [n, d], dense or CSR; hashes as rows of ±1/8; None where titles are the data.
        titles: Normalized titles, str [n].
        settings: Of our branches.
        k: Neighbors per listing.
        sample: Listings whose neighbors are searched, rising, int64 [q]; None: all.
        searching: Runs while listings are searched, and not while an index is built.
    """

    vectors: Any
    titles: NDArray[Any]
    settings: Settings
    k: int
    sample: Index | None = None
    searching: Clock = field(default_factory=Clock)

    @property
    def rows(self) -> Index:
        """The listings whose neighbors are searched."""
        return np.arange(self.vectors.shape[0]) if self.sample is None else self.sample

    @property
    def compute(self) -> ComputeConfig:
        return self.settings[ComputeConfig]

    @property
    def threads(self) -> int:
        return self.compute.cpu_threads


@dataclass(frozen=True)
class Alternative:
    """A way to search.

    Args:
        name: As the table has it.
        packages: What it imports.
        search: Does it.
        large: Of a large pool, whether it searches "all" listings, a "sample", or is left out ("none") since its work
            grows with the square of the listings and cannot be done for some of them.
    """

    name: str
    packages: tuple[str, ...]
    search: Callable[[Task], Lists]
    large: Literal["all", "sample", "none"] = "sample"

    @property
    def lacking(self) -> str | None:
        """Return a package that is not installed; None where all are."""
        return next((name for name in self.packages if find_spec(name.partition(".")[0]) is None), None)


# --- ours -------------------------------------------------------------------------------------------------------------


def ours(branch: str) -> Callable[[Task], Lists]:
    """Return our search by a branch."""

    def search(task: Task) -> Lists:
        config = task.settings[registry.get(branch).Config]
        return lists_of(propose(_embeddings(task.vectors), config, task.compute))

    return search


def our_titles(task: Task) -> Lists:
    """Embed titles by TF-IDF and search their neighbors."""
    titles = task.titles.tolist()
    catalog = Catalog.from_columns({"posting_id": [str(row) for row in range(len(titles))], "title": titles})
    config = task.settings[registry.get("tfidf").Config]
    return lists_of(propose(fit(catalog, None, config, task.compute).transform(catalog), config, task.compute))


def lists_of(candidates: Candidates) -> Lists:
    """Return the neighbors of each listing out of pairs with ranks.

    Examples:
        >>> rank = np.array([1], np.int32)
        >>> lists_of(Candidates(2, rank - 1, rank, np.ones(1, np.float32), rank, rank - 1))
        (array([0], dtype=int32), array([1], dtype=int32))
    """
    of_left, of_right = candidates.rank_left > 0, candidates.rank_right > 0
    listing = np.concatenate([candidates.left[of_left], candidates.right[of_right]])
    return listing, np.concatenate([candidates.right[of_left], candidates.left[of_right]])


def _embeddings(vectors: Any) -> Embeddings:
    return Embeddings(vectors, np.ones(vectors.shape[0], dtype=np.bool_))


# --- dense vectors ----------------------------------------------------------------------------------------------------


def faiss_flat(task: Task) -> Lists:
    import faiss

    index = faiss.IndexFlatIP(task.vectors.shape[1])
    return _searched(index, task)


def faiss_ivf(probes: int) -> Callable[[Task], Lists]:
    """Return a search by inverted lists; four times the root of n of them, as the library's guide advises."""

    def search(task: Task) -> Lists:
        import faiss

        n, width = task.vectors.shape
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, min(n, round(4 * n**0.5)), faiss.METRIC_INNER_PRODUCT
        )
        index.cp.min_points_per_centroid = 1
        index.train(task.vectors)
        index.nprobe = probes
        return _searched(index, task)

    return search


def faiss_hnsw(breadth: int) -> Callable[[Task], Lists]:
    """Return a search by a graph of which so many listings are looked at per listing, at least."""

    def search(task: Task) -> Lists:
        import faiss

        index = faiss.IndexHNSWFlat(task.vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 100, breadth
        return _searched(index, task)

    return search


def _searched(index: Any, task: Task) -> Lists:
    index.add(task.vectors)
    with task.searching:
        _, neighbors = index.search(task.vectors[task.rows], min(task.k + 1, len(task.vectors)))
    return without_itself(neighbors, task.rows)


def without_itself(neighbors: Index, rows: Index | None = None) -> Lists:
    """Return lists from the neighbors of listings, int [r, k + 1], itself among them or not; -1 is none.

    Args:
        neighbors: Of each listing at `rows`.
        rows: int [r]; None: all listings.

    Examples:
        >>> listing, neighbor = without_itself(np.array([[0, 1], [1, -1]]))
        >>> listing.tolist(), neighbor.tolist()
        ([0], [1])
    """
    listing = np.repeat(np.arange(len(neighbors)) if rows is None else rows, neighbors.shape[1])
    neighbor = neighbors.ravel()
    kept = (neighbor != listing) & (neighbor >= 0)
    return listing[kept], neighbor[kept]


def mined_paraphrases(task: Task) -> Lists:
    import torch
    from sentence_transformers import util

    most = task.k * len(task.vectors)
    pairs = util.paraphrase_mining_embeddings(torch.from_numpy(task.vectors), top_k=task.k, max_pairs=most)
    ends = np.array([(left, right) for _, left, right in pairs], dtype=np.int64).reshape(-1, 2)
    return np.concatenate([ends[:, 0], ends[:, 1]]), np.concatenate([ends[:, 1], ends[:, 0]])


def sklearn_neighbors(task: Task) -> Lists:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(task.k + 1, task.vectors.shape[0]), metric="cosine", algorithm="brute")
    search.fit(task.vectors)
    with task.searching:
        neighbors = search.kneighbors(task.vectors[task.rows], return_distance=False)
    return without_itself(neighbors, task.rows)


def notebook_product(task: Task) -> Lists:
    """Multiply a block of vectors with all others and take the best of each row, as notebooks of the competition do."""
    import torch

    vectors = torch.from_numpy(task.vectors)
    step, best = max(1, BLOCK // len(vectors)), []
    with task.searching:
        for start in range(0, len(task.rows), step):
            block = vectors[task.rows[start : start + step]]
            best.append(torch.topk(block @ vectors.T, min(task.k + 1, len(vectors)), dim=1).indices)
    return without_itself(torch.cat(best).numpy(), task.rows)


# --- sparse vectors ---------------------------------------------------------------------------------------------------


def sparse_dot_topn(task: Task) -> Lists:
    from sparse_dot_topn import sp_matmul_topn

    vectors = sparse.csr_matrix(task.vectors)
    asked, turned = vectors[task.rows], vectors.T.tocsr()
    with task.searching:
        best = sp_matmul_topn(asked, turned, top_n=task.k + 1, sort=True, n_threads=task.threads)
    row, neighbor = best.nonzero()
    listing = task.rows[row]
    kept = listing != neighbor
    return listing[kept], neighbor[kept]


def sparse_product(task: Task) -> Lists:
    """Multiply a block of sparse vectors with all others, make it dense and take the best of each row."""
    vectors, turned = task.vectors, sparse.csr_array(task.vectors.T)
    n, best = vectors.shape[0], []
    step, k = max(1, BLOCK // n), min(task.k + 1, n)
    with task.searching:
        for start in range(0, len(task.rows), step):
            similarity = (vectors[task.rows[start : start + step]] @ turned).toarray()
            best.append(np.argpartition(similarity, n - k, axis=1)[:, n - k :])
    return without_itself(np.concatenate(best), task.rows)


# --- hashes -----------------------------------------------------------------------------------------------------------


def faiss_range(task: Task) -> Lists:
    import faiss

    bits, radius = _bits(task), task.settings[HashConfig].radius
    index = faiss.IndexBinaryFlat(64)
    index.add(bits)
    with task.searching:
        ends, _, neighbor = index.range_search(bits[task.rows], radius + 1)
    listing = np.repeat(task.rows, np.diff(ends.astype(np.int64)))
    kept = listing != neighbor
    return listing[kept], neighbor[kept]


def imagededup_search(task: Task) -> Lists:
    """Search by imagededup's default, brute force compiled by Cython; its module alone, as the rest draws plots."""
    from imagededup.handlers.search.brute_force_cython import BruteForceCython

    hashes = {str(row): bits.tobytes().hex() for row, bits in enumerate(_bits(task))}
    radius = task.settings[HashConfig].radius
    search = BruteForceCython(hashes, lambda one, other: 0)
    pairs = [(row, int(name)) for row, text in hashes.items() for name, _ in search.search(text, radius) if name != row]
    ends = np.array([(int(row), name) for row, name in pairs], dtype=np.int64).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


def _bits(task: Task) -> NDArray[np.uint8]:
    return np.packbits(task.vectors > 0, axis=1)


# --- titles -----------------------------------------------------------------------------------------------------------


def rapidfuzz_matrix(task: Task) -> Lists:
    from rapidfuzz import fuzz, process

    titles = task.titles.tolist()
    step, k, best = max(1, BLOCK // len(titles)), min(task.k + 1, len(titles)), []
    for start in range(0, len(titles), step):
        block = titles[start : start + step]
        similarity = process.cdist(block, titles, scorer=fuzz.token_sort_ratio, workers=task.threads, dtype=np.uint8)
        best.append(np.argpartition(similarity, len(titles) - k, axis=1)[:, -k:])
    return without_itself(np.concatenate(best))


def rapidfuzz_loop(task: Task) -> Lists:
    from rapidfuzz import fuzz, process

    titles = task.titles.tolist()
    best = [process.extract(title, titles, scorer=fuzz.token_sort_ratio, limit=task.k + 1) for title in titles]
    return without_itself(np.array([[row for _, _, row in of_title] for of_title in best]))


RAREST = 3  # words of a title by which splink makes pairs


def splink_pairs(task: Task) -> Lists:
    """Link titles that share one of their rarest words, by a model that splink fits to them without labels."""
    import splink.comparison_library as compare
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.ERROR)
    words = [sorted(set(title.split())) for title in task.titles]
    holding = Counter(word for of_title in words for word in of_title)
    rare = [sorted(of_title, key=lambda word: (holding[word], word))[:RAREST] for of_title in words]
    frame = pd.DataFrame(
        {"unique_id": range(len(words)), "title": task.titles.astype(str), "words": words, "rare": rare}
    )
    by_word = block_on("rare", arrays_to_explode=["rare"])
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            compare.JaroWinklerAtThresholds("title", [0.95, 0.85, 0.75]),
            compare.ArrayIntersectAtSizes("words", [6, 4, 3, 2]),
        ],
        blocking_rules_to_generate_predictions=[by_word],
        probability_two_random_records_match=1 / max(len(words), 2),
    )
    linker = Linker(DuckDBAPI().register(frame), settings, log_level=logging.ERROR)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("substr(title, 1, 6)"))
    pairs = linker.inference.predict(threshold_match_probability=0.01).as_pandas_dataframe()
    return pairs["unique_id_l"].to_numpy(), pairs["unique_id_r"].to_numpy()


ALTERNATIVES = {
    "dense": [
        Alternative("ours", (), ours("distilbert"), "all"),
        Alternative("faiss, flat", ("faiss",), faiss_flat),
        Alternative("faiss, IVF, 16 probes", ("faiss",), faiss_ivf(16)),
        Alternative("faiss, IVF, 64 probes", ("faiss",), faiss_ivf(64)),
        Alternative("faiss, HNSW", ("faiss",), faiss_hnsw(128)),
        Alternative("sentence-transformers, paraphrase mining", ("sentence_transformers",), mined_paraphrases, "none"),
        Alternative("scikit-learn, brute force", ("sklearn",), sklearn_neighbors),
        Alternative("product in blocks, torch", ("torch",), notebook_product),
    ],
    "sparse": [
        Alternative("ours", (), ours("tfidf"), "all"),
        Alternative("sparse-dot-topn", ("sparse_dot_topn",), sparse_dot_topn),
        Alternative("scikit-learn, brute force", ("sklearn",), sklearn_neighbors),
        Alternative("product in blocks, scipy", ("scipy",), sparse_product),
    ],
    "hashes": [
        Alternative("ours", (), ours("phash"), "all"),
        Alternative("faiss, range search", ("faiss",), faiss_range),
        Alternative("imagededup, brute force", ("imagededup", "brute_force_cython_ext"), imagededup_search, "none"),
    ],
    "titles": [
        Alternative("ours: TF-IDF, vectors and search", (), our_titles, "all"),
        Alternative("rapidfuzz, matrix", ("rapidfuzz",), rapidfuzz_matrix, "all"),
        Alternative("rapidfuzz, loop", ("rapidfuzz",), rapidfuzz_loop, "all"),
        Alternative("splink on DuckDB", ("splink", "duckdb"), splink_pairs, "all"),
    ],
}
