"""Measures what each part of a branch's training is worth: it is trained again with one change at a time.

    python -m branches.ablation image

The labeled listings are split into two halves of whole components. An encoder trained on each half embeds the other;
so each half is measured with an encoder that saw none of its products, at the threshold that is best on the other half.
Another seed is another split and another start of the training. With `--halves 1` there is one encoder for each seed,
in half of the time, and the threshold is the best in hindsight.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from branches import registry
from branches.base import Branch, BranchConfig, Variants
from branches.cli import branch_graph, sections
from branches.stages import embed_catalog, extra_stages
from shared.artifacts import digest, read_json, write_json
from shared.catalog.extra_data import extras_of, join
from shared.catalog.split import UNLABELED, components, parts, some_products
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.retrieval import NEIGHBORS, retrieval_of, row_f1_at
from shared.pipeline.catalog_stages import SPLIT, TRAIN, require_labels
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.pipeline.update import update_stages
from shared.search.exact import nearest
from shared.training.trainer import label_numbers

METRICS = {"recall_at_1": "Recall@1", "map_at_20": "mAP@20", "row_f1": "row F1"}
COSTS = {"pool_size": "pool", "listings_per_s": "listings/s", "seconds": "seconds"}

# What every trained branch can be compared with; a branch adds its own (`BranchConfig.variants`).
COMMON: Variants = {
    "not trained": {"epochs": 0, "extra": []},
    "the catalog's own labels alone": {"extra": []},
    "embeddings not whitened": {"whitening": False},
    "no memory": {"memory_size": 0},
    "memory of 1,024": {"memory_size": 1024},
    "memory of 4,096": {"memory_size": 4096},
    "memory of 16,384": {"memory_size": 16384},
    "memory of an epoch": {"memory_size": 1.0},
    "memory matched to the batch (XBN)": {"xbn": True},
    "no mining": {"miner_epsilon": None},
    "negative margin 0": {"negative_margin": 0.0},
    "margin ramp": {"margin_ramp": 0.5},
    "batches of 128": {"batch_size": 128},
    "4 listings per group": {"listings_per_group": 4},
    "softmax": {"loss": "softmax"},
    "softmax, no memory": {"loss": "softmax", "memory_size": 0},
    "ArcFace": {"loss": "arcface"},
    "ArcFace, 12 epochs": {"loss": "arcface", "epochs": 12},
    "2 epochs": {"epochs": 2},
    "a tenth for validation": {"validation": 0.1},
}
AS_SET = "the settings as they are"
JUDGING = ("shared.metrics.retrieval", "shared.catalog.split", "shared.training.trainer")  # modules


class Ablation:
    """The variants of one branch on the labeled catalog of a run.

        Ablation(run, settings, registry.get("image")).metrics({"whitening": False}, seed=0)

    Args:
        run: The run; every training and every measurement is a stage of it, below `<branch>/ablation`.
        settings: Settings of the run; every variant starts from them, and their seed is the first of the seeds.
        branch: The branch.
        listings: Most listings of a half that an encoder is trained on, whole products but for the last; None: all.
        halves: 2, or 1: the first half is trained on alone, and the other judged at its own best threshold.
        redo: Whether to run finished stages again.
    """

    def __init__(
        self,
        run: RunFolder,
        settings: Settings,
        branch: Branch,
        listings: int | None = None,
        halves: int = 2,
        *,
        redo: bool = False,
    ) -> None:
        self.run, self.settings, self.branch, self.redo = run, settings, branch, redo
        self.listings, self.halves = listings, halves
        self._redone: set[str] = set()
        self.extras = tuple(stage.name for stage in extra_stages([branch.name], settings))

    def metrics(self, changes: Mapping[str, Any], seed: int) -> list[dict[str, float]]:
        """Return the metrics of a variant on the judged halves of one split.

        Args:
            changes: The settings in which it differs from the branch's.
            seed: Of the split and of the training.

        Returns:
            A dictionary for each encoder, with the keys of `METRICS` and `COSTS`: `seconds` of its training and the
            `listings_per_s` of its steps (0 without any) stand beside the metrics of the half that it embedded.
        """
        settings = self.settings.changed({self.branch.name: dict(changes), "compute": {"seed": seed}})
        extras = tuple(extra.stage for extra in extras_of(settings[self.branch.Config]))
        encoders = [self._encoder(settings, extras, half) for half in range(self.halves)]
        stage = Stage(
            f"{self.branch.name}/ablation/metrics/{self._short(settings, 'embed')}-{self.halves}",
            judge_halves,
            code=(*JUDGING, registry.module_of(self.branch.name, "embed")),
            reads=(TRAIN, *encoders),
            settings=(self.branch.Config, ComputeConfig),
            step="embed",
            parameters={"branch": self.branch.name, "encoders": encoders},
        )
        folder = bring_stage_up_to_date(self.run, settings, stage, redo=self.redo)
        halves: list[dict[str, float]] = read_json(folder / "metrics.json")["halves"]
        return [half | self._cost(encoder) for half, encoder in zip(halves, encoders, strict=True)]

    def _cost(self, encoder: str) -> dict[str, float]:
        """Return what the training of an encoder took."""
        manifest = self.run.manifest(encoder)
        assert manifest is not None
        return {"seconds": manifest["seconds"], "listings_per_s": manifest["metrics"].get("listings_per_s", 0)}

    def _encoder(self, settings: Settings, extras: Sequence[str], half: int) -> str:
        """Return the name of the stage with the encoder trained on one half, after bringing it up to date."""
        for stage in extra_stages([self.branch.name], settings):
            bring_stage_up_to_date(self.run, settings, stage)
        stage = Stage(
            f"{self.branch.name}/ablation/encoder/{self._short(settings, 'train')}-{half}",
            train_on_half,
            code=(registry.module_of(self.branch.name, "train"), "shared.catalog.extra_data"),
            reads=(TRAIN, *extras),
            settings=(self.branch.Config, ComputeConfig),
            step="train",
            parameters={
                "branch": self.branch.name,
                "half": half,
                "extras": list(extras),
                "listings": self.listings,
            },
        )
        bring_stage_up_to_date(self.run, settings, stage, redo=self.redo and stage.name not in self._redone)
        self._redone.add(stage.name)  # several variants may share an encoder
        return stage.name

    def _short(self, settings: Settings, step: Any) -> str:
        """Return a short digest of the settings that a step and the steps before it read."""
        config, seed = settings[self.branch.Config], settings[ComputeConfig].seed
        return digest([config.cache_key(step), seed, self.listings])[:12]


def train_on_half(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    branch: str,
    half: int,
    extras: Sequence[str],
    listings: int | None,
) -> Mapping[str, Any]:
    """Train an encoder on one half of the labeled listings, or on some products of it."""
    member, compute = registry.get(branch), config[ComputeConfig]
    catalog = load_catalog(inputs["catalog/train"])
    half_of = parts(catalog, compute.seed)
    rows, others = np.flatnonzero(half_of == half), np.flatnonzero(half_of != half)
    component = components(catalog)
    if listings is not None:
        rows = rows[some_products(component[rows], listings, compute.seed)]
    training, component = catalog.take(rows), component[rows]
    join_metrics: Mapping[str, Any] = {}
    if extras:
        further = [load_catalog(inputs[name]) for name in extras]
        training, component, join_metrics = join(training, further, [catalog.take(others)])
    return {**member.train(training, component, config[member.Config], compute, out), **join_metrics}


def judge_halves(
    inputs: Inputs, config: StageConfig, out: Path, branch: str, encoders: Sequence[str]
) -> Mapping[str, Any]:
    """Measure encoders, each on the half that it was not trained on, at the best threshold of the other half.

    One encoder by itself is measured at the best threshold of the half that it is measured on.
    """
    member, compute = registry.get(branch), config[ComputeConfig]
    catalog = load_catalog(inputs["catalog/train"])
    half_of, labels = parts(catalog, compute.seed), label_numbers(catalog.labels)
    pools = []
    for half, encoder in enumerate(encoders):
        rows = np.flatnonzero((half_of != half) & (half_of != UNLABELED))
        vectors = embed_catalog(member, catalog.take(rows), inputs[encoder], config[member.Config], compute)
        neighbors = nearest(vectors, NEIGHBORS, compute.xp())
        pools.append((neighbors, labels[rows], retrieval_of(neighbors, labels[rows])))
    thresholds = [metrics.threshold for _, _, metrics in reversed(pools)]
    halves = [
        {
            "pool_size": len(codes),
            "recall_at_1": metrics.recall_at_1,
            "map_at_20": metrics.map_at_20,
            "row_f1": row_f1_at(neighbors, codes, threshold),
        }
        for (neighbors, codes, metrics), threshold in zip(pools, thresholds, strict=True)
    ]
    write_json(out / "metrics.json", {"halves": halves})
    return {label.replace(" ", "_"): [round(half[key], 3) for half in halves] for key, label in METRICS.items()}


def table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return metrics and costs as a Markdown table.

    Args:
        measured: Of every variant, what `Ablation.metrics` returned for each split, in the same order. The first
            variant is the one that the others are compared with.

    Returns:
        A line per variant: means over halves and splits, and the mean difference from the first variant with the
        standard deviation of the differences, half by half.

    Examples:
        >>> half = dict.fromkeys(METRICS, 0.5) | {"pool_size": 1500, "listings_per_s": 51.2, "seconds": 90}
        >>> print(table({"as set": [half, half]}).splitlines()[2])
        | as set | 0.500 | 0.500 | 0.500 |  | 1,500 | 51 | 90 |
    """
    first = next(iter(measured.values()))
    columns = ["", *METRICS.values(), "difference in row F1", *COSTS.values()]
    lines = [f"| {' | '.join(columns)} |".replace("|  |", "| |", 1), "|" + "---|" * len(columns)]
    for name, metrics in measured.items():
        means = [f"{np.mean([half[key] for half in metrics]):.3f}" for key in METRICS]
        costs = [f"{np.mean([half[key] for half in metrics]):,.0f}" for key in COSTS]
        gains = [half["row_f1"] - of["row_f1"] for half, of in zip(metrics, first, strict=True)]
        spread = f" ± {np.std(gains, ddof=1):.3f}" if len(gains) > 1 else ""
        difference = "" if metrics is first else f"{np.mean(gains):+.3f}{spread}"
        lines.append(f"| {' | '.join([name, *means, difference, *costs])} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `python -m branches.ablation NAME`."""
    name, *rest = (sys.argv[1:] if argv is None else list(argv)) or [""]
    learning = [branch for branch in registry.names() if registry.get(branch).learns]
    if name not in learning:
        print(f"usage: python -m branches.ablation {{{','.join(learning)}}} [--help]", file=sys.stderr)
        return 0 if name in ("-h", "--help") else 2

    def options(parser: Parser) -> None:
        parser.add_argument("--splits", type=int, default=1, metavar="N", help="random splits into halves (default: 1)")
        parser.add_argument(
            "--listings",
            type=int,
            metavar="N",
            help="train on up to N listings of each half, whole products but for the last (default: all)",
        )
        parser.add_argument(
            "--halves",
            type=int,
            choices=(1, 2),
            default=2,
            help="encoders of a split: 1 takes half of the time, and is judged at its best threshold (default: 2)",
        )
        parser.add_argument(
            "--only", action="append", metavar="VARIANT", help="variant to train (default: all); may be repeated"
        )

    return Command(
        f"python -m branches.ablation {name}",
        f"Measure what each part of the {name} branch's training is worth, by training without it on two halves.",
        sections(),
        [name, "data", "compute"],
        lambda run, settings, arguments: ablate(run, settings, registry.get(name), arguments),
        carry=True,
        options=options,
        stages="alone",
    ).run(rest)


def ablate(run: RunFolder, settings: Settings, branch: Branch, arguments: Arguments) -> None:
    """Measure the variants of a branch that the arguments name, and print a table of them.

    Examples:
        arguments = Arguments(only=["no memory"], splits=1, listings=None, halves=2, force=False)
        ablate(run, settings, registry.get("image"), arguments)
    """
    config, seed = settings[branch.Config], settings[ComputeConfig].seed
    variants = _chosen({**COMMON, **branch.Config.variants}, arguments.only, config)
    if arguments.splits < 1:
        raise MatcherError(f"--splits {arguments.splits}: at least one split is needed")
    if arguments.listings is not None and arguments.listings < 4:
        raise MatcherError(f"--listings {arguments.listings}: at least 4 are needed to learn from")
    graph = branch_graph(run, settings, [branch.name])
    require_labels(run, graph)
    update_stages(run, settings, graph, [SPLIT], measures=True)
    ablation = Ablation(run, settings, branch, arguments.listings, arguments.halves, redo=arguments.force)
    seeds = [seed + number for number in range(arguments.splits)]
    measured: dict[str, list[dict[str, float]]] = {}
    for variant, changes in {AS_SET: {}, **variants}.items():
        run.say(f"\n{variant}" + "".join(f", {key} = {value}" for key, value in changes.items()))
        measured[variant] = [metrics for seed in seeds for metrics in ablation.metrics(changes, seed)]
    sizes = sorted({int(metrics["pool_size"]) for metrics in measured[AS_SET]})
    pools, splits = " and ".join(f"{size:,}" for size in sizes), f"{len(seeds)} split{'s' * (len(seeds) > 1)}"
    some = "" if arguments.listings is None else f"up to {arguments.listings:,} listings of "
    judged = ". One half of each is judged, at its best threshold" if arguments.halves == 1 else ""
    line = f"Trained on {some}the other half, in pools of {pools} listings, {splits} into two halves{judged}."
    run.say(f"\n{table(measured)}\n\n{line}")
    write_json(run.folder / branch.name / "ablation" / "metrics.json", measured)


def _chosen(variants: Variants, only: Iterable[str] | None, config: BranchConfig) -> Variants:
    """Return the named variants without those that change nothing, such as "no extra data" if there is none.

    Raises:
        MatcherError: There is no variant of a name.
    """
    unknown = [name for name in only or () if name not in variants]
    if unknown:
        raise MatcherError(f"there is no variant {unknown[0]!r}; there are: {'; '.join(variants)}")
    return {name: variants[name] for name in only or variants if config.model_copy(update=variants[name]) != config}


if __name__ == "__main__":
    raise SystemExit(main())
