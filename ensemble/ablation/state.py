"""What an ablation was measured on, so that a report can tell whether its run is still the same.

An ablation trains by the settings and the code of its run, on the same listings. So it is of the present state of the
run if these are the same for all stages from the listings to the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ensemble.evaluation.run_metrics import ancestors
from ensemble.training_stages import DECISION
from shared.artifacts import digest
from shared.pipeline.catalog_stages import DEMO, SPLIT, TRAIN
from shared.pipeline.engine import stage_code_and_settings
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph

State = dict[str, str]  # name of a stage → digest of its code and settings; `TRAIN` → digest of the listings


def state_of_graph(run: RunFolder, settings: Settings, graph: Graph) -> State:
    """Return the state of a run as its settings and code are now.

        state_of_graph(run, settings, run_graph(run, settings))

    Args:
        run: The run; its listings are read.
        settings: Its settings.
        graph: Its stages.
    """
    stages = (stage for stage in graph.up_to([DECISION]) if _counts(stage.name))
    return {TRAIN: run.digest_of(TRAIN)} | {
        stage.name: digest(stage_code_and_settings(settings, stage)) for stage in stages
    }


def state_of_run(run: RunFolder) -> State:
    """Return the state of a run that it was decided in.

        state_of_run(run) == state_of_graph(run, settings, graph)

    Args:
        run: A finished run.

    Raises:
        ArtifactError: Its listings are missing.
    """
    names = filter(_counts, sorted({DECISION, *ancestors(run, DECISION)}))
    keys: Mapping[str, Any] = {name: (run.manifest(name) or {"key": {}})["key"] for name in names}
    parts = {name: {part: key.get(part) for part in ("settings", "code")} for name, key in keys.items()}
    return {TRAIN: run.digest_of(TRAIN)} | {name: digest(part) for name, part in parts.items()}


def _counts(stage: str) -> bool:
    """Return whether a stage is done in an ablation by the run's own settings, after the listings were read."""
    return stage not in (DEMO, SPLIT) and not stage.startswith("catalog/")
