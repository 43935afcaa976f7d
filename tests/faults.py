"""The table of faults: what must hold, and which tests make each fault happen.

A test says by `@pytest.mark.fault(7)` which line it covers, by `@pytest.mark.fault(6, 31)` which lines. The command
`python -m tests.faults` writes `tests/FAULTS.md` anew. `tests/architecture/test_faults.py` fails where that file is out
of date, where a line has no test, and where a marker names a line that is not there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

TABLE = ROOT / "tests" / "FAULTS.md"
MARK = "pytest.mark.fault"

_LINES = {
    "Listings": """
        Posting ids of any form come back as they were written, in every format of tables.
        A table with duplicate ids, missing columns, another encoding, compression or line ends is read right, or
            refused by one error that names all of its faults by row; a single listing is one group.
        Titles that are empty, endless, in any script or of signs alone make no NaN and no match.
        Labels that allow no training are refused before it begins, with what is wrong and what to do.
        Image names lead to regular files inside of the image folder and nowhere else, and nothing waits for them.
    """,
    "Images": """
        An image that is damaged, of another kind, mode or shape, or turned, is shown as people see it, or set aside
            with its reason; its listing keeps its row.
        An image that claims too many pixels is refused before it is decoded.
        Batches without a usable image, and batches of one, embed and train.
        Blank images and placeholders, however many listings share them, join nobody.
    """,
    "Numbers and order": """
        Embeddings that are no finite unit vectors are refused or masked where they are made.
        Ties are broken by similarity and id alone: the same candidates in any batches, threads and order of rows.
        More neighbors than there are listings give those that there are.
        Thresholds lie between distinct scores, and select the same pairs when they were saved and loaded.
        Features and scores of a pair do not depend on which listing comes first.
    """,
    "Groups": """
        No pairs, all pairs, endless chains and giant components are decided without recursion; groups that are too
            large are split, with a warning.
        Each listing is in one group, the same in any order of rows; a higher threshold only splits groups; groups are
            the components that networkx finds.
    """,
    "State": """
        A run, an index or a file of answers that was killed at any moment goes on to what it would have been.
        A full disk or a folder that cannot be written is an error that leaves the earlier artifact as it was.
        Of two runs in one folder the second ends at once and names the first; the lock of a dead one is taken over.
        Damaged and foreign artifacts are refused before anything parses them.
        No pickle is read or written.
        A change of content, settings or code repeats what depends on it; a change of a file's time repeats nothing.
        The scorer takes its features by name.
    """,
    "Training": """
        A training that was killed ends in the weights, to the bit, of one that ran through.
        The same seed makes the same bytes, with any number of workers.
        No label group, image, hash or normalized title is on both sides of a split, and nothing is tuned on the
            holdout.
    """,
    "Output": """
        What sellers write is text in the report and on the review page, and no formula in CSV; Parquet keeps it as it
            is.
        The report needs no network and stays small, however many pairs there are.
        Nothing asks the network unless a model of a hub was named; where it cannot be had, the error says which file to
            place where.
        A worker that is killed ends its command with an error that says so.
    """,
    "Strangers": """
        A row's exception of any kind costs that row its evidence, and never the catalog its run.
        Input is bounded in size and depth, and refused by its bound before it is expanded.
        Nothing of a bundle, an index, a model folder or a run is executed, imported or followed out of it by a link.
        A place to write to that is being read from is refused beforehand; a folder of outputs is the old or the new
            one.
        Evidence that many unlike listings share joins nobody, while listings of equal content are one group.
        What was not read or not used is counted and named by example, beside the results; words for "missing" are
            missing.
        Answers survive kills, two reviewers at a time, growth, rebuilds and training; contradictions are shown.
    """,
}


def lines() -> dict[str, list[str]]:
    """Return what must hold, by heading; the lines are counted from 1 through all headings."""
    return {heading: _unfolded(text) for heading, text in _LINES.items()}


def _unfolded(text: str) -> list[str]:
    rows: list[str] = []
    for row in text.strip("\n").rstrip().splitlines():
        if row.startswith(" " * 12):
            rows[-1] += " " + row.strip()
        else:
            rows.append(row.strip())
    return rows


def marked(root: Path = ROOT) -> Iterator[tuple[int, str]]:
    """Yield (line, test) for each marker, such as (7, "tests/shared/catalog/test_images.py::test_bombs")."""
    for path in sorted(root.glob("tests/**/test_*.py")):
        text = path.read_text(encoding="utf-8")
        if MARK not in text:
            continue
        tree, place = ast.parse(text), path.relative_to(root).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                numbers = {n for decorator in node.decorator_list for n in _numbers(decorator)}
                yield from ((number, f"{place}::{node.name}") for number in sorted(numbers))


def _numbers(node: ast.AST) -> list[int]:
    """Return the lines that markers within an expression name."""
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) == MARK]
    return [ast.literal_eval(argument) for call in calls for argument in call.args]


def table() -> str:
    """Return the table as Markdown."""
    tests: dict[int, list[str]] = {}
    for number, test in marked():
        tests.setdefault(number, []).append(test)
    text = "# Faults that the project survives\n\nWritten by `python -m tests.faults` from the markers of the tests.\n"
    number = 0
    for heading, rows in lines().items():
        text += f"\n## {heading}\n\n"
        for row in rows:
            number += 1
            text += f"{number}. {row}\n" + "".join(f"   - `{test}`\n" for test in tests.get(number, []))
    return text


def main() -> None:
    """Write the table."""
    TABLE.write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
