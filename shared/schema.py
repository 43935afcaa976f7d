"""The types that cross stage borders: frozen, checked when made, saved without pickle.

    Catalog → Embeddings → Candidates → CandidatePairs → PairFeatures → ScoredPairs → Matches

Every type speaks of listings by their **row** in the catalog (or pool) it belongs to: row order is identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse

from shared.arrays import object_array
from shared.titles import normalize_all

Rows = NDArray[np.int32]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Vectors = Floats | sparse.csr_array

CATALOG_SCHEMA = pa.schema(  # what is read of a listing
    [
        pa.field("posting_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),  # as written; null or blank: no title
        pa.field("image", pa.string()),  # file name as written, below the image folder
        pa.field("label_group", pa.string()),  # null: not labeled
        pa.field("phash", pa.uint64()),  # of the image, or the one in the table where its file is missing
        pa.field("image_sha", pa.string()),  # SHA-256 of the file's bytes, hex; null: no usable image
        pa.field("width", pa.int32()),  # pixels, as shown (after EXIF rotation)
        pa.field("height", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("image_fault", pa.string()),  # why the image that the table names cannot be used
    ]
)
NORMALIZED_TITLE = pa.field("normalized_title", pa.string())  # `normalize(title)`; null: nothing is left of it

NORM_TOLERANCE = 1e-3  # how far rounding may take a norm or a cosine from its bound


def _require(holds: bool | np.bool_, message: str) -> None:
    if not holds:
        raise ValueError(message)


@dataclass(frozen=True)
class Catalog:
    """Listings in the order in which they were read.

    Args:
        table: Columns of `CATALOG_SCHEMA`, and `NORMALIZED_TITLE` as the last one. A table without the last one gets
            it here, so that every title is normalized once. Ids are unique and not null.
        image_folder: Folder below which the names in `image` are looked up; None when no image is used.

    Raises:
        ValueError: The table has other columns or types, or an id is null or occurs twice.

    Examples:
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b", "c"], "title": ["Red Mug!", None, "Fan 5 V"]})
        >>> catalog.normalized_titles.tolist()
        ['red mug', '', 'fan 5v']
        >>> catalog.take(np.array([2, 0])).ids.tolist()
        ['c', 'a']
    """

    table: pa.Table
    image_folder: Path | None = None

    def __post_init__(self) -> None:
        fields = [(f.name, f.type) for f in self.table.schema]
        as_read = [(f.name, f.type) for f in CATALOG_SCHEMA]
        complete = [*as_read, (NORMALIZED_TITLE.name, NORMALIZED_TITLE.type)]
        _require(fields in (as_read, complete), f"catalog columns: {fields}")
        ids = self.ids
        _require(None not in ids, "a posting id is null")
        _require(len(set(ids)) == len(ids), "posting ids are not unique")
        if fields == as_read:
            normalized = pa.array([title or None for title in normalize_all(self.titles)], NORMALIZED_TITLE.type)
            object.__setattr__(self, "table", self.table.append_column(NORMALIZED_TITLE, normalized))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]], image_folder: Path | None = None) -> Self:
        """Return the catalog of some columns; all others are null.

        Args:
            columns: `posting_id` and any other of `CATALOG_SCHEMA`, each of n values, None where there is none.
            image_folder: Folder below which the names in `image` are looked up.

        Raises:
            ValueError: A column is not of `CATALOG_SCHEMA`, or the ids are missing, null or not unique.
        """
        unknown = sorted(columns.keys() - set(CATALOG_SCHEMA.names))
        _require(not unknown, f"no columns of a catalog: {', '.join(unknown)}")
        _require("posting_id" in columns, "a catalog needs the column posting_id")
        nulls = [None] * len(columns["posting_id"])
        table = {name: columns.get(name, nulls) for name in CATALOG_SCHEMA.names}
        return cls(pa.table(table, schema=CATALOG_SCHEMA), image_folder)

    def with_columns(self, columns: Mapping[str, Sequence[Any]]) -> Catalog:
        """Return the same listings with some columns replaced; the normalized titles follow the titles.

        Args:
            columns: Columns of `CATALOG_SCHEMA`, each of n values, None where there is none.

        Raises:
            ValueError: The ids are null or not unique.
        """
        table = self.table.drop_columns([NORMALIZED_TITLE.name]) if "title" in columns else self.table
        for name, values in columns.items():
            column = CATALOG_SCHEMA.get_field_index(name)
            field = CATALOG_SCHEMA.field(column)
            table = table.set_column(column, field, pa.array(values, field.type))
        return Catalog(table, self.image_folder)

    def column(self, name: str) -> NDArray[Any]:
        """Return one column as an object array [n], None where it is null."""
        return object_array(self.table.column(name).to_pylist())

    @property
    def ids(self) -> NDArray[Any]:
        """Posting ids, str [n]."""
        return self.column("posting_id")

    @property
    def titles(self) -> NDArray[Any]:
        """Titles as written, str [n]; "" where there is none."""
        return object_array(title or "" for title in self.column("title"))

    @property
    def normalized_titles(self) -> NDArray[Any]:
        """Titles in the form of `shared.titles.normalize`, str [n]; "" where there is none."""
        return object_array(title or "" for title in self.column(NORMALIZED_TITLE.name))

    @property
    def labels(self) -> NDArray[Any]:
        """Label groups, str or None [n]."""
        return self.column("label_group")

    @property
    def has_image(self) -> Flags:
        """Whether the image of each listing can be decoded, bool [n]."""
        valid: Flags = self.table.column("image_sha").is_valid().to_numpy()
        return valid

    @property
    def has_phash(self) -> Flags:
        """Whether each listing has a perceptual hash, bool [n]."""
        valid: Flags = self.table.column("phash").is_valid().to_numpy()
        return valid

    @property
    def phashes(self) -> NDArray[np.uint64]:
        """Perceptual hashes, uint64 [n]; 0 where there is none."""
        hashes: NDArray[np.uint64] = self.table.column("phash").fill_null(0).to_numpy().astype(np.uint64)
        return hashes

    def image_paths(self) -> list[Path | None]:
        """Return the image file of each listing; None where it cannot be used."""
        folder, names = self.image_folder, self.column("image")
        return [folder / n if folder and ok else None for n, ok in zip(names, self.has_image, strict=True)]

    def take(self, rows: NDArray[np.integer]) -> Catalog:
        """Return the listings at `rows`, in that order."""
        return Catalog(self.table.take(pa.array(np.asarray(rows, dtype=np.int64))), self.image_folder)

    @classmethod
    def concat(cls, catalogs: Sequence[Catalog]) -> Catalog:
        """Return the listings of one or more catalogs, one after the other; their ids must differ.

        The image folder is the one that all of theirs lie in. A usable image's name is written from there; other
        names stay as they were written and stand for no file.
        """
        folders = [c.image_folder.absolute() for c in catalogs if c.image_folder and c.has_image.any()]
        root = Path(os.path.commonpath(folders)) if folders else None
        return cls(pa.concat_tables([catalog._named_from(root).table for catalog in catalogs]), root)

    def _named_from(self, root: Path | None) -> Catalog:
        """Return the catalog with the names of usable images written from `root`, which lies above its folder."""
        paths, written = self.image_paths(), self.column("image")
        names = [str(p.absolute().relative_to(root)) if p and root else n for p, n in zip(paths, written, strict=True)]
        return self.with_columns({"image": names})

    def without_labels(self) -> Catalog:
        """Return the same listings, as if nobody had labeled them."""
        return self.with_columns({"label_group": [None] * len(self)})

    def save(self, path: Path) -> None:
        """Write one Parquet file; the image folder travels in its metadata."""
        folder = str(self.image_folder) if self.image_folder else ""
        pq.write_table(self.table.replace_schema_metadata({"image_folder": folder}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; titles of a file without their normalized form are normalized."""
        table = pq.read_table(path)
        folder = (table.schema.metadata or {}).get(b"image_folder", b"").decode()
        return cls(table.replace_schema_metadata(None), Path(folder) if folder else None)


