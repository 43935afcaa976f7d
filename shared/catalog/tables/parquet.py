"""Parquet files, read batch by batch, with values that repeat kept once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.catalog.tables.bounds import TableSettings, check_columns, check_rows
from shared.catalog.tables.table import Fault, Table, lenient_text, printable, repeated, text_of, with_columns

_BATCH, _DELTA_BATCH = 8192, 256  # rows that are decoded at once; where values are written as changes of the one before
_BYTES = 4  # of a character, at most
_DICTIONARY = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}


def read_parquet(path: Path, read: Collection[str] | None, settings: TableSettings) -> Table:
    """Return the table in a Parquet file.

        read_parquet(Path("train.parquet"), {"posting_id", "title"}, TableSettings()).columns["title"]

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
        wanted = [name for name, count in Counter(names).items() if count == 1 and (read is None or name in read)]
        encodings = _encodings(file, wanted, settings)
        texts = [name for name in wanted if _is_text(file.schema_arrow.field(name).type)]
    kept = [name for name in texts if all(_DICTIONARY & chunk for chunk in encodings.get(name, []))]
    is_delta = any("DELTA_BYTE_ARRAY" in chunk for chunks in encodings.values() for chunk in chunks)
    values: dict[str, list[str]] = {name: [] for name in wanted}
    rows = size = 0
    with pq.ParquetFile(path, read_dictionary=kept) as file:
        for batch in file.iter_batches(_DELTA_BATCH if is_delta else _BATCH, columns=wanted, use_threads=False):
            for name in wanted:
                column = batch.column(batch.schema.get_field_index(name))
                texts_of_batch, length = _texts(column, name, rows, settings, faults)
                size += length
                settings.check_size(size)
                values[name] += texts_of_batch
            rows += batch.num_rows
        rows = file.metadata.num_rows if not wanted else rows
    return with_columns(names, values, rows, faults)


def _encodings(file: Any, wanted: list[str], settings: TableSettings) -> dict[str, list[set[str]]]:
    """Return the encodings of each chunk of some columns, by the name of the column.

    The first row of a group is read before its chunks are looked at: a chunk whose description is damaged or encrypted
    is an error there, and would end the process here.

    Raises:
        ValueError: They hold too much once they are decompressed, as the file says.
        pyarrow.ArrowException: The description of a chunk is damaged.
    """
    encodings: dict[str, list[set[str]]] = {}
    size = 0
    leaves = [(i, file.schema.column(i).path.split(".")[0]) for i in range(len(file.schema))]
    for number in range(file.metadata.num_row_groups):
        next(file.iter_batches(1, row_groups=[number], columns=wanted, use_threads=False), None)
        group = file.metadata.row_group(number)
        for chunk, name in ((group.column(i), name) for i, name in leaves if name in wanted):
            encodings.setdefault(name, []).append(set(chunk.encodings))
            size += chunk.total_uncompressed_size
    settings.check_size(size)
    return encodings


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind))


def _texts(column: Any, name: str, first: int, settings: TableSettings, faults: list[Fault]) -> tuple[list[str], int]:
    """Return the values of a column as text, and the number of bytes that they would be if none was kept once only.

    Args:
        column: Some values of it.
        name: Its name.
        first: Number of rows before these.
        settings: How it is to be read.
        faults: Of rows; those of these are added.
    """
    if not pa.types.is_dictionary(column.type):
        return _plain_texts(column, name, np.arange(first, first + len(column)), settings, faults)
    codes = column.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)  # unsigned by some
    used, rows, counts = np.unique(codes[codes >= 0], return_index=True, return_counts=True)
    rows = first + np.flatnonzero(codes >= 0)[rows]
    known, _ = _plain_texts(column.dictionary.take(pa.array(used)), name, rows, settings, faults)
    text = dict(zip(used.tolist(), known, strict=True)) | {-1: ""}
    size = sum(len(value) * count for value, count in zip(known, counts.tolist(), strict=True))
    return [text[code] for code in codes.tolist()], size


def _plain_texts(
    column: Any, name: str, rows: NDArray[np.int64], settings: TableSettings, faults: list[Fault]
) -> tuple[list[str], int]:
    """Return values as text and their number of bytes; `rows` are those where they first stand, from 0."""
    kind = column.type
    is_string = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if is_string:
        column = column.cast(pa.large_binary())  # a string that is not UTF-8 cannot be had as one
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        lengths = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        settings.check_size(int(lengths.sum()))
        if lengths.max(initial=0) > _BYTES * settings.max_characters:
            row, most = rows[lengths.argmax()] + 1, settings.max_characters
            raise ValueError(
                f"row {row}: {printable(name)} has {lengths.max():,} bytes, at most {most:,} characters are read; "
                "raise --data.max_characters if it is right"
            )
    texts = list[str]()
    for row, value in zip(rows.tolist(), column.to_pylist(), strict=True):
        try:
            if name in settings.lenient:
                text = value.decode("utf-8", errors="replace") if is_string and value is not None else value
                texts.append(lenient_text(text))
            else:
                texts.append(_decoded(value, settings.encoding) if isinstance(value, bytes) else text_of(value))
        except ValueError as error:
            faults.append((row + 1, f"{printable(name)} {error}"))
            texts.append("")
    return texts, sum(map(len, texts))


def _decoded(value: bytes, encoding: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode(encoding or "utf-8", errors="surrogateescape")
