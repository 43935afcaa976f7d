"""Brings stages of a run up to date, those of the catalog first, and remembers the settings they were made with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from shared.errors import MatcherError
from shared.folders import lies_within
from shared.memory import Need, shortage
from shared.pipeline.catalog_stages import DEMO, IMAGE_MEMO, TRAIN, read_listings
from shared.pipeline.engine import bring_up_to_date, stage_folders
from shared.pipeline.jobs import follow, let_go
from shared.pipeline.progress import progress_of
from shared.pipeline.run import SETTINGS, RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage

NeedOf = Callable[[str, int, Settings], Need | None]  # name of a stage, listings, settings → memory that it needs


def update_stages(
    run: RunFolder,
    settings: Settings,
    graph: Graph,
    targets: Collection[str],
    *,
    redo: Collection[str] = (),
    need_of: NeedOf = lambda stage, listings, settings: None,
    measures: bool = False,
) -> None:
    """Bring stages up to date; once the catalog is read, the run remembers the settings until a stage refuses them.

    Then it is said which stage will not fit into memory, if there is one, before any other is done.

        update_stages(run, settings, graph, ["split"])

    Args:
        run: The run folder; held by this process.
        settings: Of the run.
        graph: The stages, those of the catalog among them.
        targets: Names of the stages to bring up to date.
        redo: Names of stages that are done even if nothing changed.
        need_of: Returns the memory that a stage needs, from its name, the number of listings and the settings.
        measures: Whether the settings are for a measurement: a run that has settings keeps its own.

    Raises:
        MatcherError: A stage refuses its input, or would replace the catalog; what was finished before is intact.
    """
    follow(run, settings, graph, [TRAIN, *targets])
    _require_apart(run, graph.up_to([TRAIN, *targets]))
    before, has_settings = remembered(run.folder), (run.folder / SETTINGS).exists()
    keeps = measures and has_settings

    def catalog_read(stage: str) -> None:
        if stage == TRAIN:
            if not keeps:
                run.remember(settings.values)
            if line := _shortage(run, settings, graph.up_to(targets), redo, need_of):
                run.say(line)

    try:
        bring_up_to_date(run, settings, graph, [TRAIN, *targets], redo=redo, done=catalog_read)
    except MatcherError:
        if run.manifest(TRAIN) is None:  # refused data leaves no run folder, thus no memo in it
            (run.folder / IMAGE_MEMO).unlink(missing_ok=True)
        elif has_settings and not keeps:
            run.remember(before)
        raise
    let_go(run)


def _require_apart(run: RunFolder, stages: Collection[Stage]) -> None:
    """Raise an error where the folder of a stage would replace what the listings are read from.

    Raises:
        MatcherError: A table or an image folder lies within it.
    """
    read = [stage.parameters for stage in stages if stage.work is read_listings and DEMO not in stage.reads]
    places = [Path(place) for each in read for place in (each["table"], each["images"]) if place is not None]
    inside = [place for place in places if lies_within(place, run.folder)]
    folders = [(stage.name, folder) for stage in stages for folder in stage_folders(run.folder / stage.name)]
    for place in inside:
        for name, folder in folders:
            if lies_within(place, folder):
                raise MatcherError(
                    f"{place} lies in {folder}, where the stage {name} of the run {run.folder} is written, which would "
                    "replace it; name another run folder with --run"
                )


def _shortage(
    run: RunFolder, settings: Settings, stages: Sequence[Stage], redo: Collection[str], need_of: NeedOf
) -> str | None:
    """Return in words that the stage that needs most memory of those that will run does not fit; None if it does."""
    listings = int((run.manifest(TRAIN) or {})["metrics"]["listings"])
    names = progress_of(run, stages, redo).to_run()
    needs = [(need, stage) for stage in names if (need := need_of(stage, listings, settings)) is not None]
    return shortage(*max(needs, key=lambda each: each[0].bytes)) if needs else None
