"""One process of several, for `test_distributed.py`: runs a scenario below and writes what came of it.

`python one_of_several.py SCENARIO FOLDER`, with torchrun's variables where there are several processes. Each writes
`FOLDER/rank<r>.safetensors`.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from shared import processes
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.training import distributed
from shared.training.config import TrainingConfig
from shared.training.cross_batch_memory import CrossBatchMemory, LabeledEmbeddings
from shared.training.distributed import GlobalBatchNorm1d
from shared.training.encoder import Encoder
from shared.training.losses import CrossBatchLoss
from shared.training.trainer import Training, TrainingSet

Results = dict[str, Tensor]
COMPUTE = ComputeConfig(device="cpu", threads=1, seed=5)
# Every pair counts, so that rounding cannot decide which do; memory smaller than an epoch, so that it goes round.
CONFIG = TrainingConfig(
    epochs=3,
    batch_size=10,
    memory_size=30,
    memory_warmup=0.1,
    learning_rate=1e-3,
    head_learning_rate=1e-3,
    miner_epsilon=None,
    precision="float32",
)


class Toy(Encoder):
    dim = 4

    def __init__(self, dropout: float) -> None:
        super().__init__(self.dim)
        self.backbone = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout))
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(16, 4, bias=False)  # the norm takes a bias out, so its gradient would be rounding
        self.norm = GlobalBatchNorm1d(4)

    def forward(self, values: Tensor) -> Tensor:
        return functional.normalize(self.norm(self.head(self.backbone(values))))


def toy(dropout: float = 0.0) -> Toy:
    torch.manual_seed(0)
    return Toy(dropout)


def toy_data(groups: int = 22) -> TrainingSet:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(groups), 2)
    values = rng.normal(size=(groups, 6))[labels] + 0.5 * rng.normal(size=(2 * groups, 6))

    def load(positions: np.ndarray, epoch: int) -> Mapping[str, Tensor]:
        return {"values": torch.tensor(values[positions] + 0.01 * epoch, dtype=torch.float32)}

    return TrainingSet(labels, labels.copy(), load, lambda positions: load(positions, 1000))


def training(
    folder: Path, data: TrainingSet | None = None, dropout: float = 0.0, config: TrainingConfig = CONFIG
) -> Results:
    """Train the toy; its weights, the memory, and the loss of every step."""
    made = Training("toy", toy(dropout), data or toy_data(), config, COMPUTE, folder, checkpoint_s=0)
    made.workers = 1
    losses: list[float] = []
    add = made.sums.__class__.add
    made.sums.__class__.add = lambda self, loss: losses.append(loss.value.item()) or add(self, loss)  # type: ignore
    steps = made.run()["steps"]
    state = {f"encoder.{name}": value for name, value in made.encoder.state_dict().items()}
    state |= {f"memory.{name}": value for name, value in made.loss.state_dict().items()}
    return state | {"losses": torch.tensor(losses, dtype=torch.float64), "steps": torch.tensor(steps)}


def same_as_one(folder: Path) -> Results:
    return training(folder)


def with_dropout(folder: Path) -> Results:
    return training(folder, dropout=0.3)


def with_validation(folder: Path) -> Results:
    return training(folder, config=CONFIG.model_copy(update={"validation": 0.3, "xbn": True}))


def with_arcface(folder: Path) -> Results:
    return training(folder, config=CONFIG.model_copy(update={"loss": "arcface"}))


def with_softmax(folder: Path) -> Results:
    return training(folder, config=CONFIG.model_copy(update={"loss": "softmax", "memory_size": 1.0}))


def fewer_listings_than_processes(folder: Path) -> Results:
    """Batches of two and of four listings: in a world of three, one process has none of the two."""
    return training(folder, toy_data(groups=3), config=CONFIG.model_copy(update={"batch_size": 4}))


def killed_and_run_again(folder: Path) -> Results:
    """Every process dies when its seventh batch is loaded, and all start again."""

    class Killed(Exception):
        pass

    calls, data = iter(range(100)), toy_data()

    def load(positions: np.ndarray, epoch: int) -> Mapping[str, Tensor]:
        if next(calls) == 6:
            raise Killed
        return data.load(positions, epoch)

    try:
        training(folder, replace(data, load=load), dropout=0.3)
    except Killed:
        held = folder / "checkpoint" / "state.safetensors"
        assert held.exists() == (processes.rank() == 0), "the first process alone writes a checkpoint"
        return training(folder, dropout=0.3) | {"resumed": torch.tensor(True)}
    raise AssertionError("was not killed")


def gradients(folder: Path) -> Results:
    """Gradients of one step in float64, of a batch that does not divide evenly and of one of two listings."""
    return {f"{count}.{name}": value for count in (11, 2) for name, value in gradients_of(count).items()}


def gradients_of(count: int) -> Results:
    rng = np.random.default_rng(1)
    encoder = toy().double()
    encoder.train()
    values, labels = torch.tensor(rng.normal(size=(count, 6))), torch.arange(count) // 2
    memory = CrossBatchMemory(16, 4).double()
    memory.add(
        LabeledEmbeddings(functional.normalize(torch.tensor(rng.normal(size=(8, 4)))), *[torch.arange(20, 28)] * 3)
    )
    with distributed.batch_statistics(count):
        embeddings = distributed.gather(encoder(values[distributed.local_positions(np.arange(count))]), count)
    loss = CrossBatchLoss(memory, TrainingConfig(negative_margin=0.3, miner_epsilon=None))(
        LabeledEmbeddings(embeddings, labels, labels, torch.arange(count))
    )
    loss.value.backward()
    distributed.sum_gradients(encoder.parameters())
    found = {f"{name}.grad": p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    state = encoder.state_dict() | memory.state_dict()
    return found | state | {"loss": loss.value.detach(), "embeddings": embeddings.detach()}


def norm_against_torch(folder: Path) -> Results:
    """Rows of mean 1,000 and spread 1, which a sum of squares in float32 would blur; several steps of statistics."""
    rows = torch.tensor(np.random.default_rng(2).normal(1000, 1, size=(4, 13, 4)), dtype=torch.float32)
    norm = GlobalBatchNorm1d(4).train()
    start, end = distributed.slice_bounds(13)
    made = torch.stack([distributed.gather(norm(batch[start:end]), 13) for batch in rows])
    return {"out": made.detach(), "rows": rows} | norm.state_dict()


def the_loss_is_no_number(folder: Path) -> Results:
    data = toy_data()
    return training(folder, replace(data, load=lambda at, _: {"values": torch.full((len(at), 6), torch.nan)}))


def other_data_in_one_process(folder: Path) -> Results:
    return training(folder, toy_data(groups=22 if processes.rank() == 0 else 21))


def the_last_fails(folder: Path) -> Results:
    if processes.rank() == processes.size() - 1:
        raise MatcherError("the last process has no images")
    return training(folder)


def the_last_is_killed(folder: Path) -> Results:
    data = toy_data()

    def load(positions: np.ndarray, epoch: int) -> Mapping[str, Tensor]:
        if epoch == 1 and processes.rank() == processes.size() - 1:
            os._exit(9)  # without any clean-up, as when the system kills it
        return data.load(positions, epoch)

    return training(folder, replace(data, load=load))


def messages(folder: Path) -> Results:
    """What followers are called to and told, and what they print; which units drop out."""
    print(f"printed by {processes.rank()}")
    print(f"complained by {processes.rank()}", file=sys.stderr)
    heard = tasks = ["fold0", "ä" * 1000, ""]
    if processes.rank() == 0:
        for task in tasks:
            processes.assign(task)
        processes.release()
    else:
        heard = list(processes.assignments())
    told = processes.broadcast({"a": [1.1, None]} if processes.rank() == 0 else None)
    assert told == {"a": [1.1, None]}
    return {"heard": torch.tensor([len(task) for task in heard]), "masks": first_mask(folder)}


def first_mask(folder: Path) -> Tensor:
    """The units that are kept of a listing at the first step."""
    masks: list[Tensor] = []
    encoder = toy(0.5)
    encoder.backbone[2].register_forward_hook(lambda module, given, out: masks.append(out[0] != 0))
    config = CONFIG.model_copy(update={"epochs": 1})
    Training("toy", encoder, toy_data(), config, COMPUTE, folder).run()
    return masks[0]


SCENARIOS: dict[str, Callable[[Path], Results]] = {
    f.__name__: f
    for f in (
        same_as_one,
        with_dropout,
        with_validation,
        with_arcface,
        with_softmax,
        fewer_listings_than_processes,
        killed_and_run_again,
        gradients,
        norm_against_torch,
        the_loss_is_no_number,
        other_data_in_one_process,
        the_last_fails,
        the_last_is_killed,
        messages,
    )
}


def main() -> int:
    torch.set_num_threads(1)
    folder = Path(sys.argv[-1])
    try:
        with processes.connect():
            for name in sys.argv[1:-1]:
                own = folder / f"{name}.rank{processes.rank()}"
                own.mkdir()
                results = SCENARIOS[name](own)
                save_file({key: value.clone() for key, value in results.items()}, f"{own}.safetensors")
    except MatcherError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
