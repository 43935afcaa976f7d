"""Rows of results, for tests of the benchmarks."""

from typing import Any


def stage_row(stage: str, listings: int, seconds: float, **more: Any) -> dict[str, Any]:
    """A row of a stage as the benchmark writes it."""
    cost = {"seconds": seconds, "cpu_seconds": seconds, "peak_memory_mb": 100.0, "threads": 1, "settings": {}}
    return {"stage": stage, "listings": listings} | cost | more
