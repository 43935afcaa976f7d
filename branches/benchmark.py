"""How fast a trained branch embeds and trains, beside its network alone on inputs that are ready.

The real functions run once with their calls recorded; then the loops and the bare calls take turns. The machine should
be idle otherwise: a loop has more threads than the bare calls, so among other work on the processor it gets a larger
share of it, and the ratio flatters.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.cli import command
from shared.pipeline.pools import load_split, prepare, train_catalog
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings
from shared.schema import Catalog
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder
from shared.training.runtime import autocast
from shared.training.trainer import Training

Calls = list[partial[Any]]


@contextmanager
def recorded(owner: object, name: str) -> Iterator[Calls]:
    """Collect the calls of `owner`'s function `name`, each such that it can be made again."""
    original = getattr(owner, name)
    calls: Calls = []

    def call(*given: Any, **named: Any) -> Any:
        calls.append(partial(original, *given, **named))
        return original(*given, **named)

    setattr(owner, name, call)
    try:
        yield calls
    finally:
        setattr(owner, name, original)


def fastest_s(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds that each work takes at best, all of them taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in taken.items()}


def some_products(components: NDArray[np.int32], listings: int, seed: int) -> NDArray[np.int64]:
    """Rows of about so many listings, whole components in random order but for the last, rising."""
    order = np.random.default_rng(seed).permutation(int(components.max(initial=0)) + 1)
    return np.sort(np.argsort(order[components], kind="stable")[:listings])


def measure(
    catalog: Catalog,
    components: NDArray[np.int32],
    train: ModuleType,
    embed: ModuleType,
    config: TrainingConfig,
    compute: ComputeConfig,
    repeats: int,
) -> dict[str, float]:
    """Listings a second of a branch's two loops and of the network alone.

    Args:
        catalog: Listings to train on and to embed.
        components: Connected component of each, int32 [n].
        train: The branch's module of that name.
        embed: Likewise.
        config: Its settings; each round trains one epoch.
        compute: Device, threads, seed.
        repeats: Rounds; the fastest counts.

    Returns:
        `embed` (reading, preparing, forward pass, results), `forward` (the same batches, ready), `train` and `step`.

    Raises:
        MatcherError: The listings give nothing to embed, or no pair to learn from.
    """
    config = config.model_copy(update={"epochs": 1})
    with tempfile.TemporaryDirectory() as folder:
        with recorded(Training, "run") as trainings, recorded(Training, "_train_step") as steps:
            train.train(catalog, components, config, compute, Path(folder))
        with recorded(embed, "encode") as encodings, recorded(Encoder, "__call__") as passes:
            embed.embed(catalog, Path(folder), config, compute)
        if not steps or not passes:
            raise MatcherError("too few listings with this branch's evidence and a common label; raise --listings")
        training: Training = trainings[0].args[0]
        rates: list[float] = []

        def train_again() -> None:
            training.step = 0
            rates.append(training.run()["listings_per_s"])  # of its steps: what comes after them is left out

        @torch.inference_mode()
        def forward() -> None:
            for call in passes:
                with autocast(training.device, config.precision):
                    call().float().cpu()

        loops: dict[str, Callable[[], object]] = {
            "embed": encodings[0],
            "forward": forward,
            "train": train_again,
            "step": lambda: [call() for call in steps],
        }
        seconds = fastest_s(loops, repeats)
    count, trained = encodings[0].args[3], sum(len(call.args[1]) for call in steps)
    bare = {"embed": count / seconds["embed"], "forward": count / seconds["forward"], "step": trained / seconds["step"]}
    return bare | {"train": max(rates)}


def main_speed(name: str, train: ModuleType, embed: ModuleType) -> int:
    """The command `python -m branches.<name>.speed`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--listings", type=int, default=320, help="of the catalog (default: 320)")
        parser.add_argument("--repeats", type=int, default=3, help="rounds, the fastest counts (default: 3)")

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        if min(arguments.listings, arguments.repeats) < 1:
            raise MatcherError("--listings and --repeats must be at least 1")
        prepare(run, settings)
        compute, components = settings[ComputeConfig], load_split(run).component
        config = settings.branch(name)
        assert isinstance(config, TrainingConfig)
        rows = some_products(components, arguments.listings, compute.seed)
        catalog = train_catalog(run).take(rows)
        rates = measure(catalog, components[rows], train, embed, config, compute, arguments.repeats)
        run.say(f"\n{name}, {len(rows)} listings, {compute.torch_device()}, {compute.cpu_threads} CPU threads:")
        for loop, bare in (("embed", "forward"), ("train", "step")):
            share = rates[loop] / rates[bare]
            run.say(f"  {loop} {rates[loop]:.1f} listings/s, bare {bare} {rates[bare]:.1f}, ratio {share:.2f}")

    about = f"Time the {name} branch's embedding and training beside its network alone; writes no stage of the branch."
    return command(body, about, [name, "data", "compute"], usage=f"python -m branches.{name}.speed", options=options)
