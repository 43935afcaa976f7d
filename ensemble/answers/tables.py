"""Answers as tables: exported and imported as CSV, and the groups that they make as labels to train on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.answers.answer import Answer, now, time_of
from ensemble.answers.answers import Answers, PoolAnswers
from ensemble.submission import csv_cell
from shared.artifacts import atomic_file
from shared.catalog.copies import content_digests, copy_of
from shared.catalog.ids import FORMULA
from shared.catalog.tables import printable, read_table
from shared.errors import raise_faults
from shared.schema import Catalog

COLUMNS = ("left", "right", "verdict", "by", "at")


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of text as CSV; None is an empty cell, and no cell is a formula (`csv_cell`)."""
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(csv_cell("" if value is None else str(value)) for value in row) for row in rows]
    with atomic_file(path) as partial:
        partial.write_text("\n".join([",".join(columns), *lines, ""]), encoding="utf-8", newline="")


def export(answers: Answers, path: Path) -> int:
    """Write the latest answer of each person about each pair as CSV, sorted by the pair; return how many there are.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> answer = Answer("a", "b", "", "", "yes", by="Ann", at="2026-01-31T12:00:00Z")
        >>> with TemporaryDirectory() as folder:
        ...     count = export(Answers((answer,)), Path(folder) / "answers.csv")
        ...     count, (Path(folder) / "answers.csv").read_text().splitlines()
        (1, ['left,right,verdict,by,at', 'a,b,yes,Ann,2026-01-31T12:00:00Z'])
    """
    rows = [answer for of_pair in answers.verdicts.values() for answer in of_pair.values()]
    write_csv(path, {name: [_marked(getattr(answer, name)) for answer in rows] for name in COLUMNS})
    return len(rows)


def imported(path: Path, catalogs: Sequence[Catalog]) -> list[Answer]:
    """Return the answers in a table with the columns of `export`; they are about the listings as they are now.

    Args:
        path: A table. An empty `at` means now, later by a microsecond in each row, so that no two are one to undo.
        catalogs: Catalogs; both listings of an answer are in one of them.

    Raises:
        MatcherError: The table has faults; one error names all of them.
    """
    table = read_table(path, COLUMNS)
    faults = [f"row {row}: {what}" for row, what in table.faults]
    faults += [f"no column {name!r}" for name in COLUMNS if name not in table.columns]
    raise_faults(str(path), faults)
    contents = [dict(zip(catalog.ids, content_digests(catalog), strict=True)) for catalog in catalogs]
    answers, start = list[Answer](), time_of(now())
    for number, row in enumerate(zip(*(table.columns[name] for name in COLUMNS), strict=True), start=1):
        time = (start + timedelta(microseconds=number)).isoformat(timespec="microseconds")
        try:
            answers.append(_answer(dict(zip(COLUMNS, row, strict=True)), contents, time))
        except ValueError as error:
            faults.append(f"row {number}: {error}")
    raise_faults(str(path), faults)
    return answers


def _answer(row: Mapping[str, str], contents: Sequence[Mapping[str, str]], time: str) -> Answer:
    """Return the answer of a row; raises a ValueError that says what is wrong with it."""
    for of_catalog in contents:
        left, right = (_raw(row[name], of_catalog) for name in ("left", "right"))
        if left in of_catalog and right in of_catalog:
            verdict: Any = row["verdict"].strip().lower()
            by, at = _raw(row["by"], ()), row["at"] or time
            return Answer(left, right, of_catalog[left], of_catalog[right], verdict, by, at)
    unknown = [name for name in ("left", "right") if not any(_raw(row[name], of) in of for of in contents)]
    listings = " and ".join(printable(row[name]) for name in unknown)
    raise ValueError(f"{listings} not in the catalog" if unknown else "both listings must be of one catalog")


def _marked(text: str) -> str:
    """Return a text that differs from a formula by apostrophes alone with one more, so that `_raw` can take it away."""
    return "'" + text if text.startswith("'") and text.lstrip("'").startswith(FORMULA) else text


def _raw(text: str, ids: Collection[str]) -> str:
    """Return a cell without the apostrophe that was put before it; one that is no id without it stays as it is."""
    is_marked = text.startswith("'") and text.lstrip("'").startswith(FORMULA)
    return text[1:] if is_marked and (text[1:] in ids or text not in ids) else text


def label_groups(catalog: Catalog, answers: PoolAnswers) -> tuple[list[str | None], int]:
    """Return the label group of each listing by its own label and by yes answers, and how many groups are left out.

    Listings that yes answers or equal content connect are a group, named by the label that one of them has, or by the
    smallest posting id, with `answers-` before it where another group has that name. A listing that nothing connects
    keeps its label, if it has one. Where answers or labels contradict each other within a group, no listing of it gets
    a label by answers.

    Args:
        catalog: n listings with their labels.
        answers: Those that hold for them.

    Examples:
        >>> from shared.catalog.copies import content_digests
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b", "c"], "title": ["mug", "red mug", "fan"]})
        >>> one, other, _ = content_digests(catalog)
        >>> yes = Answer("a", "b", one, other, "yes", by="Ann", at="2026-01-31T12:00:00Z")
        >>> label_groups(catalog, Answers((yes,)).on(catalog))
        (['a', 'a', None], 0)
    """
    n, ids, labels = len(catalog), catalog.ids, catalog.labels
    must, never = answers.pins.must, answers.pins.never
    copies = np.stack([np.arange(n), copy_of(catalog)], axis=1)
    links = np.concatenate([must, copies])
    group = connected_components(coo_array((np.ones(len(links)), links.T), shape=(n, n)), directed=False)[1]
    result, names = labels.tolist(), {label for label in labels if label is not None}
    left_out = 0
    for number in np.unique(group[must.ravel()]):
        rows = np.flatnonzero(group == number)
        own = {label for label in labels[rows] if label is not None}
        apart = np.isin(never[:, 0], rows) & np.isin(never[:, 1], rows)
        if len(own) > 1 or apart.any():
            left_out += 1
            continue
        name = next(iter(own)) if own else _new_name(min(ids[rows]), names)
        names.add(name)
        for row in rows.tolist():
            result[row] = name
    return result, left_out


def _new_name(name: str, names: Collection[str]) -> str:
    """Return a name that is none of some names: the one that is given, if that is possible."""
    while name in names:
        name = f"answers-{name}"
    return name


def write_labels(path: Path, catalog: Catalog, labels: Sequence[str | None]) -> None:
    """Write listings with labels as a table to train on: Parquet if the name ends so, else CSV (`write_csv`)."""
    hashes = [None if phash is None else f"{phash:016x}" for phash in catalog.column("phash")]
    columns: dict[str, Any] = {name: catalog.column(name).tolist() for name in ("posting_id", "title", "image")}
    columns |= {"image_phash": hashes, "label_group": list(labels)}
    if path.name.endswith(".parquet"):
        with atomic_file(path) as partial:
            pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), partial)
    else:
        write_csv(path, columns)
