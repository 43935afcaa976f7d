"""What the commands of the ensemble share: each brings a part of a run up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ensemble.memory import need_of
from ensemble.result_stages import MATCHES
from ensemble.sections import sections
from ensemble.stages import run_graph
from ensemble.unlabeled_stages import LEARNED, START, start_settings
from shared.pipeline.catalog_stages import require_labels
from shared.pipeline.cli import Arguments, Command
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph
from shared.pipeline.update import update_stages


def update_run(
    run: RunFolder,
    settings: Settings,
    folders: Sequence[str],
    *,
    also: Sequence[str] = (),
    force: bool = False,
    labels: bool = False,
) -> Graph:
    """Bring some stages of a run up to date, and all that they need; return all stages of the run.

    Args:
        run: The run folder; held by this process.
        settings: Its settings; they are remembered once the catalog is known to be sound.
        folders: Names of stages, or of folders of stages, such as `ensemble/features`.
        also: Names of stages that are brought up to date as well.
        force: Whether those of `folders` are done even if nothing changed.
        labels: Whether the stages learn from labels or are measured by them.

    Raises:
        MatcherError: A stage refuses its input, or needs labels that the listings do not have.
    """
    settings = start_settings(settings)
    graph = run_graph(run, settings)
    if labels:
        require_labels(run, graph)
    targets = graph.below(folders)
    update_stages(run, settings, graph, [*also, *targets], redo=targets if force else (), need_of=need_of)
    return graph


def update_matches(run: RunFolder, settings: Settings) -> None:
    """Bring the matches of a finished run up to date with people's answers, and nothing else.

        update_matches(RunFolder(Path("runs/default")), settings)

    Args:
        run: The run folder; held by this process.
        settings: Its settings.

    Raises:
        ArtifactError: A stage before the matches is not finished, or damaged.
        MatcherError: There is no such data, or the answers cannot be read.
    """
    settings = start_settings(settings)
    graph = run_graph(run, settings)
    for name in (LEARNED, MATCHES) if START in graph else (MATCHES,):
        bring_stage_up_to_date(run, settings, graph[name])


def step_command(
    name: str,
    description: str,
    shown: Sequence[str],
    folders: Sequence[str],
    also: Sequence[str] = (),
    after: Callable[[RunFolder], object] = lambda run: None,
    labels: bool = False,
) -> int:
    """Run a command that takes a run up to one step and has no options of its own.

    Args:
        name: Its module, such as `ensemble.train`.
        description: One sentence for `--help`.
        shown: Sections of the settings that `--help` lists.
        folders: Names of the step's stages, or of folders of stages; `--force` does these again.
        also: Names of stages that are brought up to date as well.
        after: What to do once the step is done.
        labels: Whether the step learns from labels or is measured by them.

    Returns:
        The exit code.
    """

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        update_run(run, settings, folders, also=also, force=arguments.force, labels=labels)
        after(run)

    return Command(f"python -m {name}", description, sections(), shown, body, stages="shared").run()
