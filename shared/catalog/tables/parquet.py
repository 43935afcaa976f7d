"""Parquet files, read batch by batch, with values that repeat kept once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.catalog.tables.bounds import TableSettings, check_columns, check_rows
from shared.catalog.tables.table import Fault, Table, printable, repeated, text_of, with_columns

_BATCH = 8192  # rows that are decoded at once


def read_parquet(path: Path, read: Collection[str] | None, settings: TableSettings) -> Table:
    """Return the table in a Parquet file.

    Args:
        path: The file.
        read: Names of the columns to read, others are not decoded; None: all.
        settings: How it is to be read; the encoding is that of strings that are not UTF-8, against the format's rules.

    Raises:
        ValueError: It has too many rows or columns, or holds too much.
        pyarrow.ArrowException: It is damaged.
    """
    # ParquetFile, since read_table would take key=value folders above the file for columns
    with pq.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        check_rows(file.metadata.num_rows)
        check_columns(len(names))
        faults = repeated(names, read)
        wanted = list(
            dict.fromkeys(name for name in names if (read is None or name in read) and names.count(name) == 1)
        )
        settings.check_size(_declared_size(file.metadata, wanted))
        texts = [name for name in wanted if _is_text(file.schema_arrow.field(name).type)]
    values: dict[str, list[str]] = {name: [] for name in wanted}
    rows = size = 0
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(_BATCH, columns=wanted, use_threads=False):
            for name in wanted:
                column = batch.column(batch.schema.get_field_index(name))
                texts_of_batch, length = _texts(column, name, rows, settings, faults)
                size += length
                settings.check_size(size)
                values[name] += texts_of_batch
            rows += batch.num_rows
        rows = file.metadata.num_rows if not wanted else rows
    return with_columns(names, values, rows, faults)


def _declared_size(metadata: Any, wanted: Collection[str]) -> int:
    """Return the number of bytes that some columns hold once they are decompressed, as the file says."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in wanted)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind))


def _texts(column: Any, name: str, first: int, settings: TableSettings, faults: list[Fault]) -> tuple[list[str], int]:
    """Return the values of a column as text, and the number of bytes that they would be if none was kept twice."""
    if pa.types.is_dictionary(column.type):
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        used = np.unique(codes[codes >= 0])
        known, lengths = _plain_texts(column.dictionary.take(pa.array(used)), name, 0, settings, list[Fault]())
        counts = np.bincount(codes[codes >= 0], minlength=(used.max(initial=-1)) + 1)[used]
        text = dict(zip(used.tolist(), known, strict=True)) | {-1: ""}
        size = sum(len(value) * count for value, count in zip(known, counts.tolist(), strict=True))
        return [text[code] for code in codes.tolist()], size if known else lengths
    return _plain_texts(column, name, first, settings, faults)


def _plain_texts(
    column: Any, name: str, first: int, settings: TableSettings, faults: list[Fault]
) -> tuple[list[str], int]:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.large_binary())  # a string that is not UTF-8 cannot be had as one
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        settings.check_size(pc.sum(pc.binary_length(column)).as_py() or 0)
    texts = list[str]()
    for row, value in enumerate(column.to_pylist(), start=first + 1):
        try:
            texts.append(_decoded(value, settings.encoding) if isinstance(value, bytes) else text_of(value))
        except ValueError as error:
            faults.append((row, f"{printable(name)} {error}"))
            texts.append("")
    return texts, sum(map(len, texts))


def _decoded(value: bytes, encoding: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode(encoding or "utf-8", errors="surrogateescape")
