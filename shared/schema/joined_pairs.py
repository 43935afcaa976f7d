"""Joins files of pairs into one, a part of them in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 1 << 20  # rows that Parquet keeps together in a file that is written at once


def join_pairs(parts: Sequence[Path], path: Path) -> int:
    """Write the pairs of several files into one, the same bytes as if all had been saved together; return their number.

    Args:
        parts: Parquet files that pairs of one pool and one type were saved to, in rising order of the pairs.
        path: The file to write.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> from shared.schema import CandidatePairs
        >>> with TemporaryDirectory() as folder:
        ...     parts = [Path(folder) / "0", Path(folder) / "1"]
        ...     for row, part in enumerate(parts):
        ...         CandidatePairs(9, np.array([row], np.int32), np.array([8], np.int32)).save(part)
        ...     join_pairs(parts, Path(folder) / "whole"), CandidatePairs.load(Path(folder) / "whole").left.tolist()
        (2, [0, 1])
    """
    with pq.ParquetWriter(path, pq.read_schema(parts[0])) as writer:
        return sum(_written(writer, group) for group in _groups(parts))


def _written(writer: pq.ParquetWriter, group: pa.Table) -> int:
    writer.write_table(group)
    return int(group.num_rows)


def _groups(parts: Sequence[Path]) -> Iterator[pa.Table]:
    """Yield the rows of all files in tables of `ROW_GROUP` rows, the last one of fewer; at least one table."""
    rest = pq.read_schema(parts[0]).empty_table()
    for part in parts:
        rest = pa.concat_tables([rest, pq.read_table(part)])
        while rest.num_rows > ROW_GROUP:
            yield rest.slice(0, ROW_GROUP).combine_chunks()
            rest = rest.slice(ROW_GROUP).combine_chunks()
    yield rest.combine_chunks()
