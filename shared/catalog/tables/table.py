"""A table of text, and what is wrong with its rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from shared.catalog.tables.bounds import TableSettings
from shared.catalog.tables.encoding import likely_encoding

_NOT_TEXT = re.compile("[\ud800-\udfff]")  # what `surrogateescape` leaves for a byte that is not of the encoding
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half a surrogate pair that stands for no such byte
_HASH_BYTES = 8  # of a perceptual hash of 64 bits, which may be kept as bytes
_EXACT = 2.0**53  # up to here a float holds every whole number; a hash of 64 bits is rounded in it
_SHOWN = 200  # characters of a value that is no text
Fault = tuple[int, str]


@dataclass
class Table:
    """Columns of text, and what is wrong with the rows they came from.

    Args:
        columns: Every value as written, str [n] per column; "" where a row has none, and in columns that were not read.
        faults: (row, what is wrong); row 1 is the first below the header, row 0 the table as a whole.
        halves: (row, name of the column), rows as in `faults`: where � stands for half a surrogate pair.
    """

    columns: dict[str, list[str]]
    faults: list[Fault] = field(default_factory=list)
    halves: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), []))


def printable(text: str, length: int = 60) -> str:
    r"""Return a text fit for an error message: on one line, not too long, with � for what is no text.

    Examples:
        >>> printable("two\nlines"), printable("x" * 99, length=4)
        ('two lines', 'xxx…')
    """
    text = _NOT_TEXT.sub("\ufffd", text if len(text) <= length else text[: length - 1] + "…")
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def with_columns(names: Sequence[str], values: dict[str, list[str]], rows: int, faults: list[Fault]) -> Table:
    """Return a table of all columns, of which some were read.

    Args:
        names: Names of all columns, in order.
        values: The columns that were read, str [rows] each.
        rows: Number of rows.
        faults: Of rows.

    Examples:
        >>> with_columns(["id", "price"], {"id": ["7"]}, 1, []).columns
        {'id': ['7'], 'price': ['']}
    """
    blank = [""] * rows
    return Table({name: values.get(name, blank) for name in names}, faults)


def repeated(names: Sequence[str], read: Collection[str] | None) -> list[Fault]:
    """Return a fault for each column to be read of which there are several.

    Examples:
        >>> repeated(["id", "price", "price"], {"id"}), repeated(["id", "id"], None)
        ([], [(0, "2 columns are called 'id'")])
    """
    counts = Counter(name for name in names if read is None or name in read)
    return [(0, f"{count} columns are called {printable(name)!r}") for name, count in counts.items() if count > 1]


def text_of(value: Any) -> str:
    """Return a value as a person would have written it in a CSV file; "" for null and NaN.

    Raises:
        ValueError: It is a list or an object, which is no text.

    Examples:
        >>> text_of(1.0), text_of(float("nan")), text_of(True), text_of(b"Mug")
        ('1', '', 'true', 'Mug')
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="surrogateescape")
    if isinstance(value, float) and value.is_integer():  # whole numbers become floats when a column has gaps
        return str(int(value))
    if isinstance(value, list | tuple | dict | set):
        raise ValueError(f"holds {printable(repr(value))}, which is no text")
    return json.dumps(value) if isinstance(value, bool) else str(value)


def lenient_text(value: Any) -> str:
    """Return any value as text, whatever it is: bytes that are no text as hex digits, large floats with an exponent.

    Whole numbers of more than 32 bits are written as the 64 bits of a hash, since decimal digits may look like hex
    digits.

    Examples:
        >>> lenient_text(bytes(8)), lenient_text(b"af48c947d86b690b"), lenient_text([1]), lenient_text(-1)
        ('0000000000000000', 'af48c947d86b690b', '[1]', '-1')
        >>> lenient_text(1263056646537133), lenient_text(-5816177608338216693)
        ('0x47cbe4abf7fad', '0xaf48c947d86b690b')
    """
    if isinstance(value, int | np.integer) and (1 << 32 <= value < 1 << 64 or -(1 << 63) <= value < -(1 << 32)):
        return f"0x{int(value) % (1 << 64):x}"
    if isinstance(value, bytes):
        try:
            return value.hex() if len(value) == _HASH_BYTES else value.decode("utf-8")
        except UnicodeDecodeError:
            return value.hex()
    try:
        is_rounded = isinstance(value, float) and abs(value) > _EXACT
        return "" if value is pd.NA or value is pd.NaT else repr(float(value)) if is_rounded else text_of(value)
    except Exception:  # of any kind, as the types of any library compare
        return printable(str(value), _SHOWN)


def cell_faults(
    table: Table, read: Collection[str] | None, settings: TableSettings | None, cut: Collection[str] = ()
) -> Iterator[Fault]:
    """Yield what is wrong with the values of a table: bytes that are no text, and cells that are too long.

    Args:
        table: The table. Where half a surrogate pair is no fault, � takes its place, and `table.halves` says so.
        read: Names of the columns that were read; None: all.
        settings: How it was read; None: as a table that no setting is about.
        cut: Names of columns in which half a surrogate pair is no fault.
    """
    faulty = list[tuple[int, str, str]]()
    most = (settings or TableSettings()).max_characters
    lenient = settings.lenient if settings else ()
    for name, values in table.columns.items():
        if name in lenient or (read is not None and name not in read):
            continue
        for row, text in enumerate([name, *values]):  # row 0 is the header
            if not text.isascii() and _NOT_TEXT.search(text):
                whole = _HALF.sub("\ufffd", text) if row and name in cut else text
                if not _NOT_TEXT.search(whole):
                    values[row - 1] = whole
                    table.halves.append((row, name))
                    continue
                faulty.append((row, name, text))
            elif len(text) > most:
                raise_it = "" if settings is None else "; raise --data.max_characters if it is right"
                yield row, f"{printable(name)} has {len(text):,} characters, at most {most:,} are read{raise_it}"
    used = (settings.encoding if settings else "") or "utf-8"
    likely = likely_encoding(b"\n".join(_bytes(text, used) for _, _, text in faulty))
    for row, name, text in faulty:
        yield row, _encoding_fault(name, text, used, None if settings is None else likely)


def _bytes(text: str, encoding: str) -> bytes:
    """Return the bytes that a text was read from; none where it holds half a surrogate pair that is no byte."""
    try:
        return text.encode(encoding, errors="surrogateescape")
    except UnicodeEncodeError:
        return b""


def _encoding_fault(name: str, text: str, used: str, likely: str | None) -> str:
    half = _NOT_TEXT.search(text)
    byte = ord(half[0]) - 0xDC00 if half else 0
    if not 0x80 <= byte <= 0xFF:
        return f"half a surrogate pair in {printable(name)} {printable(text)!r}; save the table as UTF-8"
    advice = "save the table as UTF-8"
    if likely is not None:
        reading = printable(_bytes(text, used).decode(likely, errors="replace"), 30)
        advice += f", or say --data.encoding={likely} if {reading!r} is right"
    encoding = "UTF-8" if used == "utf-8" else used
    return f"byte 0x{byte:02x} is not {encoding} in {printable(name)} {printable(text)!r}; {advice}"
