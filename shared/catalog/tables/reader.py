"""Reads a table's file, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from shared.catalog.tables.bounds import TableSettings
from shared.catalog.tables.delimited import read_delimited
from shared.catalog.tables.json_rows import read_json_rows
from shared.catalog.tables.parquet import read_parquet
from shared.catalog.tables.table import Table, cell_faults, printable
from shared.catalog.tables.text import opened_text
from shared.errors import MatcherError
from shared.exits import is_out_of_memory

FOLDER_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")  # of a folder's own tables
ENDINGS = (*FOLDER_ENDINGS, ".ndjson", ".ndjson.gz", ".json", ".json.gz", ".txt", ".txt.gz")
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


def ending(path: Path) -> str | None:
    """Return which of `ENDINGS` a file name has; None when it has none of them.

    Examples:
        >>> ending(Path("Offers.CSV.gz")), ending(Path("notes.md"))
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


def read_table(path: Path, read: Collection[str] | None = None, settings: TableSettings | None = None) -> Table:
    """Return a table of any of the formats in `ENDINGS`.

        read_table(Path("train.csv"), {"posting_id", "title"}, DataConfig().table_settings).columns["title"]

    Args:
        path: A regular file with one of `ENDINGS`.
        read: Names of the columns to read; the others are there without their values, and their faults do not matter.
            The delimiter of a CSV file is told by these names. None: all columns.
        settings: How it is to be read; None: by the defaults, and no error names a setting.

    Returns:
        Its columns, and the faults of single rows, which stay in `columns` as far as they can be read.

    Raises:
        MatcherError: The file cannot be read at all, is too large, or changed meanwhile.
    """
    kind = ending(path)
    if kind is None:
        raise MatcherError(f"{path}: not a table; a table's name ends with {', '.join(ENDINGS)}")
    check_file(path)
    by = settings or TableSettings()
    try:
        before = _state(path)
        table = _read(path, kind.removesuffix(".gz"), read, by)
        after = _state(path)
    except UnicodeDecodeError as error:
        raise MatcherError(f"{path}: is not {error.encoding} ({error.reason}); see --data.encoding") from None
    except Exception as error:  # decoders and parsers raise many types on broken bytes
        if is_out_of_memory(error):
            raise
        raise MatcherError(f"{path}: cannot be read: {printable(str(error), 300) or type(error).__name__}") from None
    if before != after:
        raise MatcherError(f"{path}: changed while it was read; start again once it is written whole")
    table.faults += list(cell_faults(table, read, settings, by.cut))
    return table


def _state(path: Path) -> tuple[int, ...]:
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _read(path: Path, kind: str, read: Collection[str] | None, settings: TableSettings) -> Table:
    if kind == ".parquet":
        return read_parquet(path, read, settings)
    with opened_text(path, settings) as text:
        delimiter = _DELIMITERS.get(kind)
        return (
            read_json_rows(text, read, settings.lenient) if delimiter is None else read_delimited(text, delimiter, read)
        )
