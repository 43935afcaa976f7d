"""The folder that matches are written into, by a run, by `ensemble.match` or by an index; reads them again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.decision.rules import sort_matches
from shared.folders import updated_folder
from shared.schema import Matches

METRICS, REPORT = "metrics.json", "report.html"  # ensemble.report writes the report
CHANGES = "changes.jsonl"  # of the groups of an index


def new_matches(out: Path) -> AbstractContextManager[Path]:
    """Return what yields a folder to write matches into, which replace those in `out`; see `updated_folder`.

    Metrics, report and changes of earlier matches do not stay.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as parent:
        ...     with new_matches(Path(parent) / "matches") as folder:
        ...         _ = (folder / "matches.parquet").write_bytes(b"")
        ...     (Path(parent) / "matches" / "matches.parquet").exists()
        True
    """
    return updated_folder(out, without=(METRICS, REPORT, CHANGES) if (out / "matches.parquet").exists() else ())


def rows_of(ids: NDArray[Any], named: pa.ChunkedArray) -> NDArray[np.int32]:
    """Return the rows of listings, int32 [k].

    Args:
        ids: Posting ids of n listings, str [n].
        named: Posting ids of some of them, str [k].

    Raises:
        ValueError: One of them is no listing.

    Examples:
        >>> rows_of(np.array(["a", "b"], dtype=object), pa.chunked_array([["b", "a", "b"]])).tolist()
        [1, 0, 1]
    """
    rows = pc.index_in(named, value_set=pa.array(ids, pa.string()))
    if rows.null_count:
        raise ValueError("a posting id is not among the listings")
    return np.asarray(rows.to_numpy(), dtype=np.int32)


def load_match_rows(folder: Path, ids: NDArray[Any]) -> Matches:
    """Return the matches of a folder by row.

    Args:
        folder: With `matches.parquet`.
        ids: Posting ids of the n listings that were matched, str [n].

    Raises:
        ValueError: The matches are of other listings, or the file is damaged.
        OSError: It cannot be read.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> table = pa.table({"posting_id": ["b", "a"], "match": ["a", "b"], "score": np.ones(2, np.float32)})
        >>> with TemporaryDirectory() as folder:
        ...     pq.write_table(table, Path(folder) / "matches.parquet")
        ...     load_match_rows(Path(folder), np.array(["a", "b"], dtype=object)).lists()[0].tolist()
        [1]
    """
    table = pq.read_table(folder / "matches.parquet")
    listing, match = (rows_of(ids, table.column(name)) for name in ("posting_id", "match"))
    return sort_matches(len(ids), listing, match, table.column("score").to_numpy())
