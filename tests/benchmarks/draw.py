"""Tables and a chart of what was measured, as a section of a Markdown document.

    python -m tests.benchmarks draw results.json --into ensemble/RESULTS.md

What stands between two comments in the document is replaced; a document without them gets the section at its end. So
sentences around the tables stay. Without `--into` the tables are printed. The chart is a file beside the document.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.artifacts import atomic_file
from shared.errors import MatcherError
from tests.benchmarks.chart import chart
from tests.benchmarks.results import Results, Row
from tests.benchmarks.works import STAGES

BEGIN, END = "<!-- measured by tests.benchmarks: begin -->", "<!-- measured by tests.benchmarks: end -->"
INTRODUCTION = """## Speed and scale

```sh
python -m tests.benchmarks measure --out results.json
python -m tests.benchmarks compare --listings 35000,250000 --threads 1 --out results.json
python -m tests.benchmarks profile --out results.json
python -m tests.benchmarks draw results.json --into ensemble/RESULTS.md
```

Catalogs of any size (`tests/benchmarks/catalogs.py`): titles of the demo; hashes and vectors in place of those of
images and encoders, made so that listings of a product are near each other. The scorer learned from two such catalogs
of 2,000. Each stage runs in a process of its own; what it reads and writes counts for its memory, not for its time.
"""
NAMES = {  # how the tables and the chart call a stage
    "whole": "whole, table to matches",
    "search distilbert": "search, title vectors",
    "search image": "search, image vectors",
    "search tfidf": "search, TF-IDF",
    "search phash": "search, hashes",
    "embed tfidf": "TF-IDF vectors",
    "embed phash": "hash vectors",
}
NOT_DRAWN = ("embed phash",)  # of the chart: too quick to matter
FROM = 35_000  # listings from which growth is told
SMALL = 0.5  # seconds; the growth of less says nothing
KINDS = {"dense": "Title vectors", "sparse": "TF-IDF vectors", "hashes": "Hashes", "titles": "Titles themselves"}


def draw(results: Sequence[Results], document: Path | None, svg: Path | None) -> None:
    """Write the section of some results into a document, and the chart beside it; without a document, print it."""
    if not any(rows for each in results for rows in each.rows.values()):
        raise MatcherError("the files hold no measurement")
    if document is None:
        print(section(results, str(svg) if svg and save_chart(results, svg) else None))
    else:
        svg = svg or document.with_name("speed.svg")
        link = Path(os.path.relpath(svg, document.parent)).as_posix()
        into(document, section(results, link if save_chart(results, svg) else None))


def save_chart(results: Sequence[Results], path: Path) -> bool:
    """Write the chart, of the rows with as many threads as the first; return whether there was anything to draw."""
    rows = _usual([row for each in results for row in each.rows["stages"]])
    rows = [row for row in rows if row["threads"] == rows[0]["threads"]]  # other seconds do not compare
    order = [stage for stage in ("whole", *STAGES[:-1]) if stage not in NOT_DRAWN]
    lines = {NAMES.get(stage, stage): _points(rows, stage) for stage in order}
    if all(len(points) < 2 for points in lines.values()):
        return False
    with atomic_file(path) as partial:
        partial.write_text(chart(lines), encoding="utf-8")
    return True


def into(document: Path, text: str) -> None:
    """Put a section into a document, in place of the former one."""
    content = document.read_text(encoding="utf-8") if document.exists() else ""
    if BEGIN in content and END in content:
        before, after = content.partition(BEGIN)[0], content.partition(END)[2]
    else:
        before, after = f"{content.rstrip()}\n\n{INTRODUCTION}\n".lstrip(), "\n"
    with atomic_file(document) as partial:
        partial.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def section(results: Sequence[Results], svg: str | None) -> str:
    """Return the tables of some results in Markdown."""
    parts: list[str] = []
    for each in results:
        machine = _machine(each.machine)
        parts += [*([] if machine in parts else [machine])]
        for rows in _by_threads(each.rows["stages"]):
            parts += [*_stages(rows, svg), *_settings(rows)]
            svg = None  # of all, so once
        parts += _alternatives(each.rows["alternatives"])
        parts += _profiles(each.rows["profiles"]) + _device(each.rows["device"])
    return "\n\n".join(parts) + "\n"


def _machine(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in machine.items() if name not in _FACTS)
    return (
        f"Measured on {machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, "
        f"{machine['system']}, Python {machine['python']}, {versions}."
    )


_FACTS = ("processor", "cores", "memory_gb", "system", "python")


# --- stages -----------------------------------------------------------------------------------------------------------


def _stages(rows: Sequence[Row], svg: str | None) -> list[str]:
    """Return the table of the stages at every size, with the usual settings."""
    rows = sorted(_usual(rows), key=lambda row: row["listings"])
    sizes = sorted({row["listings"] for row in rows})
    if not sizes:
        return []
    cells = {(row["stage"], row["listings"]): row for row in rows}
    body = []
    for stage in STAGES:
        of_stage = [cells.get((stage, size)) for size in sizes]
        if any(of_stage):
            name = f"**{NAMES[stage]}**" if stage == "whole" else NAMES.get(stage, stage)
            body.append([name, *map(_cost, of_stage), _growth_text(_points(rows, stage))])
    days = sorted({row["date"] for row in rows})
    f1 = [f"{row['row_f1']:.3f} ({row['listings']:,})" for row in rows if "row_f1" in row]
    recall = [f"{row['recall']:.4f} ({row['listings']:,})" for row in rows if row["stage"] == "union"]
    words = (
        f"{_unit(rows)} and peak memory (GB) of each stage after encoding, {_threads(rows)}{_with(rows[0])}, "
        f"{days[0] if len(days) == 1 else f'{days[0]} to {days[-1]}'}. The last column is the growth per doubling from "
        f"{FROM:,} listings, or the smallest size, to the largest."
    )
    facts = [
        *([f"Recall of true pairs by the union of the candidates: {', '.join(recall)}."] if recall else []),
        *([f"Row F1 of the whole: {', '.join(f1)}."] if f1 else []),
    ]
    image = [f"![Seconds of each stage against the number of listings]({svg})"] if svg else []
    table = _table(["stage", *(f"{size:,}" for size in sizes), "× per doubling"], body)
    return [words, *image, table, *([" ".join(facts)] if facts else [])]


def _by_threads(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows with as many threads as the first, then those with others: their seconds do not compare."""
    return [[row for row in rows if row["threads"] == threads] for threads in dict.fromkeys(r["threads"] for r in rows)]