@dataclass(frozen=True)
class Embeddings:
    """One branch's vectors of a pool; the dot product of two rows is their cosine similarity.

    Args:
        vectors: float32 [n, d], dense or CSR. Unit rows where `present`, zero rows elsewhere.
        present: bool [n]; False where the branch has no evidence about a listing.
    """

    vectors: Vectors
    present: Flags

    def __post_init__(self) -> None:
        _require(isinstance(self.vectors, np.ndarray | sparse.csr_array), "vectors must be a numpy or a CSR array")
        _require(self.present.dtype == np.bool_, f"present must be bool, not {self.present.dtype}")
        _require(self.vectors.ndim == 2 and self.vectors.shape[0] == len(self.present), "vectors and present differ")
        _require(self.vectors.dtype == np.float32, f"vectors must be float32, not {self.vectors.dtype}")
        values = self.vectors.data if sparse.issparse(self.vectors) else self.vectors
        _require(np.isfinite(values).all(), "embeddings must be finite")
        norms = np.sqrt(np.asarray((self.vectors * self.vectors).sum(axis=1), dtype=np.float64)).ravel()
        _require((np.abs(norms[self.present] - 1) <= NORM_TOLERANCE).all(), "rows with evidence must have unit norm")
        _require((norms[~self.present] == 0).all(), "rows without evidence must be zero")

    def __len__(self) -> int:
        return len(self.present)

    def similarity(self, left: Rows, right: Rows, block: int = 8192) -> Floats:
        """Cosine of the given pairs, float32 [p]; NaN where either listing has no evidence.

        Summed in float64 pair by pair, so that a pair's value does not depend on what else is in the pool.
        """
        out = np.full(len(left), np.nan, dtype=np.float32)
        known = np.flatnonzero(self.present[left] & self.present[right])
        for start in range(0, len(known), block):
            at = known[start : start + block]
            if isinstance(self.vectors, sparse.csr_array):
                out[at] = _sparse_products(self.vectors, left[at], right[at])
            else:
                out[at] = np.einsum("pd,pd->p", self.vectors[left[at]], self.vectors[right[at]], dtype=np.float64)
        return out

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        if isinstance(self.vectors, sparse.csr_array):
            v = self.vectors
            tensors = {
                "data": v.data,
                "indices": v.indices.astype(np.int32),
                "indptr": v.indptr.astype(np.int64),
                "shape": np.array(v.shape, dtype=np.int64),
            }
        else:
            tensors = {"vectors": np.ascontiguousarray(self.vectors)}
        save_file({**tensors, "present": self.present.astype(np.uint8)}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        t = load_file(path)
        present = t["present"].astype(bool)
        if "vectors" in t:
            return cls(t["vectors"], present)
        return cls(sparse.csr_array((t["data"], t["indices"], t["indptr"]), shape=tuple(t["shape"])), present)


Embedder = Callable[[Catalog], Embeddings]


def _sparse_products(vectors: sparse.csr_array, left: Rows, right: Rows) -> NDArray[np.float64]:
    """Dot products of pairs of rows, each summed in the order of the columns, float64 [p]; fast where left repeats."""
    others, row = vectors[right].astype(np.float64), np.zeros(vectors.shape[1])
    borders = np.append(np.flatnonzero(np.diff(left, prepend=-1)), len(left))
    for own, (start, end) in zip(left[borders[:-1]], pairwise(others.indptr[borders].tolist()), strict=True):
        columns = slice(*vectors.indptr[own : own + 2])
        row[vectors.indices[columns]] = vectors.data[columns]
        others.data[start:end] *= row[others.indices[start:end]]
        row[vectors.indices[columns]] = 0
    products: NDArray[np.float64] = others @ np.ones(len(row))
    return products


def _check_pairs(n: int, left: Rows, right: Rows) -> None:
    _require(left.dtype == np.int32 and right.dtype == np.int32 and left.shape == right.shape, "pairs must be int32")
    _require((left < right).all(), "a pair must have left < right")
    if len(left):
        _require(left.min() >= 0 and right.max() < n, f"a pair points outside of {n} listings")
        _require((np.diff(pair_key(left, right, n)) > 0).all(), "pairs must be unique and sorted by (left, right)")


def pair_key(left: NDArray[np.integer], right: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Return one number per pair of listings of a pool: left · n + right, which sorts as (left, right) does.

    Args:
        left: Row of the first listing of each pair, int [p].
        right: Row of the second one, int [p].
        n: Number of listings in the pool.

    Examples:
        >>> pair_key(np.array([0, 2]), np.array([3, 3]), 4).tolist()
        [3, 11]
    """
    key: NDArray[np.int64] = left.astype(np.int64) * n + right
    return key


def locate(keys: Any, sorted_keys: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """Return where each key stands among sorted keys: position, int64 [k], and whether it is there, bool [k].

    The position of a key that is not there means nothing.

    Args:
        keys: The keys to look up, int64 [k], of numpy or of `xp`.
        sorted_keys: The keys to look among, int64 [s], rising, each once, of numpy or of `xp`.
        xp: Array module to work with, numpy or CuPy.

    Examples:
        >>> position, is_there = locate(np.array([7, 4]), np.array([1, 4, 9]))
        >>> is_there.tolist(), int(position[1])
        ([False, True], 1)
    """
    if len(sorted_keys) == 0:
        return xp.zeros(len(keys), dtype=np.int64), xp.zeros(len(keys), dtype=bool)
    keys, sorted_keys = xp.asarray(keys), xp.asarray(sorted_keys)
    position = xp.minimum(xp.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return position, sorted_keys[position] == keys


@dataclass(frozen=True)
class CandidatePairs:
    """Pairs of listings of one pool that are to be compared.

    Args:
        n: Number of listings in the pool.
        left: Rows, int32 [p].
        right: Rows, int32 [p]; left < right, sorted by (left, right), unique.

    Examples:
        >>> pairs = CandidatePairs(4, np.array([0, 0], np.int32), np.array([1, 3], np.int32))
        >>> len(pairs), pairs.key.tolist(), pairs.only(np.array([False, True])).right.tolist()
        (2, [1, 3], [3])
    """

    n: int
    left: Rows
    right: Rows

    def __post_init__(self) -> None:
        _check_pairs(self.n, self.left, self.right)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def key(self) -> NDArray[np.int64]:
        """One number per pair, rising, int64 [p]; see `pair_key`."""
        return pair_key(self.left, self.right, self.n)

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with all that belongs to them; `keep` is bool [p]."""
        columns = {name: column[keep] for name, column in self._columns().items()}
        return self._of_columns(self.n, columns)

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        pq.write_table(pa.table(self._columns()).replace_schema_metadata({"n": str(self.n)}), path)

    def _columns(self) -> dict[str, Any]:
        return {"left": self.left, "right": self.right}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        return cls._of_columns(int(table.schema.metadata[b"n"]), columns)

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, columns["left"], columns["right"])


@dataclass(frozen=True)
class Candidates(CandidatePairs):
    """Pairs that one branch proposes in a pool.

    Args:
        similarity: The branch's cosine, float32 [p] in [-1, 1].
        rank_left: Rank of `right` among the neighbors of `left`, int32 [p], from 1; equal similarities share the
            smallest rank; 0 where `right` is not among them.
        rank_right: Rank of `left` among the neighbors of `right`, likewise.
    """

    similarity: Floats
    rank_left: Rows
    rank_right: Rows

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {len(self.left), len(self.similarity), len(self.rank_left), len(self.rank_right)}
        _require(len(sizes) == 1, "columns differ in length")
        dtypes = [column.dtype for column in (self.similarity, self.rank_left, self.rank_right)]
        _require(dtypes == [np.float32, np.int32, np.int32], f"similarity and ranks have dtypes {dtypes}")
        _require((np.abs(self.similarity) <= 1 + NORM_TOLERANCE).all(), "similarities must lie in [-1, 1]")
        _require(((self.rank_left >= 0) & (self.rank_right >= 0)).all(), "ranks must not be negative")
        _require(((self.rank_left > 0) | (self.rank_right > 0)).all(), "a candidate needs a rank on one side")

    def _columns(self) -> dict[str, Any]:
        ranks = {"rank_left": self.rank_left, "rank_right": self.rank_right}
        return super()._columns() | {"similarity": self.similarity} | ranks

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, **columns)


