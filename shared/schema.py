"""The types that cross stage borders: frozen, checked when made, saved without pickle.

    Catalog → Embeddings → Candidates → Pairs → Matches

Every type speaks of listings by their **row** in the catalog (or pool) it belongs to: row order is identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
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


@dataclass(frozen=True)
class Candidates:
    """Pairs that one branch proposes in a pool.

    Args:
        n: Listings in the pool.
        left, right: Rows, int32 [p]; left < right, sorted, unique.
        similarity: The branch's cosine, float32 [p] in [-1, 1].
        rank_left: Rank of `right` among the neighbors of `left`, int32 [p], from 1; equal similarities share the
            smallest rank; 0 where `right` is not among them.
        rank_right: Rank of `left` among the neighbors of `right`, likewise.
    """

    n: int
    left: Rows
    right: Rows
    similarity: Floats
    rank_left: Rows
    rank_right: Rows

    def __post_init__(self) -> None:
        _check_pairs(self.n, self.left, self.right)
        sizes = {len(self.left), len(self.similarity), len(self.rank_left), len(self.rank_right)}
        _require(len(sizes) == 1, "columns differ in length")
        dtypes = [column.dtype for column in (self.similarity, self.rank_left, self.rank_right)]
        _require(dtypes == [np.float32, np.int32, np.int32], f"similarity and ranks have dtypes {dtypes}")
        _require((np.abs(self.similarity) <= 1 + NORM_TOLERANCE).all(), "similarities must lie in [-1, 1]")
        _require(((self.rank_left >= 0) & (self.rank_right >= 0)).all(), "ranks must not be negative")
        _require(((self.rank_left > 0) | (self.rank_right > 0)).all(), "a candidate needs a rank on one side")

    def __len__(self) -> int:
        return len(self.left)

    def only(self, keep: Flags) -> Candidates:
        """Some of the pairs; `keep` is bool [p]."""
        ranks = self.rank_left[keep], self.rank_right[keep]
        return Candidates(self.n, self.left[keep], self.right[keep], self.similarity[keep], *ranks)

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        columns = {name: getattr(self, name) for name in ("left", "right", "similarity", "rank_left", "rank_right")}
        pq.write_table(pa.table(columns).replace_schema_metadata({"n": str(self.n)}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        return cls(int(table.schema.metadata[b"n"]), **{c: table.column(c).to_numpy() for c in table.column_names})


def pair_key(left: NDArray[np.integer], right: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Return one int64 per pair of listings of a pool of `n`: left · n + right, which sorts as (left, right) does."""
    key: NDArray[np.int64] = left.astype(np.int64) * n + right
    return key


@dataclass(frozen=True)
class CandidatePairs:
    """Pairs of listings of one pool that are to be compared.

    Args:
        n: Number of listings in the pool.
        left: Rows, int32 [p].
        right: Rows, int32 [p]; left < right, sorted by (left, right), unique.
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
        return replace(self, left=self.left[keep], right=self.right[keep])

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
            None where nobody looked.
    """

    score: Floats
    conflict: Flags | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(len(self.score) == len(self.left), "scores differ in length")
        _require(bool(((self.score >= 0) & (self.score <= 1)).all()), "scores must lie in [0, 1]")
        _require(self.conflict is None or len(self.conflict) == len(self.left), "conflicts differ in length")

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with their scores; `keep` is bool [p]."""
        conflict = None if self.conflict is None else self.conflict[keep]
        return replace(self, left=self.left[keep], right=self.right[keep], score=self.score[keep], conflict=conflict)

    def _columns(self) -> dict[str, Any]:
        conflict = {} if self.conflict is None else {"conflict": self.conflict}
        return super()._columns() | {"score": self.score} | conflict

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, columns["left"], columns["right"], columns["score"], columns.get("conflict"))


@dataclass(frozen=True)
class Pairs:
    """Candidate pairs of a pool with their features, and once scored their scores.

    Args:
        n: Listings in the pool.
        left, right: Rows, int32 [p]; left < right, sorted, unique.
        features: One float32 column a feature; the same for (a, b) and (b, a). NaN means unknown.
        score: Probability that the pair is a match, float32 [p] in [0, 1]; None before scoring.
    """

    n: int
    left: Rows
    right: Rows
    features: pd.DataFrame = field(default_factory=pd.DataFrame)
    score: Floats | None = None

    def __post_init__(self) -> None:
        _check_pairs(self.n, self.left, self.right)
        _require(self.features.shape[1] == 0 or len(self.features) == len(self.left), "features differ in length")
        _require(all(t == np.float32 for t in self.features.dtypes), "features must be float32")
        if self.score is not None:
            _require(len(self.score) == len(self.left), "scores differ in length")
            _require(bool(((self.score >= 0) & (self.score <= 1)).all()), "scores must lie in [0, 1]")

    def __len__(self) -> int:
        return len(self.left)

    def only(self, keep: Flags) -> Pairs:
        """Some of the pairs, with all that is known of them; `keep` is bool [p]."""
        features = self.features[keep].reset_index(drop=True) if self.features.shape[1] else self.features
        score = None if self.score is None else self.score[keep]
        return Pairs(self.n, self.left[keep], self.right[keep], features, score)

    def save(self, path: Path) -> None:
        """Write one Parquet file; feature columns are prefixed with "f:"."""
        columns: dict[str, Any] = {"left": self.left, "right": self.right}
        if self.score is not None:
            columns["score"] = self.score
        columns |= {f"f:{name}": self.features[name].to_numpy() for name in self.features}
        pq.write_table(pa.table(columns).replace_schema_metadata({"n": str(self.n)}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        arrays = {c: table.column(c).to_numpy() for c in table.column_names}
        features = pd.DataFrame({c[2:]: v for c, v in arrays.items() if c.startswith("f:")})
        n = int(table.schema.metadata[b"n"])
        return cls(n, arrays["left"], arrays["right"], features, arrays.get("score"))


@dataclass(frozen=True)
class Matches:
    """Which listings sell the product of which; a listing is not its own match here.

    Args:
        n: Listings in the pool.
        listing, match: Rows, int32 [m], sorted by (listing, -score, match). Need not be symmetric.
        score: Why, float32 [m] in [0, 1]; NaN, and last of its listing, for a match that comes from the group and not
            from a scored pair.
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
            key = self.listing.astype(np.int64) * self.n + self.match
            _require((np.diff(np.sort(key)) > 0).all(), "matches must be unique")

    def __len__(self) -> int:
        return len(self.listing)

    def lists(self) -> list[Rows]:
        """The matches of each listing, best first."""
        return np.split(self.match, np.searchsorted(self.listing, np.arange(1, self.n)))[: self.n]

    def _is_sorted(self) -> bool:
        score = np.nan_to_num(self.score, nan=-1)
        listing, falling, match = np.diff(self.listing), -np.diff(score), np.diff(self.match)
        return bool(((listing > 0) | (listing == 0) & ((falling > 0) | (falling == 0) & (match > 0))).all())
