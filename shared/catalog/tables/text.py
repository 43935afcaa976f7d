"""The text of a file, decompressed and decoded piece by piece."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from shared.catalog.tables.bounds import LONGEST_LINE, MAX_ROWS, TableSettings
from shared.catalog.tables.encoding import encoding_of

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20  # bytes
_OTHER_FORMATS = {  # first bytes → what the file is
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file by another name",
    _GZIP: "compressed twice",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"%PDF": "a PDF",
}


@contextmanager
def opened_text(path: Path, settings: TableSettings) -> Iterator[TextIO]:
    """Open a text file for reading from its begin, as often as wanted, without the byte order mark.

    A byte that is not of the encoding becomes half a surrogate pair (`surrogateescape`). Line ends stay as written.

        with opened_text(Path("train.csv.gz"), TableSettings()) as text:
            header = text.readline()

    Args:
        path: A regular file, compressed by gzip or not.
        settings: How it is to be read.

    Raises:
        ValueError: It is too large, is no text, or has no encoding that can be told.
    """
    with path.open("rb") as file:
        packed = path.name.lower().endswith(".gz") or file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        data = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
        _check_size(data, settings)
        head = data.read(4096)
        data.seek(0)
        other = next((what for start, what in _OTHER_FORMATS.items() if head.startswith(start)), None)
        if other is not None:
            raise ValueError(f"it is {other}; save the table as CSV in UTF-8")
        encoding = encoding_of(head, settings.encoding)
        yield io.TextIOWrapper(data, encoding=encoding, errors="surrogateescape", newline="")


def _check_size(data: BinaryIO, settings: TableSettings) -> None:
    """Raise an error if a file is too large; it is read once, piece by piece, since a gzip does not say how large."""
    size = lines = 0
    while piece := data.read(_PIECE):
        size, lines = size + len(piece), lines + max(piece.count(b"\n"), piece.count(b"\r"))
        settings.check_size(size)
        if lines > 4 * MAX_ROWS:  # a row may have several lines
            raise ValueError(f"it has more than {4 * MAX_ROWS:,} lines; at most {MAX_ROWS:,} rows are read")
    data.seek(0)


def lines_of(text: TextIO) -> Iterator[str]:
    r"""Yield the lines of a text, each with its end.

    Raises:
        ValueError: One is too long.

    Examples:
        >>> list(lines_of(io.StringIO("one\r\ntwo\rthree", newline="")))
        ['one\r\n', 'two\r', 'three']
    """
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {number} has more than {LONGEST_LINE:,} characters")
        if number == 1:
            line = line.removeprefix("\ufeff")  # of an encoding that was named
        if line:
            yield line