def _usual(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the settings by default; where there are none, those with the settings of the first row."""
    settings = {} if any(not row["settings"] for row in rows) else rows[0]["settings"] if rows else {}
    return [row for row in rows if row["settings"] == settings]


def _with(row: Row) -> str:
    """Return the settings of a row as a part of a sentence."""
    given = _given(row)
    return f", with {given}" if given else ""


def _cost(row: Row | None) -> str:
    return "" if row is None else f"{_seconds(_time(row))} · {row['peak_memory_mb'] / 1024:.1f} GB"


def _time(row: Row) -> float:
    """Return the seconds of a row; with one thread those of the processor, which others on the machine leave alone."""
    return float(_cpu_seconds(row) if row["threads"] == 1 else row["seconds"])


def _unit(rows: Sequence[Row]) -> str:
    return "Processor seconds" if all(row["threads"] == 1 for row in rows) else "Seconds"


def _seconds(seconds: float) -> str:
    """Return seconds as a reader wants them.

    Examples:
        >>> _seconds(0.04), _seconds(3.21), _seconds(61.2), _seconds(754)
        ('0.0 s', '3.2 s', '61 s', '12.6 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.1f} min"


def _points(rows: Iterable[Row], stage: str) -> list[tuple[int, float]]:
    return sorted((row["listings"], _time(row)) for row in rows if row["stage"] == stage)


def growth(points: Sequence[tuple[int, float]]) -> float | None:
    """Return the factor of the time per doubling of the listings; None where it cannot be told.

    Args:
        points: (listings, seconds) by rising number of listings.

    Examples:
        >>> growth([(5_000, 9.0), (35_000, 1.0), (70_000, 2.0), (140_000, 4.5)])
        2.1213203435596424
    """
    if len(points) < 2:
        return None
    first = next((point for point in points[:-1] if point[0] >= FROM), points[0])
    last = points[-1]
    if min(first[1], last[1]) < SMALL:
        return None
    return float((last[1] / first[1]) ** (1 / math.log2(last[0] / first[0])))


def _growth_text(points: Sequence[tuple[int, float]]) -> str:
    value = growth(points)
    return "" if value is None else f"{value:.2f}"


def _settings(rows: Sequence[Row]) -> list[str]:
    """Return the table of rows with other settings beside those with the usual ones."""
    usual = {(row["stage"], row["listings"]): row for row in _usual(rows)}
    body = []
    for row in rows:
        default = usual.get((row["stage"], row["listings"]))
        if default and row["settings"] != default["settings"]:
            shares = [f"{_time(default) / max(_time(row), 1e-3):.2f}"]
            shares.append(f"{default['recall'] / row['recall']:.4f}" if row.get("recall") else "")
            body.append(
                [NAMES.get(row["stage"], row["stage"]), f"{row['listings']:,}", _given(row), _cost(row), *shares]
            )
    if not body:
        return []
    header = ["stage", "listings", "with", "cost", "usual: × its seconds", "usual: recall of its true pairs"]
    return ["Other settings beside the usual ones:", _table(header, body)]


# --- alternatives, profile, device ------------------------------------------------------------------------------------


def _alternatives(rows: Sequence[Row]) -> list[str]:
    """Return a table per kind: ways by sizes, as ratios to ours."""
    parts = []
    for kind, name in KINDS.items():
        of_kind = [row for row in rows if row["kind"] == kind]
        if not of_kind:
            continue
        several = len({row["threads"] for row in of_kind}) > 1
        heads = {(row["listings"], row["threads"], _given(row)): _head(row, several) for row in of_kind}
        cells = {(row["method"], row["listings"], row["threads"], _given(row)): row for row in of_kind}
        methods = list(dict.fromkeys(row["method"] for row in of_kind))
        body = [[way, *(_ratio(cells.get((way, *column))) for column in sorted(heads))] for way in methods]
        found = "of true pairs" if kind == "titles" else "of neighbors and of true pairs"
        told = f"{name}: processor seconds as a multiple of ours, and recall {found}; {_threads(of_kind)}."
        parts += [told, _table(["way", *(heads[column] for column in sorted(heads))], body)]
    return parts


def _head(row: Row, several: bool) -> str:
    """Return the head of a column of a table of alternatives."""
    parts = [f"{row['listings']:,} listings", *([_threads([row])] if several else [])]
    return ", ".join([*parts, *([_given(row)] if _given(row) else [])])


def _given(row: Row) -> str:
    """Return the settings of a row that are not the default, in Markdown."""
    return " ".join(
        f"`{name}.{key}={','.join(value) if isinstance(value, list) else value}`"
        for name, keys in row["settings"].items()
        for key, value in keys.items()
    )


def _cpu_seconds(row: Row) -> float:
    """Return the processor seconds of a row; one of an earlier version has seconds alone."""
    return float(row["cpu_seconds"] if "cpu_seconds" in row else row["seconds"])


def _ratio(row: Row | None) -> str:
    if row is None:
        return ""
    ours = f" ({_seconds(_cpu_seconds(row))})" if row["ratio"] == 1 else ""
    recalls = [f"{row[name]:.3f}" for name in ("recall", "true_pairs") if name in row]
    return " · ".join([f"{row['ratio']:.2f}{ours}", *recalls])


def _profiles(rows: Sequence[Row]) -> list[str]:
    """Return a table per size: shares of the time of each stage by library."""
    parts = []
    for size in sorted({row["listings"] for row in rows}):
        of_size = [row for row in rows if row["listings"] == size]
        total = {name: sum(row["shares"].get(name, 0) for row in of_size) for row in of_size for name in row["shares"]}
        names = sorted(total, key=lambda name: (name == "own Python", -total[name]))
        body = [
            [NAMES.get(row["stage"], row["stage"]), _seconds(_time(row))]
            + [f"{row['shares'].get(name, 0):.0%}" if row["shares"].get(name, 0) >= 0.005 else "" for name in names]
            for row in of_size
        ]
        parts.append(f"Share of the time of each stage by the library that works, {size:,} listings:")
        parts.append(_table(["stage", "time", *names], body))
    return parts


def _device(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    body = [[row["what"], row["device"], f"{row['value']:,.4g} {row['unit']}"] for row in rows]
    return ["On a device:", _table(["what", "device", "value"], body)]


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _threads(rows: Iterable[Row]) -> str:
    """Return with how many threads rows were measured.

    Examples:
        >>> _threads([{"threads": 1}]), _threads([{"threads": 2}, {"threads": 1}])
        ('1 thread', '1 and 2 threads')
    """
    counts = sorted({row["threads"] for row in rows})
    return f"{' and '.join(map(str, counts))} thread{'' if counts == [1] else 's'}"
