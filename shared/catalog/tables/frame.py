"""A frame read as a table."""

from __future__ import annotations

import os
from collections.abc import Collection

import pandas as pd

from shared.catalog.tables.table import (
    Fault,
    Table,
    cell_faults,
    lenient_text,
    printable,
    repeated,
    text_of,
    with_columns,
)


def frame_table(
    frame: pd.DataFrame, read: Collection[str], lenient: Collection[str] = (), cut: Collection[str] = ()
) -> Table:
    """Return the text of a frame's columns, as a person would have written it in a CSV file.

    Args:
        frame: Any frame; its index is not looked at.
        read: Names of columns. The others are there without their values.
        lenient: Names of columns in which no value is a fault.
        cut: Names of columns in which half a surrogate pair is no fault.

    Examples:
        >>> frame_table(pd.DataFrame({"id": [1.0, 2.5], "title": ["Mug", None]}), {"id", "title"}).columns
        {'id': ['1', '2.5'], 'title': ['Mug', '']}
    """
    names, faults, columns = [str(name) for name in frame.columns], list[Fault](), dict[str, list[str]]()
    for position, name in enumerate(names):
        if name not in read:
            continue
        columns[name] = [""] * len(frame)
        try:
            values = frame.iloc[:, position].tolist()
        except Exception as error:  # such as strings of Arrow that are not UTF-8
            faults.append((0, f"{printable(name)} cannot be read ({printable(str(error))})"))
            continue
        for row, value in enumerate(values, start=1):
            try:
                if name in lenient:
                    columns[name][row - 1] = lenient_text(value)
                    continue
                if not pd.api.types.is_scalar(value) and not isinstance(value, os.PathLike):
                    raise ValueError(f"holds {printable(repr(value))}, which is no text")
                if not pd.isna(value):
                    columns[name][row - 1] = text_of(value)
            except Exception as error:  # a value may be of any type, whose methods raise any error
                what = str(error) if isinstance(error, ValueError) else f"has no text ({type(error).__name__})"
                faults.append((row, f"{printable(name)} {printable(what, 150)}"))
    table = with_columns(names, columns, len(frame), repeated(names, read) + faults)
    table.faults += list(cell_faults(table, set(read) - set(lenient), None, cut))
    return table
