"""The commands of every branch: `python -m branches.<name>.train` and `python -m branches.<name>.embed`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from branches import registry
from branches.memory import branch_need
from branches.stage_names import encoder_stage_name
from branches.stages import branch_stages, embed_catalog, extra_stages, pretrained_stage, unlabeled_stages
from shared import processes
from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import Sources, new_source
from shared.catalog.split import SplitConfig
from shared.catalog.unusable_images import unusable_images
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.demo.config import DemoConfig
from shared.errors import MatcherError
from shared.folders import updated_folder
from shared.pipeline.catalog_stages import are_labeled, catalog_stages, require_labels, sources_of
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.engine import do_work
from shared.pipeline.pools import ALL
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph
from shared.pipeline.update import update_stages


def sections() -> dict[str, type[ConfigSection]]:
    """Return the sections of the settings that the commands of a branch have: all but those of the ensemble.

    Examples:
        >>> list(sections())[:3]
        ['data', 'demo', 'split']
    """
    first: dict[str, type[ConfigSection]] = {"data": DataConfig, "demo": DemoConfig, "split": SplitConfig}
    return {**first, **registry.sections(), "compute": ComputeConfig}


def branch_graph(run: RunFolder, settings: Settings, names: Iterable[str]) -> Graph:
    """Return the stages of a run from the user's data to the candidates of some branches.

    Examples:
        branch_graph(run, settings, ["tfidf", "phash"]).below(["tfidf/candidates"])
    """
    sources, branches = sources_of(run, settings), list(names)
    if not are_labeled(settings, sources):
        return _unlabeled_graph(run, settings, sources, branches)
    earlier_stages = [*catalog_stages(run, settings, sources), *extra_stages(branches, settings)]
    with_test = [each.name for each in sources if each.test is not None]
    of_branches = (branch_stages(name, settings, with_test=with_test) for name in branches)
    return Graph([*earlier_stages, *(stage for stages in of_branches for stage in stages)])


def _unlabeled_graph(run: RunFolder, settings: Settings, sources: Sequence[Sources], branches: Sequence[str]) -> Graph:
    """Return the stages of a run without labels from the user's data to the candidates of some branches.

    Raises:
        MatcherError: The run takes its encoders from a bundle, which no branch can read.
    """
    if bundle := settings.values.get("start", {}).get("bundle"):
        raise MatcherError(f"the encoders of {run.folder} are those of {bundle}; python -m ensemble.features embeds")
    stages = catalog_stages(run, settings, sources, labeled=False)
    of_branches = (unlabeled_stages(name, pretrained_stage(name, settings)) for name in branches)
    return Graph([*stages, *(stage for stages in of_branches for stage in stages)])


def main_train(name: str) -> int:
    """Run the command `python -m branches.<name>.train`."""

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        graph = branch_graph(run, settings, [name])
        require_labels(run, graph)
        encoders = graph.below([f"{name}/encoder"])
        update_stages(run, settings, graph, encoders, redo=encoders if arguments.force else (), need_of=branch_need)
        run.say(f"\n{name} is trained; ./run_all.sh --run {run.folder} brings the later stages up to date")

    def follow(run: RunFolder, settings: Settings) -> None:
        for stage in processes.assignments():
            with TemporaryDirectory() as unused:
                do_work(run, settings, branch_graph(run, settings, [name])[stage], Path(unused))

    return Command(
        f"python -m branches.{name}.train",
        f"Train the {name} branch: an encoder for every fold, and one on all folds. Runs under torchrun too.",
        sections(),
        [name, "split", "compute"],
        body,
        carry=True,
        follow=follow,
        stages="shared",
    ).run()


def main_embed(name: str) -> int:
    """Run the command `python -m branches.<name>.embed`."""

    def options(parser: Parser) -> None:
        parser.add_argument("--out", type=Path, help="with --data: folder for embeddings.safetensors and ids.parquet")

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        if (arguments.data is None) != (arguments.out is None):
            raise MatcherError("--data NEW and --out FOLDER go together: the listings to embed, and where to write")
        if arguments.out is not None:
            embed_new(run, settings, name, arguments.out)
            return
        graph = branch_graph(run, settings, [name])
        embeddings = graph.below([f"{name}/embeddings"])
        update_stages(run, settings, graph, embeddings, redo=embeddings if arguments.force else (), need_of=branch_need)

    return Command(
        f"python -m branches.{name}.embed",
        f"Embed every pool of a run with the {name} branch; with --data NEW --out FOLDER, embed new listings.",
        sections(),
        [name, "data", "compute"],
        body,
        carry=True,
        new_data=True,
        holds=lambda arguments: arguments.data is None,
        options=options,
        stages="shared",
    ).run()


def embed_new(run: RunFolder, settings: Settings, name: str, out: Path) -> None:
    """Embed the listings that `--data` names, as a pool of their own, with a run's encoder for new catalogs.

    Raises:
        ArtifactError: The encoder is not trained yet, or damaged.
        MatcherError: The listings cannot be read.
    """
    branch = registry.get(name)
    encoder = run.open(encoder_stage_name(name, ALL)) if branch.learns else None
    data, compute = settings[DataConfig], settings[ComputeConfig]
    catalog = read_catalog(new_source(data), data, compute, labeled=False)
    if line := unusable_images(catalog):
        run.say(line)
    embeddings = embed_catalog(branch, catalog, encoder, settings[branch.Config], compute)
    with updated_folder(out) as folder:
        embeddings.save(folder / "embeddings.safetensors")
        pq.write_table(pa.table({"posting_id": pa.array(catalog.ids, pa.string())}), folder / "ids.parquet")
    run.say(f"{len(embeddings):,} listings embedded, {int(embeddings.present.sum()):,} with evidence; written to {out}")
