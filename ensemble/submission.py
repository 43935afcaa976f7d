"""Matches as CSV, in the format of the competition, and cells that no spreadsheet runs as a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from shared.catalog.ids import FORMULA
from shared.schema import Matches


def write_submission(path: Path, ids: NDArray[Any], matches: Matches) -> None:
    """Write `posting_id,matches`: each listing with its matches, itself first, separated by blanks.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe; the Parquet files hold raw values.

    Args:
        path: The file.
        ids: Posting ids, str [n].
        matches: Of the n listings.

    Examples:
        >>> import numpy as np
        >>> from tempfile import TemporaryDirectory
        >>> rows, ids = np.array([0, 1], np.int32), np.array(["a", "b"], dtype=object)
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "submission.csv"
        ...     write_submission(path, ids, Matches(2, rows, rows[::-1].copy(), np.ones(2, np.float32)))
        ...     path.read_text().splitlines()
        ['posting_id,matches', 'a,a b', 'b,b a']
    """
    rows = [" ".join([ids[row], *ids[match]]) for row, match in enumerate(matches.lists())]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("posting_id,matches\n")
        file.writelines(f"{csv_cell(posting_id)},{csv_cell(row)}\n" for posting_id, row in zip(ids, rows, strict=True))


def csv_cell(text: str) -> str:
    """Return a text as a cell of a CSV file, with an apostrophe before what a spreadsheet would run as a formula.

    Examples:
        >>> csv_cell("=1+1"), csv_cell("red, blue")
        ("'=1+1", '"red, blue"')
    """
    text = "'" + text if text.startswith(FORMULA) else text
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text
