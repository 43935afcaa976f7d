"""CSV files and their kin: rows of cells between delimiters."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import TextIO

from shared.catalog.tables.bounds import LONGEST_LINE, check_columns, check_rows
from shared.catalog.tables.table import Fault, Table, printable, repeated, with_columns
from shared.catalog.tables.text import lines_of

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE = 50  # lines that the delimiter is told from
_AROUND = "\ufeff\u200b\u00a0 \t"  # characters around a name that nobody sees
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_DIRECTIVE = re.compile(r"sep=(.)[\r\n]+")  # the first line of some files that spreadsheets write

csv.field_size_limit(LONGEST_LINE)  # a cell may be longer than the default of 131,072 characters


def read_delimited(text: TextIO, usual: str, read: Collection[str] | None) -> Table:
    r"""Return the table in a text, whichever of `DELIMITERS` stands between its cells.

    Cells may be quoted. In a table with tabs, quotes that do not close within their line are characters as others if
    every line then has as many cells as the header.

    Args:
        text: A text that can be read again from its begin.
        usual: The delimiter that the file's name speaks for.
        read: Names of the columns to read; None: all.

    Raises:
        ValueError: It has too many rows or columns, or a line is too long.

    Examples:
        >>> import io
        >>> read_delimited(io.StringIO("id;title\n1;Mug\n"), ",", {"id", "title"}).columns
        {'id': ['1'], 'title': ['Mug']}
        >>> read_delimited(io.StringIO('id\ttitle\n1\t5" pipe\n2\t"Fan\n'), "\t", None).columns["title"]
        ['5" pipe', '"Fan']
    """
    lines, delimiter, offset = _begun(text, usual, read)
    table, is_doubtful = _parsed(lines, delimiter, read, offset)
    if delimiter == "\t" and is_doubtful:
        text.seek(0)
        literal, _ = _parsed(_begun(text, usual, read)[0], delimiter, read, offset, literal=True)
        table = table if literal.faults else literal
    return table


def _begun(text: TextIO, usual: str, read: Collection[str] | None) -> tuple[Iterator[str], str, int]:
    """Return the lines of a text from its header on, the delimiter, and the number of lines before the header."""
    lines = lines_of(text)
    sample = list(islice(lines, _SAMPLE))
    directive = _DIRECTIVE.fullmatch(sample[0]) if sample else None
    if directive:
        return chain(sample[1:], lines), directive[1], 1
    return chain(sample, lines), _delimiter(sample, usual, read or ()), 0


def _delimiter(sample: list[str], usual: str, names: Collection[str]) -> str:
    """Return the delimiter of a table: the one by which its header has the most columns that are named.

    Where it has none by any delimiter, it is the usual one if that parts the header, else the one that parts the most
    rows into as many cells as the header.
    """
    rows = {each: _sample_rows(sample, each) for each in DELIMITERS}
    order = sorted(DELIMITERS, key=lambda each: each != usual)
    header = {each: [cell.strip() for cell in rows[each][0]] if rows[each] else [] for each in order}
    named = {each: len(set(header[each]) & set(names)) for each in order}
    best = max(order, key=named.__getitem__)
    if named[best] > 0:
        return best

    def fit(delimiter: str) -> tuple[float, int]:
        sizes = [len(row) for row in rows[delimiter]]
        even = sizes.count(sizes[0]) / len(sizes) if sizes else 0.0
        return (even, sizes[0]) if sizes and sizes[0] > 1 else (0.0, 0)

    return max(order, key=fit)


def _sample_rows(sample: list[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    with suppress(csv.Error):  # the sample ends within a quoted cell
        rows.extend(row for row in csv.reader(sample, delimiter=delimiter, strict=False) if row)
    return rows


def _parsed(
    lines: Iterable[str], delimiter: str, read: Collection[str] | None, offset: int, *, literal: bool = False
) -> tuple[Table, bool]:
    """Return the table, and whether a quote seems to stand for itself: one did not close, or not within its line.

    Args:
        lines: From the header on.
        delimiter: One character.
        read: Names of the columns to read; None: all.
        offset: Number of lines before the header.
        literal: Whether a quote within a cell is a character as others.
    """
    recent = list[str]()  # lines of the row
    reader = csv.reader(
        _remembered(lines, recent),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL,
    )
    header: list[str] | None = None
    positions: dict[str, int] = {}
    values: dict[str, list[str]] = {}
    rows, faults, is_doubtful = 0, list[Fault](), False
    while True:
        line = reader.line_num + 1
        recent.clear()
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            row, is_doubtful = [], True
            where = f"line {line + offset}"
            faults.append((0 if header is None else rows + 1, f"broken quotes from {where} on ({error})"))
        else:
            if not row or (len(row) == 1 and not row[0].strip()):  # a blank line is no row
                continue
        if header is None:
            header = _names(row, read)
            positions = {name: at for at, name in enumerate(header) if read is None or name in read}
            values = {name: [] for name in positions}
            continue
        rows += 1
        check_rows(rows)
        is_doubtful |= len(recent) > 1
        fault = _row_fault(row, header, delimiter, recent) if row else None
        if fault:
            faults.append((rows, f"{fault} (line {line + offset})"))
        for name, at in positions.items():
            cell = row[at] if at < len(row) else ""
            values[name].append(_unquoted(cell) if literal else cell)
    header = header or []
    return with_columns(header, values, rows, [*_header_faults(header, read), *faults]), is_doubtful


def _remembered(lines: Iterable[str], recent: list[str]) -> Iterator[str]:
    for line in lines:
        recent.append(line)
        yield line


def _unquoted(cell: str) -> str:
    """Return what stands in a cell that is quoted as a whole; any other as it is."""
    whole = _QUOTED.fullmatch(cell)
    return whole[1].replace('""', '"') if whole else cell


def _names(row: list[str], read: Collection[str] | None) -> list[str]:
    """Return the names in a header; blanks around a name are no part of it, unless it is to be read with them.

    Raises:
        ValueError: There are too many.
    """
    check_columns(len(row))
    plain = [name.strip(_AROUND) for name in row]
    taken = Counter(plain)
    return [
        name if (read is not None and name in read) or taken[stripped] > 1 else stripped
        for name, stripped in zip(row, plain, strict=True)
    ]


def _header_faults(header: list[str], read: Collection[str] | None) -> list[Fault]:
    faults = repeated(header, read)
    if len(header) == 1 and any(name in header[0] and name != header[0] for name in read or ()):
        known = ", ".join(DELIMITERS.values())
        faults.append(
            (0, f"nothing parts the header {printable(header[0])!r}; delimiters are {known}; save it with one")
        )
    return faults


def _row_fault(row: list[str], header: list[str], delimiter: str, lines: list[str]) -> str | None:
    """Return what is wrong with a row, which was read from these lines; None if nothing is."""
    if len(row) < len(header) or any(row[len(header) :]):
        by = "" if delimiter == "," else f", parted by {DELIMITERS.get(delimiter, repr(delimiter))}"
        return f"{len(row)} fields where the header has {len(header)}{by}"
    if len(row) > 1 and row[: len(header)] == header:
        return "the header once more"
    if len(lines) > 1:
        cells = [line.rstrip("\r\n").split(delimiter) for line in lines]
        if all(len(of) == len(header) > 1 and _form(of[0]) == _form(row[0]) for of in cells):
            return f"a quote closes only after {len(lines)} lines that look like rows; double a quote that is text"
    return None


def _form(text: str) -> str:
    """Return a text with `0` for each number in it and `a` for each word."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", text))
