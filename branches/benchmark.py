"""Measures how fast a branch embeds and trains, compared with its network alone on prepared inputs.

    python -m branches.benchmark image

The real functions run once while their calls are recorded; then the loops and the bare calls take turns. The machine
should be idle otherwise: a loop has more threads than the bare calls, so with other work on the processor it gets a
larger share, and the ratio is too good.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from branches import registry
from branches.base import Branch
from branches.cli import branch_graph, sections
from shared.catalog.split import UNLABELED, some_products
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import SPLIT, TRAIN, require_labels
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.pools import load_catalog, load_split
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.update import update_stages
from shared.schema import Catalog
from shared.training.config import TrainingConfig
from shared.training.cross_batch_memory import LabeledEmbeddings
from shared.training.encoder import Encoder
from shared.training.losses import make_loss
from shared.training.optimizer import make_optimizer, set_learning_rates
from shared.training.runtime import autocast
from shared.training.trainer import Training

Calls = list[partial[Any]]


@contextmanager
def recorded(owner: object, name: str) -> Iterator[Calls]:
    """Collect the calls of `owner`'s function `name`, each as a function that repeats it.

    Examples:
        >>> import math
        >>> with recorded(math, "sqrt") as calls:
        ...     root = math.sqrt(4)
        >>> calls[0]()
        2.0
    """
    original = getattr(owner, name)
    calls: Calls = []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(partial(original, *args, **kwargs))
        return original(*args, **kwargs)

    setattr(owner, name, call)
    try:
        yield calls
    finally:
        setattr(owner, name, original)


def fastest_s(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the least seconds that each work takes, in rounds in which they take turns.

    Examples:
        >>> list(fastest_s({"sum": lambda: sum(range(9))}, repeats=2))
        ['sum']
    """
    seconds_of: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds_of[name].append(time.perf_counter() - start)
    return {name: min(seconds) for name, seconds in seconds_of.items()}


def measure(
    catalog: Catalog,
    components: NDArray[np.int32],
    branch: Branch,
    config: TrainingConfig,
    compute: ComputeConfig,
    repeats: int,
) -> dict[str, float]:
    """Return the listings per second of a branch's two loops and of the network alone.

        measure(catalog, components, registry.get("image"), config, compute, repeats=3)["embed"]

    Args:
        catalog: Listings to train on and to embed.
        components: Connected component of each, int32 [n].
        branch: A branch that learns.
        config: Its settings; each round trains one epoch.
        compute: Device, threads, seed.
        repeats: Number of rounds; the fastest counts.

    Returns:
        `embed` (reading, preparing, forward pass, results), `forward` (the same batches, ready), `train`, and `step`
        (see `bare_steps`).

    Raises:
        MatcherError: The listings give nothing to embed, or no pair to learn from.
    """
    config = config.model_copy(update={"epochs": 1})
    with tempfile.TemporaryDirectory() as folder:
        with recorded(Training, "run") as trainings, recorded(Training, "_train_step") as steps:
            branch.train(catalog, components, config, compute, Path(folder))
        embedding, count = embedding_loops(catalog, branch, Path(folder), config, compute)
        if not steps or not count:
            raise MatcherError("too few listings with this branch's evidence and a common label; raise --listings")
        training: Training = trainings[0].args[0]
        rates: list[float] = []  # of the steps: what comes after them is left out
        loops = {
            **embedding,
            "train": lambda: rates.append(train_again(training)),
            "step": bare_steps(training, steps),
        }
        seconds = fastest_s(loops, repeats)
    trained = sum(len(call.args[1]) for call in steps)
    bare = {"embed": count / seconds["embed"], "forward": count / seconds["forward"], "step": trained / seconds["step"]}
    return bare | {"train": max(rates)}


def train_again(training: Training) -> float:
    """Repeat a finished training from its first step on, and return the listings per second of its steps.

    train_again(training)
    """
    training.step, training.best = 0, {}
    training.checkpoint.unlink(missing_ok=True)
    return float(training.run()["listings_per_s"])


