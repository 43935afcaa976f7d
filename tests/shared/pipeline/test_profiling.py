import mmap
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from shared.pipeline.profiling import measured

MIB = 2**20


def test_profile_has_seconds_and_end_of_the_block() -> None:
    start = time.time()
    with measured() as measure:
        time.sleep(0.05)
    assert 0.05 <= measure["seconds"] < 5
    assert start <= measure["ended"] <= time.time()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_peak_memory_is_that_of_the_block() -> None:
    resident = psutil.Process().memory_info().rss / MIB
    # Memory of the system, not what this process has freed before.
    with measured() as large, mmap.mmap(-1, 64 * MIB) as memory:
        for _ in range(64):
            memory.write(bytes(MIB))
    with measured() as small:
        pass
    assert large["peak_memory_mb"] >= resident + 60
    assert small["peak_memory_mb"] <= large["peak_memory_mb"] - 60


@pytest.mark.parametrize(
    ("memory", "peak"),
    [
        (SimpleNamespace(rss=3 * MIB, peak_wset=5 * MIB), 5),  # Windows
        (SimpleNamespace(rss=3 * MIB), 3),  # macOS
    ],
)
def test_peak_memory_without_proc(memory: SimpleNamespace, peak: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: memory))
    with measured() as measure:
        pass
    assert measure["peak_memory_mb"] == peak
