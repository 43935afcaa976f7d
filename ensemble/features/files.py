"""The files of described pairs: each holds a range of the pairs of a pool, one row group per block.

    ensemble/features/catalog/pairs-0000.parquet    the first 1,048,576 pairs
    ensemble/features/catalog/pairs-0001.parquet    the pairs behind them

Where a file ends depends on the number of pairs alone, so that each may be written by another process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from ensemble.features.assemble import BLOCK, joined
from shared.schema import CandidatePairs, PairFeatures

PAIRS_PER_FILE = 8 * BLOCK
ANY = "pairs-*.parquet"  # pattern of the names of all files


def file_name(number: int) -> str:
    """Return the name of a file of described pairs.

    Examples:
        >>> file_name(0)
        'pairs-0000.parquet'
    """
    return f"pairs-{number:04d}.parquet"


def write_blocks(blocks: Iterable[PairFeatures], path: Path) -> None:
    """Write described pairs into one Parquet file, a row group for each block.

    Args:
        blocks: Ranges of the pairs with the same features, one after the other; at least one.
        path: The file.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> from tempfile import TemporaryDirectory
        >>> table = pd.DataFrame({"tfidf_cosine": np.array([0.5], np.float32)})
        >>> pairs = PairFeatures(2, np.array([0], np.int32), np.array([1], np.int32), table)
        >>> with TemporaryDirectory() as folder:
        ...     write_blocks([pairs], Path(folder) / file_name(0))
        ...     [block.features["tfidf_cosine"].tolist() for block in read_blocks(Path(folder))]
        [[0.5]]
    """
    writer: pq.ParquetWriter | None = None
    try:
        for block in blocks:
            table = block.table()
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table, row_group_size=max(len(block), 1))
    finally:
        if writer is not None:
            writer.close()


def read_blocks(folder: Path, name: str = ANY) -> Iterator[PairFeatures]:
    """Yield the described pairs of a folder, or of one file in it, block by block as they were written.

    for block in read_blocks(folder, file_name(0)):
        scorer.first.score(block)
    """
    for path in described_files(folder, name):
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield PairFeatures.of_table(file.read_row_group(group))
            if not file.num_row_groups:
                yield PairFeatures.of_table(file.read())


def read_pairs(folder: Path) -> PairFeatures:
    """Return the described pairs of a folder, all in memory.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> from tempfile import TemporaryDirectory
        >>> table = pd.DataFrame({"tfidf_cosine": np.array([0.5], np.float32)})
        >>> pairs = PairFeatures(2, np.array([0], np.int32), np.array([1], np.int32), table)
        >>> with TemporaryDirectory() as folder:
        ...     write_blocks([pairs], Path(folder) / file_name(0))
        ...     len(read_pairs(Path(folder)))
        1
    """
    return joined(read_blocks(folder), read_rows(folder))


def read_rows(folder: Path) -> CandidatePairs:
    """Return the described pairs of a folder without their features."""
    tables = [pq.read_table(path, columns=["left", "right"]) for path in described_files(folder)]
    return CandidatePairs.concat([CandidatePairs.of_table(table) for table in tables])


def described_files(folder: Path, name: str = ANY) -> list[Path]:
    """Return the files of described pairs in a folder, in their order.

    Examples:
        >>> described_files(Path("no/such/folder"))
        []
    """
    return sorted(folder.glob(name))
