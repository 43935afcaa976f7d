"""JSON Lines, and JSON files with one array of objects."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from shared.catalog.tables.bounds import LONGEST_LINE, check_columns, check_rows
from shared.catalog.tables.table import Fault, Table, lenient_text, printable, text_of, with_columns
from shared.catalog.tables.text import lines_of

_ARRAY = re.compile(r"\s*\[\s*(\{|\]|$)")  # begins an array of objects, or an empty one
_OBJECT = re.compile(r"\s*\{\s*")  # begins an object that goes on in the next line
_BETWEEN = re.compile(r"[\s,]*")
_PIECE = 1 << 16  # characters


class _Record(dict[str, Any]):
    """A JSON object, and the names that it holds more than once."""

    repeated: tuple[str, ...] = ()


def _record(pairs: list[tuple[str, Any]]) -> _Record:
    record = _Record(pairs)
    if len(record) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        record.repeated = tuple(name for name, count in counts.items() if count > 1)
    return record


_DECODER = json.JSONDecoder(
    object_pairs_hook=_record, parse_int=str, parse_float=str, parse_constant=lambda _: None
)  # numbers stay as written


def read_json_rows(text: TextIO, read: Collection[str] | None, lenient: Collection[str] = ()) -> Table:
    r"""Return the table in a text of JSON: one object a line, or an array of objects; each object is a row.

    Args:
        text: The text.
        read: Names of the columns to read; None: all.
        lenient: Names of columns in which no value is a fault.

    Raises:
        ValueError: An array is broken or does not end, or there are too many rows or columns.

    Examples:
        >>> import io
        >>> for text in ('{"id": 7}\n{"id": "x"}\n', '[{"id": 7}, {"id": "x"}]'):
        ...     read_json_rows(io.StringIO(text), None).columns
        {'id': ['7', 'x']}
        {'id': ['7', 'x']}
    """
    names = dict[str, None]()
    values: dict[str, list[str]] = {}
    rows, faults = 0, list[Fault]()
    for value, fault in _values(text):
        rows += 1
        check_rows(rows)
        if fault is not None or not isinstance(value, _Record):
            faults.append((rows, fault or "not a JSON object"))
            continue
        if not names.keys() >= value.keys():
            names.update(dict.fromkeys(value))
            check_columns(len(names))
        for name in value if read is None else [name for name in value if name in read]:
            column = values.setdefault(name, [])
            column += [""] * (rows - 1 - len(column))
            try:
                column.append(lenient_text(value[name]) if name in lenient else text_of(value[name]))
            except (ValueError, RecursionError) as error:
                column.append("")
                faults.append((rows, f"{printable(name)} {error}"))
            if name in value.repeated:
                faults.append((rows, f"{printable(name)!r} stands in the object more than once"))
    for column in values.values():
        column += [""] * (rows - len(column))
    return with_columns([*names], values, rows, faults)


def _values(text: TextIO) -> Iterator[tuple[Any, str | None]]:
    """Yield the values of a JSON text, each with what is wrong with it, if anything."""
    start = _first_lines(text)
    if _ARRAY.match(start) or _OBJECT.fullmatch(start):
        yield from ((value, None) for value in _stream(text, in_array=bool(_ARRAY.match(start))))
        return
    for line in lines_of(text):
        if line.strip():
            try:
                yield _DECODER.decode(line), None
            except RecursionError:
                yield None, "nested too deep"
            except ValueError as error:
                yield None, f"not JSON ({printable(str(error))})"


def _first_lines(text: TextIO) -> str:
    """Return the first line of a text that is not blank, as far as needed to tell what it begins; rewinds the text."""
    start = ""
    while not start.strip("\ufeff \t\r\n") and (line := text.readline(_PIECE)):
        start = line
    if start.strip() == "[":
        start += text.read(_PIECE).lstrip()[:1]
    text.seek(0)
    return start.removeprefix("\ufeff")


def _stream(text: TextIO, *, in_array: bool) -> Iterator[Any]:
    """Yield the values of an array, or of a text with one value after the other, without holding them all.

    Raises:
        ValueError: A value is broken or too long, or the array does not end.
    """
    buffer, at, number, size = text.read(_PIECE).lstrip("\ufeff \t\r\n"), int(in_array), 1, _PIECE
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]
        if at < len(buffer) and not (in_array and buffer[at] == "]"):
            try:
                value, end = _DECODER.raw_decode(buffer, at)
            except RecursionError:
                raise ValueError(f"row {number} is nested too deep") from None
            except json.JSONDecodeError as error:
                fault = f"row {number} is not JSON ({error.msg})"
            else:
                yield value
                at, number, size = end, number + 1, _PIECE
                continue
            if len(buffer) - at > LONGEST_LINE:
                raise ValueError(f"{fault}, or has more than {LONGEST_LINE:,} characters")
        elif at < len(buffer):
            if (buffer[at + 1 :] + text.read(_PIECE)).strip():
                raise ValueError("there is more behind the array")
            return
        else:
            fault = "it ends within the array"
        piece = text.read(size)
        if not piece:
            if in_array or at < len(buffer):
                raise ValueError(fault)
            return
        buffer, at, size = buffer[at:] + piece, 0, 2 * size
