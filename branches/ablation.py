"""What each part of a branch's recipe is worth: trained again with one thing changed at a time, and judged.

The labeled listings are dealt out to two halves of whole components. An encoder trained on one half embeds the other,
and the other way round; so each half is judged by an encoder that saw none of its products, at the threshold that is
best on the other half. Another seed is another split, and another start of the training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches.stages import embed_with, train_encoder
from shared.catalog.split import components, parts
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.metrics.retrieval import NEIGHBORS, retrieval_of, row_f1_at
from shared.pipeline.cli import command
from shared.pipeline.extra_data import extra_stage, extras_of, join, load_extra
from shared.pipeline.pools import prepare, train_catalog
from shared.pipeline.run import Run, code_digest, digest, write_json
from shared.pipeline.settings import Settings
from shared.search.exact import nearest
from shared.training.trainer import label_numbers

FIGURES = {"recall_at_1": "Recall@1", "map_at_20": "mAP@20", "row_f1": "row F1"}
Variants = Mapping[str, Mapping[str, Any]]  # name of a variant → the settings in which it differs

# What every trained branch can be compared with.
COMMON: Variants = {
    "not trained": {"epochs": 0, "extra": []},
    "the catalog's own labels alone": {"extra": []},
    "embeddings not whitened": {"whitening": False},
    "no memory": {"memory_size": 0},
    "memory of 256": {"memory_size": 256},
    "memory of 4,096": {"memory_size": 4096},
    "memory matched to the batch (XBN)": {"xbn": True},
    "no mining": {"miner_epsilon": None},
    "negative margin 0": {"negative_margin": 0.0},
    "margin ramp": {"margin_ramp": 0.5},
    "multi-similarity loss": {"loss": "multi_similarity"},
    "ArcFace": {"loss": "arcface"},
    "2 epochs": {"epochs": 2},
    "a tenth for validation": {"validation": 0.1},
}


class Ablation:
    """The variants of one branch on the labeled catalog of a run.

    Args:
        run: Every training and every judgment is a stage of it, below `<branch>/ablation`: what is done is kept.
        name: The branch.
        config: Its settings, from which every variant starts.
        compute: Device and threads; its seed is the first of the seeds.
    """

    def __init__(self, run: Run, name: str, config: ConfigSection, compute: ComputeConfig) -> None:
        self.run, self.name, self.config, self.compute = run, name, config, compute
        self.catalog = train_catalog(run)
        self.component = components(self.catalog)
        self.labels = label_numbers(self.catalog.labels)
        self.inputs = {"catalog": run.digest_of("catalog/train")}

    def figures(self, changes: Mapping[str, Any], seed: int) -> list[dict[str, float]]:
        """Judge a variant on both halves of one split.

        Args:
            changes: The settings in which it differs from the branch's.
            seed: Of the split and of the training.

        Returns:
            Two dictionaries with the keys of `FIGURES`.
        """
        config = type(self.config).model_validate(self.config.model_dump() | dict(changes))
        half = parts(self.catalog, seed)
        encoders = [self._encoder(config, half, of, seed) for of in (0, 1)]
        keys = {self.name: config.cache_key("embed"), "seed": seed, "ablation": code_digest("branches.ablation")}

        def judge(out: Path) -> dict[str, Any]:
            found = self._judge(config, encoders, half)
            write_json(out / "figures.json", found)
            return {label: [round(values[key], 3) for values in found] for key, label in FIGURES.items()}

        inputs = {**self.inputs, **{f"encoder {of}": self.run.digest_of(name) for of, name in enumerate(encoders)}}
        name = f"{self.name}/ablation/figures/{digest([keys, inputs])[:12]}"
        folder = self.run.stage(name, f"branches.{self.name}.embed", inputs, keys, judge)
        found: list[dict[str, float]] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
        return found

    def _encoder(self, config: ConfigSection, half: NDArray[np.int8], of: int, seed: int) -> str:
        """The stage with the encoder that was trained on one of the halves."""
        keys = {self.name: config.cache_key("train"), "seed": seed, "half": of}
        name = f"{self.name}/ablation/encoder/{digest(keys)[:12]}"
        compute = self.compute.model_copy(update={"seed": seed})
        extras = extras_of(config)
        for extra in extras:
            extra_stage(self.run, extra, self.compute)

        def work(out: Path) -> dict[str, Any]:
            rows, others = np.flatnonzero(half == of), np.flatnonzero(half != of)
            catalog, component = self.catalog.take(rows), self.component[rows]
            joined: dict[str, int] = {}
            if extras:
                read = [load_extra(self.run, extra) for extra in extras]
                catalog, component, joined = join(catalog, read, [self.catalog.take(others)])
            return {**train_encoder(self.name, catalog, component, config, compute, out), **joined}

        inputs = self.inputs | {extra.stage: self.run.digest_of(extra.stage) for extra in extras}
        self.run.stage(name, f"branches.{self.name}.train", inputs, keys, work)
        return name

    def _judge(self, config: ConfigSection, encoders: Sequence[str], half: NDArray[np.int8]) -> list[dict[str, float]]:
        pools = []
        for of, encoder in enumerate(encoders):
            rows = np.flatnonzero(half != of)
            folder = self.run.open(encoder)
            vectors = embed_with(self.name, self.catalog.take(rows), folder, config, self.compute)
            found = nearest(vectors, NEIGHBORS, self.compute.xp())
            pools.append((found, self.labels[rows], retrieval_of(found, self.labels[rows])))
        thresholds = [figures.threshold for _, _, figures in reversed(pools)]
        return [
            {
                "pool_size": len(codes),
                "recall_at_1": figures.recall_at_1,
                "map_at_20": figures.map_at_20,
                "row_f1": row_f1_at(found, codes, threshold),
            }
            for (found, codes, figures), threshold in zip(pools, thresholds, strict=True)
        ]


def table(measured: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """The figures as a Markdown table.

    Args:
        measured: Of every variant, the figures of each half of each split in the same order. The first variant is the
            one that the others are compared with.

    Returns:
        A line a variant: means over halves and splits, and the mean difference from the first variant with the
        standard deviation of the differences, half by half.
    """
    first = next(iter(measured.values()))
    lines = [
        "| | " + " | ".join(FIGURES.values()) + " | difference in row F1 |",
        "|---|" + "---|" * (len(FIGURES) + 1),
    ]
    for name, figures in measured.items():
        means = [f"{np.mean([f[key] for f in figures]):.3f}" for key in FIGURES]
        gains = [f["row_f1"] - of["row_f1"] for f, of in zip(figures, first, strict=True)]
        shown = "" if figures is first else f"{np.mean(gains):+.3f} ± {np.std(gains, ddof=1):.3f}"
        lines.append(f"| {name} | {' | '.join(means)} | {shown} |")
    return "\n".join(lines)


def main_ablate(name: str, variants: Variants) -> int:
    """The command `python -m branches.<name>.ablate`.

    Args:
        name: The branch.
        variants: What to compare with the settings as they are, by name.
    """

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--splits", type=int, default=1, metavar="N", help="random splits into halves (default: 1)")
        parser.add_argument("--only", action="append", metavar="VARIANT", help="of these alone; may be repeated")

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        config = settings.branch(name)
        chosen = _chosen(variants, arguments.only, config)
        if arguments.splits < 1:
            raise MatcherError(f"--splits {arguments.splits}: at least one split is needed")
        run.force = (f"{name}/ablation",) if arguments.force else ()
        prepare(run, settings)
        ablation = Ablation(run, name, config, settings[ComputeConfig])
        seeds = [settings[ComputeConfig].seed + at for at in range(arguments.splits)]
        measured: dict[str, list[dict[str, float]]] = {}
        for variant, changes in {"the recipe": {}, **chosen}.items():
            run.say(f"\n{variant}" + "".join(f", {key} = {value}" for key, value in changes.items()))
            measured[variant] = [figures for seed in seeds for figures in ablation.figures(changes, seed)]
        sizes = sorted({int(figures["pool_size"]) for figures in measured["the recipe"]})
        pools, splits = " and ".join(f"{size:,}" for size in sizes), f"{len(seeds)} split{'s' * (len(seeds) > 1)}"
        run.say(f"\n{table(measured)}\n\nIn pools of {pools} listings, {splits} into two halves.")
        write_json(run.folder / name / "ablation" / "figures.json", measured)

    about = f"Measure what each part of the {name} branch's training is worth: trained again without it, on two halves."
    usage = f"python -m branches.{name}.ablate"
    return command(body, about, [name, "data", "compute"], usage=usage, options=options)


def _chosen(variants: Variants, only: Iterable[str] | None, config: ConfigSection) -> Variants:
    """The variants that were asked for, without those that change nothing, such as leaving out data that is not there.

    Raises:
        MatcherError: There is none of that name.
    """
    unknown = [name for name in only or () if name not in variants]
    if unknown:
        raise MatcherError(f"there is no variant {unknown[0]!r}; there are: {'; '.join(variants)}")
    return {name: variants[name] for name in only or variants if config.model_copy(update=variants[name]) != config}