def bare_steps(training: Training, calls: Calls) -> Callable[[], None]:
    """Return what repeats the steps of a training with nothing around the network.

        fastest_s({"step": bare_steps(training, calls)}, repeats=3)["step"]

    A step is the forward pass of inputs that are ready on the device, the loss of the batch alone, without memory and
    mining, the backward pass and AdamW; the learning rate is 0, so that no weight changes.

    Args:
        training: The training.
        calls: Its calls of `_train_step`, as recorded.
    """
    config = training.config.model_copy(update={"memory_size": 0, "miner_epsilon": None})
    loss = make_loss(config, training.encoder.trained_dim, int(training.labels.max()) + 1, epoch=0).to(training.device)
    optimizer = make_optimizer(training.encoder, loss, config)
    set_learning_rates(optimizer, config, scale=0.0)
    batches = []
    for positions, inputs in (call.args[1:] for call in calls):
        rows = torch.from_numpy(positions).to(training.device)
        batches.append((rows, {name: tensor.to(training.device) for name, tensor in inputs.items()}))

    def steps() -> None:
        training.encoder.train()
        for rows, inputs in batches:
            with autocast(training.device, config.precision):
                embeddings = training.encoder(**inputs).float()
            batch = LabeledEmbeddings(embeddings, training.labels[rows], training.components[rows], rows)
            optimizer.zero_grad()
            loss(batch).value.backward()
            optimizer.step()

    return steps


def embedding_loops(
    catalog: Catalog, branch: Branch, encoder: Path, config: TrainingConfig, compute: ComputeConfig
) -> tuple[dict[str, Callable[[], object]], int]:
    """Return what embeds a catalog again and what repeats its forward passes alone, and the number of contents.

        loops, images = embedding_loops(catalog, registry.get("image"), Path("encoder"), config, compute)
        images / fastest_s(loops, repeats=3)["embed"]

    Args:
        catalog: Listings to embed.
        branch: A branch that learns.
        encoder: Folder of its encoder.
        config: Its settings.
        compute: Device and threads.

    Returns:
        The works `embed` (reading, preparing, forward pass, results) and `forward` (the same batches, ready on the
        device), and the number of distinct images or titles; none where no listing has any.
    """
    branch.fit(catalog, encoder, config, compute)  # imports its module
    module = sys.modules[registry.module_of(branch.name, "embed")]
    called = "whitened" if config.whitening else "__call__"
    with recorded(module, "encode") as encodings, recorded(Encoder, called) as passes:
        branch.fit(catalog, encoder, config, compute).transform(catalog)
    device = compute.torch_device()

    @torch.inference_mode()
    def forward() -> None:
        for call in passes:
            with autocast(device, config.precision):
                call().float().cpu()

    return {"embed": encodings[0], "forward": forward}, int(encodings[0].args[3])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `python -m branches.benchmark NAME`."""
    name, *rest = (sys.argv[1:] if argv is None else list(argv)) or [""]
    learning = [branch for branch in registry.names() if registry.get(branch).learns]
    if name not in learning:
        print(f"usage: python -m branches.benchmark {{{','.join(learning)}}} [--help]", file=sys.stderr)
        return 0 if name in ("-h", "--help") else 2

    def options(parser: Parser) -> None:
        parser.add_argument(
            "--listings", type=int, default=320, help="number of listings of the catalog (default: 320)"
        )
        parser.add_argument("--repeats", type=int, default=3, help="number of rounds; the fastest counts (default: 3)")

    return Command(
        f"python -m branches.benchmark {name}",
        f"Time the {name} branch's embedding and training, and its network alone; writes no stage of the branch.",
        sections(),
        [name, "data", "compute"],
        lambda run, settings, arguments: benchmark(run, settings, registry.get(name), arguments),
        carry=True,
        options=options,
        force=False,
    ).run(rest)


def benchmark(run: RunFolder, settings: Settings, branch: Branch, arguments: Arguments) -> None:
    """Time a branch on some listings of a run's catalog, and print its speed.

    Examples:
        benchmark(run, settings, registry.get("image"), Arguments(listings=320, repeats=3))
    """
    if min(arguments.listings, arguments.repeats) < 1:
        raise MatcherError("--listings and --repeats must be at least 1")
    graph = branch_graph(run, settings, [branch.name])
    require_labels(run, graph)
    update_stages(run, settings, graph, [SPLIT], measures=True)
    compute, split = settings[ComputeConfig], load_split(run.open(SPLIT))
    components, labeled = split.component, np.flatnonzero(split.fold != UNLABELED)
    config = settings[branch.Config]
    assert isinstance(config, TrainingConfig)
    rows = labeled[some_products(components[labeled], arguments.listings, compute.seed)]
    catalog = load_catalog(run.open(TRAIN)).take(rows)
    rates = measure(catalog, components[rows], branch, config, compute, arguments.repeats)
    run.say(f"\n{branch.name}, {len(rows)} listings, {compute.torch_device()}, {compute.cpu_threads} CPU threads:")
    for loop, bare in (("embed", "forward"), ("train", "step")):
        share = rates[loop] / rates[bare]
        run.say(f"  {loop} {rates[loop]:.1f} listings/s, bare {bare} {rates[bare]:.1f}, ratio {share:.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
