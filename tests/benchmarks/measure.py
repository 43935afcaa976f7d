"""Measure every stage after encoding at several sizes: seconds, CPU seconds, peak memory.

    python -m tests.benchmarks measure --listings 5000,35000,70000 --out results.json
    python -m tests.benchmarks measure --listings 35000 --stages "search tfidf,whole" --out results.json --again

Each piece of work runs in a fresh process, so its peak memory is its own: what it loads, works with and writes. A stage
and size that the file holds is skipped unless `--again`; so the same command goes on after an interruption. Catalogs
and the files of the works are kept in the folder that `--cache` names (about 12 GB for a million listings).

Settings may differ from the default: `--distilbert.neighbors=20`. Their rows stand beside those of the defaults, and
catalogs are shared.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ensemble.config import EnsembleConfig
from shared.artifacts import read_json
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from tests.benchmarks.catalogs import make_catalog
from tests.benchmarks.results import Results
from tests.benchmarks.system import make_system, settings_of
from tests.benchmarks.works import BRANCHES, STAGES, WORKS, Order, order_text
from tests.support.paths import ROOT

KEY = ("stage", "listings", "settings", "threads")


def measure(
    results: Results,
    sizes: Sequence[int],
    stages: Sequence[str],
    order: Order,
    *,
    again: bool = False,
    system_listings: int | None = None,
) -> int:
    """Measure stages at several sizes and add the rows to the results.

    Args:
        results: Rows that it holds are not measured again.
        sizes: Numbers of listings.
        stages: Names out of `STAGES`.
        order: Cache, settings and threads; work and listings are filled in.
        again: Whether stages are measured although there are rows.
        system_listings: Listings of each catalog that the system is trained on; None: as usual.

    Returns:
        The number of pieces of work that failed.
    """
    if unknown := sorted(set(stages) - set(STAGES)):
        raise MatcherError(f"there is no stage {unknown[0]!r}; there are: {', '.join(STAGES)}")
    settings_of(order.settings)  # wrong ones are refused before hours of work
    cache = Path(order.cache)
    _say("the system that matches")
    make_system(cache, order.settings, *([] if system_listings is None else [system_listings]))
    failed = 0
    for listings in sizes:
        _say(f"{listings:,} listings")
        make_catalog(cache / str(listings), listings)
        of_size = replace(order, listings=listings)
        for name in _needed(results, of_size, stages, again):
            failed += not _measured(results, replace(of_size, work=name))
    return failed


def _needed(results: Results, order: Order, stages: Sequence[str], again: bool) -> list[str]:
    """Return the works to do, in order: those that measure what is missing, and those whose files are missing."""

    def is_missing(stage: str) -> bool:
        row = {"stage": stage, "listings": order.listings, "settings": order.settings, "threads": _threads(order)}
        return stage in stages and (again or not results.holds(_kind(order), row))

    needed = {name for name, work in WORKS.items() if any(map(is_missing, work.stages))}
    while True:
        read = {file for name in needed for file in _read(order, name) if not order.file(file).exists()}
        more = {name for name, work in WORKS.items() if read & set(work.writes)} - needed
        if not more:
            return [name for name in WORKS if name in needed]
        needed |= more


def _read(order: Order, work: str) -> list[str]:
    """Return the files that a work reads: none of branches that take no part."""
    branches = settings_of(order.settings)[EnsembleConfig].branches
    unread = {f"{name}.{kind}" for name in BRANCHES if name not in branches for kind in ("parquet", "safetensors")}
    return [file for file in WORKS[work].reads if work.startswith("search ") or file not in unread]


def _kind(order: Order) -> str:
    return "profiles" if order.profile else "stages"


def _threads(order: Order) -> int:
    return settings_of(order.settings, order.threads)[ComputeConfig].cpu_threads


def _measured(results: Results, order: Order) -> bool:
    """Do a piece of work in a process of its own and add its rows; return whether it succeeded."""
    if lacking := [file for file in _read(order, order.work) if not order.file(file).exists()]:
        print(f"  {order.work}: left out, since there is no {lacking[0]}", flush=True)
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "tests.benchmarks.works", order_text(order), str(path)]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code or not path.exists():
            reason = "killed, perhaps for lack of memory" if code == -9 else f"exit code {code}"
            print(f"  {order.work}: failed ({reason})", flush=True)
            return False
        rows: dict[str, Any] = read_json(path)
    facts = {"listings": order.listings, "settings": order.settings}
    results.add(_kind(order), [{"stage": stage} | facts | row for stage, row in rows.items()], KEY)
    for stage, row in rows.items():
        print(f"  {stage:<20} {in_words(row)}", flush=True)
    return True


def in_words(row: dict[str, Any]) -> str:
    """Return what was measured of a stage on one line.

    Examples:
        >>> in_words({"seconds": 1.234, "cpu_seconds": 2.0, "peak_memory_mb": 512.0, "recall": 0.98765})
        '1.2 s · 2.0 CPU s · 0.5 GB · recall 0.988'
    """
    parts = [
        f"{row['seconds']:.1f} s",
        f"{row['cpu_seconds']:.1f} CPU s",
        f"{row['peak_memory_mb'] / 1024:.1f} GB",
        *(f"{name.replace('_', ' ')} {row[name]:.3f}" for name in ("recall", "row_f1") if name in row),
        *([f"{row['pairs']:,} pairs"] if "pairs" in row else []),
        *(f"{name} {share:.0%}" for name, share in row.get("shares", {}).items() if share >= 0.01),
    ]
    return " · ".join(parts)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
