"""Runs on a catalog alone, as several tests of the pipeline need them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.demo.config import DemoConfig
from shared.pipeline.catalog_stages import catalog_stages, sources_of
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph
from shared.pipeline.update import update_stages

SECTIONS: dict[str, type[ConfigSection]] = {
    "data": DataConfig,
    "demo": DemoConfig,
    "split": SplitConfig,
    "compute": ComputeConfig,
}


def settings_of(folder: Path | None, **sections: dict[str, Any]) -> Settings:
    data = {} if folder is None else {"path": str(folder)}
    values: dict[str, dict[str, Any]] = {
        "data": data,
        "split": {"folds": 3},
        "compute": {"threads": 1, "device": "cpu"},
    }
    return Settings({name: values.get(name, {}) | sections.get(name, {}) for name in values | sections}, SECTIONS)


def update(folder: Path, settings: Settings, targets: Sequence[str] | None = None, **options: Any) -> list[str]:
    """Bring the stages of a run up to date as a new process would; returns those that were not skipped."""
    lines: list[str] = []
    run = RunFolder(folder, say=lines.append)
    graph = Graph(catalog_stages(run, settings, sources_of(run, settings)))
    update_stages(run, settings, graph, list(graph) if targets is None else targets, **options)
    return [line.split()[0] for line in lines if not line.endswith("unchanged")]
