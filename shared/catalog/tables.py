"""Tables of text: CSV, TSV, JSONL and Parquet, read so that every value stays as it was written.

A reader guesses nothing: `001`, `1e5` and `NA` come back unchanged. It goes on after a fault, so that one error can
name all of them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import MatcherError

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NOT_TEXT = re.compile("[\ud800-\udfff]")  # what `surrogateescape` leaves for a byte that is not UTF-8

csv.field_size_limit(sys.maxsize)  # a title may be longer than the default of 131,072 characters


@dataclass
class Table:
    """Columns of text, and what is wrong with the rows they came from.

    Args:
        columns: Every value as written, str [n] per column; "" where a row has none.
        faults: (row, what is wrong); row 1 is the first below the header, row 0 the table as a whole.
    """

    columns: dict[str, list[str]]
    faults: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), []))


def ending(path: Path) -> str | None:
    """Return which of `ENDINGS` a file name has; None when it has none of them.

    Examples:
        >>> ending(Path("Offers.CSV.gz")), ending(Path("notes.txt"))
        ('.csv.gz', None)
    """
    return next((e for e in sorted(ENDINGS, key=len, reverse=True) if path.name.lower().endswith(e)), None)


def check_file(path: Path) -> None:
    """Raise an error unless a path is a regular file.

    Raises:
        MatcherError: There is nothing at the path, or something else.
    """
    if not path.is_file():
        raise MatcherError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")


def read_table(path: Path) -> Table:
    """Return a table of any of the formats in `ENDINGS`.

    Args:
        path: A regular file with one of `ENDINGS`.

    Returns:
        All of its columns, and the faults of single rows, which stay in `columns` as far as they can be read.

    Raises:
        MatcherError: The file cannot be read at all.
    """
    kind = ending(path)
    if kind is None:
        raise MatcherError(f"{path}: not a table; a table's name ends with {', '.join(ENDINGS)}")
    check_file(path)
    try:
        if kind == ".parquet":
            return _read_parquet(path)
        data = path.read_bytes()
        data = gzip.decompress(data) if kind.endswith(".gz") else data
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise MatcherError(f"{path}: cannot be read: {error}") from None
    kind = kind.removesuffix(".gz")
    text = data.decode("utf-8-sig", errors="surrogateescape")
    table = _read_jsonl(text) if kind == ".jsonl" else _read_csv(text, _DELIMITERS[kind])
    table.faults += list(_encoding_faults(table.columns))
    return table


def frame_table(frame: pd.DataFrame, read: Collection[str]) -> Table:
    """Return the text of a frame's columns, as a person would have written it in a CSV file.

    Args:
        frame: Any frame; its index is not looked at.
        read: Names of columns. The others are there without their values.

    Examples:
        >>> frame_table(pd.DataFrame({"id": [1.0, 2.5], "title": ["Mug", None]}), {"id", "title"}).columns
        {'id': ['1', '2.5'], 'title': ['Mug', '']}
    """
    names, faults = [str(name) for name in frame.columns], list[tuple[int, str]]()
    columns = {name: [""] * len(frame) for name in names}
    for position, name in enumerate(names):
        for row, value in enumerate(frame.iloc[:, position].tolist() if name in read else [], start=1):
            if not pd.api.types.is_scalar(value):
                faults.append((row, f"{printable(name)} holds {printable(repr(value))}, which is no text"))
            elif not pd.isna(value):
                columns[name][row - 1] = _as_text(value)
    return Table(columns, _repeated(names) + faults + list(_encoding_faults(columns)))


def _encoding_faults(columns: dict[str, list[str]]) -> Iterator[tuple[int, str]]:
    for name, values in columns.items():
        for row, text in enumerate([name, *values]):  # row 0 is the header
            if not text.isascii() and (half := _NOT_TEXT.search(text)):
                byte = ord(half[0]) - 0xDC00
                what = f"byte 0x{byte:02x} is not UTF-8" if 0x80 <= byte <= 0xFF else "half a surrogate pair"
                yield row, f"{what} in {printable(name)} {printable(text)!r}; save the table as UTF-8"


def printable(text: str, length: int = 60) -> str:
    r"""Return a text fit for an error message: on one line, not too long, with � for what is no text.

    Examples:
        >>> printable("two\nlines"), printable("x" * 99, length=4)
        ('two lines', 'xxx…')
    """
    text = _NOT_TEXT.sub("\ufffd", text if len(text) <= length else text[: length - 1] + "…")
    return "".join(char if char.isprintable() else " " for char in text)


def _read_csv(text: str, delimiter: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows: list[list[str]] = []
    faults: list[tuple[int, str]] = []
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            row = []
            faults.append((0 if header is None else len(rows) + 1, f"broken quotes from line {line} on ({error})"))
        else:
            if not row:  # an empty line is no row
                continue
        if header is None:
            header = row
            continue
        if row and len(row) != len(header):
            faults.append((len(rows) + 1, f"{len(row)} fields where the header has {len(header)} (line {line})"))
        rows.append((row + [""] * len(header))[: len(header)])
    header = header or []
    columns = {name: [row[position] for row in rows] for position, name in enumerate(header)}
    return Table(columns, _repeated(header) + faults)


def _read_jsonl(text: str) -> Table:
    records: list[dict[str, Any]] = []
    faults: list[tuple[int, str]] = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        record: Any = {}
        try:
            record = json.loads(line, parse_int=str, parse_float=str, parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            faults.append((len(records) + 1, f"not JSON ({printable(str(error))})"))
        if not isinstance(record, dict):
            faults.append((len(records) + 1, "not a JSON object"))
            record = {}
        records.append(record)
    names = list(dict.fromkeys(name for record in records for name in record))
    return Table({name: [_as_text(record.get(name)) for record in records] for name in names}, faults)


def _read_parquet(path: Path) -> Table:
    # ParquetFile, since read_table would take key=value folders above the file for columns
    with pq.ParquetFile(path) as file:
        table = file.read()
    names = table.column_names
    columns = {name: [_as_text(value) for value in table.column(i).to_pylist()] for i, name in enumerate(names)}
    return Table(columns, _repeated(names))


def _repeated(names: list[str]) -> list[tuple[int, str]]:
    counts = {name: names.count(name) for name in names}
    return [(0, f"{count} columns are called {printable(name)!r}") for name, count in counts.items() if count > 1]


def _as_text(value: Any) -> str:
    """Return a value as a person would have written it in a CSV file; "" for null and NaN."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    if isinstance(value, float) and value.is_integer():  # whole numbers become floats when a column has gaps
        return str(int(value))
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)