@dataclass(frozen=True)
class PairFeatures(CandidatePairs):
    """Candidate pairs, described.

    Args:
        features: One float32 column per feature, p rows; the same for (a, b) and (b, a). NaN means unknown.
    """

    features: pd.DataFrame

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(len(self.features) == len(self.left), "features differ in length")
        _require(all(t == np.float32 for t in self.features.dtypes), "features must be float32")

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with their features; `keep` is bool [p]."""
        features = self.features[keep].reset_index(drop=True)
        return replace(self, left=self.left[keep], right=self.right[keep], features=features)

    def _columns(self) -> dict[str, Any]:
        return super()._columns() | {f"f:{name}": self.features[name].to_numpy() for name in self.features}

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        features = {name[2:]: values for name, values in columns.items() if name.startswith("f:")}
        return cls(n, columns["left"], columns["right"], pd.DataFrame(features, index=range(len(columns["left"]))))


@dataclass(frozen=True)
class ScoredPairs(CandidatePairs):
    """Candidate pairs with the probability that each is a match.

    Args:
        score: float32 [p] in [0, 1].
        conflict: Whether the two titles state different quantities, bool [p], for a decision that forbids such matches;
            None where the pairs were not compared in this.

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 1], np.int32), np.array([1, 2], np.int32))
        >>> scored = ScoredPairs.of(pairs, np.array([0.9, 0.2], np.float32))
        >>> scored.only(scored.score > 0.5).right.tolist()
        [1]
    """

    score: Floats
    conflict: Flags | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(len(self.score) == len(self.left), "scores differ in length")
        _require(self.score.dtype == np.float32, f"scores must be float32, not {self.score.dtype}")
        _require(bool(((self.score >= 0) & (self.score <= 1)).all()), "scores must lie in [0, 1]")
        if self.conflict is not None:
            _require(len(self.conflict) == len(self.left), "conflicts differ in length")
            _require(self.conflict.dtype == np.bool_, f"conflicts must be bool, not {self.conflict.dtype}")

    @classmethod
    def of(cls, pairs: CandidatePairs, score: Floats, conflict: Flags | None = None) -> Self:
        """Return the same pairs with these scores, float32 [p]."""
        return cls(pairs.n, pairs.left, pairs.right, score, conflict)

    def _columns(self) -> dict[str, Any]:
        conflict = {} if self.conflict is None else {"conflict": self.conflict}
        return super()._columns() | {"score": self.score} | conflict

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, columns["left"], columns["right"], columns["score"], columns.get("conflict"))


@dataclass(frozen=True)
class Matches:
    """Pairs (listing, match) of listings that sell the same product; no listing is a match of itself.

    Args:
        n: Number of listings in the pool.
        listing: Rows, int32 [m].
        match: Rows, int32 [m], sorted by (listing, -score, match). The matches need not be symmetric.
        score: Score of the pair, float32 [m] in [0, 1]; NaN, and last of its listing, for a match that comes from the
            group and not from a scored pair.
    """

    n: int
    listing: Rows
    match: Rows
    score: Floats

    def __post_init__(self) -> None:
        _require(len(self.listing) == len(self.match) == len(self.score), "columns differ in length")
        _require((self.listing != self.match).all(), "a listing is not its own match")
        _require(not ((self.score < 0) | (self.score > 1)).any(), "scores must lie in [0, 1] or be NaN")
        if len(self.listing):
            _require(min(self.listing.min(), self.match.min()) >= 0, "rows must not be negative")
            _require(max(self.listing.max(), self.match.max()) < self.n, "a match points outside of the pool")
            _require(self._is_sorted(), "matches must be sorted by (listing, -score, match)")
            _require((np.diff(np.sort(pair_key(self.listing, self.match, self.n))) > 0).all(), "matches must be unique")

    def __len__(self) -> int:
        return len(self.listing)

    def lists(self) -> list[Rows]:
        """Return the matches of each listing, the best first: n arrays of rows."""
        return np.split(self.match, np.searchsorted(self.listing, np.arange(1, self.n)))[: self.n]

    def _is_sorted(self) -> bool:
        score = np.nan_to_num(self.score, nan=-1)
        listing, falling, match = np.diff(self.listing), -np.diff(score), np.diff(self.match)
        return bool(((listing > 0) | (listing == 0) & ((falling > 0) | (falling == 0) & (match > 0))).all())
