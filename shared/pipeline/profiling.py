"""Seconds and peak memory of a piece of work."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Measure a block; the dictionary holds `seconds`, `peak_memory_mb` and `ended` once it has ended.

    Peak memory is this process's largest resident size in the block. Where the system keeps no such mark that can
    be reset (outside Linux), it is the largest since the process started.
    """
    measure: dict[str, Any] = {}
    _reset_peak()
    start = time.perf_counter()
    yield measure
    measure["seconds"] = round(time.perf_counter() - start, 3)
    measure["peak_memory_mb"] = round(_peak_mb(), 1)
    measure["ended"] = time.time()


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
