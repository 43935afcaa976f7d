"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Measure a block; at its end the yielded dictionary gets `seconds`, `peak_memory_mb` and `ended`.

    Peak memory is this process's largest resident size in the block, in MiB. Outside Linux, where the system keeps no
    such mark that can be reset, it is the largest since the process started (Windows) or the size at the end of the
    block (macOS).

    Examples:
        >>> with measured() as cost:
        ...     total = sum(range(100))
        >>> sorted(cost)
        ['ended', 'peak_memory_mb', 'seconds']
    """
    measure: dict[str, Any] = {}
    _reset_peak()
    start = time.perf_counter()
    yield measure
    measure["seconds"] = round(time.perf_counter() - start, 3)
    measure["peak_memory_mb"] = round(_peak_bytes() / 2**20, 1)
    measure["ended"] = time.time()


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # see "clear_refs" in proc(5)
    except OSError:
        return


def _peak_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
