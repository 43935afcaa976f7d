"""One training loop for every encoder: contrastive loss over P x K batches and a cross-batch memory.

Everything a step does follows from the seed and the step's number: which listings are drawn, how they are altered,
which units drop out, the learning rate. So a checkpoint is the weights, the optimizer's moments, the memory and a
number, and a killed training that is run again ends in the same weights as one that was left alone.

Several processes (`torchrun`) share the work of each step and hold the same state, the memory too; see
`shared.training.distributed`.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from shared import processes
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.training import distributed
from shared.training.checkpoint import load_tensors, save_tensors
from shared.training.config import TrainingConfig
from shared.training.cross_batch_memory import Listed
from shared.training.encoder import Encoder, Inputs
from shared.training.logger import TrainingLog
from shared.training.losses import Loss, make_loss, strictness
from shared.training.optimizer import learning_rate_scale, make_optimizer, moments, set_learning_rates
from shared.training.prefetch import prefetched
from shared.training.runtime import autocast, prepare
from shared.training.sampler import group_batches
from shared.training.validation import embedded, held_out, judge

CHECKPOINT_S = 120.0  # between two checkpoints of a training
# Of 0.1, 0.3, 1 and 3 this was best on held-out titles and within noise of the best on held-out pictures.
WHITENING_SHRINKAGE = 0.3


@dataclass(frozen=True)
class TrainingSet:
    """The listings an encoder learns from, by their position here.

    Args:
        labels: Label group of each, int64 [n].
        components: Connected component of each, int64 [n].
        load: The encoder's inputs for the listings at some positions, in an epoch (for augmentation). Called in
            several threads, so what it returns must depend on its arguments alone.
        view: The same listings' inputs unaltered, as they are embedded; validation looks at these.
    """

    labels: NDArray[np.int64]
    components: NDArray[np.int64]
    load: Callable[[NDArray[np.int64], int], Inputs]
    view: Callable[[NDArray[np.int64]], Inputs]


class _Batch(NamedTuple):
    epoch: int
    positions: NDArray[np.int64]


@dataclass
class _Tally:
    """Sums over the steps of an epoch."""

    steps: int = 0
    loss: float = 0.0
    positives: int = 0
    negatives: int = 0

    def add(self, loss: Loss) -> None:
        self.steps += 1
        self.loss += loss.value.item()
        self.positives += loss.positives
        self.negatives += loss.negatives

    def means(self) -> dict[str, float]:
        count = max(1, self.steps)
        pairs = {"positives": round(self.positives / count, 1), "negatives": round(self.negatives / count, 1)}
        return {"loss": round(self.loss / count, 4), **pairs}


def label_numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Label groups as integers in the order of their names, int64 [n]."""
    return np.unique(labels.astype(str), return_inverse=True)[1].astype(np.int64)


class Training:
    """The state of one training, and what a step does to it.

    Args:
        name: For messages and the progress bar.
        encoder: The module to train; moved to the device that `compute` names.
        data: What to learn from. Without a positive pair there is nothing to do, and nothing is done.
        recipe: Settings.
        compute: Device, threads, seed.
        folder: The checkpoint lies below it while the training runs.
        checkpoint_s: Seconds between two checkpoints.
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        data: TrainingSet,
        recipe: TrainingConfig,
        compute: ComputeConfig,
        folder: Path,
        checkpoint_s: float = CHECKPOINT_S,
    ) -> None:
        self.name, self.data, self.recipe, self.compute, self.folder = name, data, recipe, compute, folder
        self.device = prepare(compute)
        self.workers, self.checkpoint_s = compute.cpu_threads, checkpoint_s
        self.encoder = encoder.to(self.device)
        self.judged = held_out(data.labels, data.components, recipe.validation, compute.seed)
        self.learned = np.delete(np.arange(len(data.labels)), self.judged)
        torch.manual_seed(compute.seed)  # where the loss has weights of its own, they start at random
        self.loss = make_loss(recipe, encoder.dim, int(data.labels.max(initial=-1)) + 1).to(self.device)
        self.optimizer = make_optimizer(encoder, self.loss, recipe)
        self.labels, self.components = (torch.from_numpy(v).to(self.device) for v in (data.labels, data.components))
        self.steps_per_epoch = len(self._epoch(0))
        self.steps = self.steps_per_epoch * recipe.epochs
        self.step = 0
        self.tally = _Tally()
        self.best: dict[str, Any] = {}  # the best epoch so far, and its figures
        self.checkpoint = folder / "checkpoint" / "state.safetensors"
        self.best_weights = folder / "checkpoint" / "best.safetensors"

    def run(self) -> dict[str, Any]:
        """Train to the end, from the checkpoint where there is one, and remove it.

        Returns:
            Figures: loss and mined pairs of the last epoch (means of its steps), memory fill, steps, listings a
            second; with validation, the best epoch, whose weights the encoder then has, and its figures.

        Raises:
            MatcherError: The loss is not a number.
        """
        self._begin()
        self.encoder.train()
        figures: dict[str, Any] = {}
        listings, busy, saved = 0, 0.0, time.monotonic()
        bar = tqdm(total=self.steps, initial=self.step, desc=f"{self.name}: train", unit="step", disable=None)
        jobs = prefetched(self._load, self._batches(), self.workers)
        began = time.monotonic()
        with TrainingLog(self.folder / "log", self.step) as log:
            for batch, inputs in jobs:
                loss = self._train_step(batch.positions, inputs)
                listings, busy = listings + len(batch.positions), busy + time.monotonic() - began
                figures = {**self.tally.means(), "memory": self._memory_fill(), "listings_per_s": listings / busy}
                log.write(self.step, self._logged(batch.epoch, loss, figures))
                bar.set_postfix_str(_shown(figures), refresh=False)
                bar.update()
                if self.step % self.steps_per_epoch == 0:
                    self._end_epoch(batch.epoch + 1, figures, log, say=bool(bar.disable))
                if self.step < self.steps and time.monotonic() - saved >= self.checkpoint_s and processes.rank() == 0:
                    self._save()
                    saved = time.monotonic()
                began = time.monotonic()
        bar.close()
        if self.best:
            self._take_best()
        if self.step:
            self._whiten()
        shutil.rmtree(self.checkpoint.parent, ignore_errors=True)
        return {**figures, **self.best, "steps": self.step}

    def _load(self, batch: _Batch) -> Inputs:
        """What this process has to encode of a batch."""
        return self.data.load(distributed.share(batch.positions), batch.epoch)

    def _train_step(self, positions: NDArray[np.int64], inputs: Inputs) -> Loss:
        # A resumed run drops the same units, and each process others.
        torch.manual_seed(self.compute.seed * 1_000_003 + self.step + processes.rank() * 15_485_863)
        scale = learning_rate_scale(self.step, self.steps, self.recipe.warmup)
        set_learning_rates(self.optimizer, self.recipe, scale)
        rows = torch.from_numpy(positions).to(self.device)
        with autocast(self.device, self.recipe.precision), distributed.encoding(len(rows)):
            embeddings = self.encoder(**{name: tensor.to(self.device) for name, tensor in inputs.items()})
        embeddings = distributed.gathered(embeddings.float(), len(rows))
        batch = Listed(embeddings, self.labels[rows], self.components[rows], rows)
        strict = strictness(self.step, self.steps, self.recipe.margin_ramp)
        loss: Loss = self.loss(batch, self.step >= self.recipe.memory_warmup_steps, strict)
        if not torch.isfinite(loss.value):
            raise MatcherError(f"{self.name}: the loss is {loss.value.item()} at step {self.step}; lower learning_rate")
        self.optimizer.zero_grad()
        loss.value.backward()  # type: ignore[no-untyped-call]
        distributed.sum_gradients(self.encoder.parameters())  # the loss's own are the same in all
        nn.utils.clip_grad_norm_(self.encoder.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.tally.add(loss)
        return loss

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        recipe, labels = self.recipe, self.data.labels[self.learned]
        batches = group_batches(labels, recipe.batch_size, recipe.listings_per_group, self.compute.seed, epoch)
        return [self.learned[positions] for positions in batches]

    def _batches(self) -> Iterator[_Batch]:
        """What is left of the training, from the present step on."""
        if self.step == self.steps:
            return
        first, done = divmod(self.step, self.steps_per_epoch)
        for epoch in range(first, self.recipe.epochs):
            for positions in self._epoch(epoch)[done if epoch == first else 0 :]:
                yield _Batch(epoch, positions)

    def _end_epoch(self, epoch: int, figures: Mapping[str, Any], log: TrainingLog, say: bool) -> None:
        """Judge the encoder, keep its weights if it is the best so far, and say how the epoch went."""
        if len(self.judged):
            labels = self.data.labels[self.judged]
            found = judge(
                self.encoder, self.data.view, self.judged, labels, self.recipe, self.compute, f"{self.name}: validate"
            )
            self.encoder.train()
            figures = {**figures, **asdict(found)}
            log.write(self.step, {"epoch": epoch, **asdict(found)}, "validation")
            if found.map_at_20 > self.best.get("map_at_20", -1.0):
                self.best = {"best_epoch": epoch, **asdict(found)}
                self._write(self.best_weights, self._weights(), {})
        if say:
            line = f"epoch {epoch}/{self.recipe.epochs}: {_shown(figures)}"
            print(f"{self.name}: {line}", file=sys.stderr, flush=True)
        self.tally = _Tally()

    def _logged(self, epoch: int, loss: Loss, figures: Mapping[str, Any]) -> dict[str, float]:
        """What the log says of the step just done."""
        rates = {group["rate"]: group["lr"] for group in self.optimizer.param_groups}
        step = {"epoch": epoch + 1, "loss": loss.value.item(), "positives": loss.positives, "negatives": loss.negatives}
        return {**step, "memory": figures["memory"], **rates, "listings_per_s": figures["listings_per_s"]}

    def _whiten(self) -> None:
        """Learn the embeddings' whitening from what was learned from; with fewer listings than dimensions, leave it."""
        if len(self.learned) < self.encoder.dim:
            return
        name = f"{self.name}: whiten"
        found = embedded(self.encoder, self.data.view, self.learned, self.recipe, self.compute, name)
        vectors = torch.from_numpy(found.vectors[found.present]).to(self.device)
        self.encoder.whiten(vectors, WHITENING_SHRINKAGE)

    def _memory_fill(self) -> int:
        return len(self.loss.memory) if self.loss.memory is not None else 0

    def _settings(self) -> str:
        """What a checkpoint must agree on: the settings that matter and the listings."""
        digest = hashlib.sha256(f"{self.recipe.cache_key('train')} seed {self.compute.seed}".encode())
        digest.update(self.data.labels.tobytes() + self.data.components.tobytes())
        return digest.hexdigest()

    def _tensors(self) -> dict[str, Tensor]:
        """Weights, memory and the optimizer's moments by name: the present state itself, not a copy."""
        loss = {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        return self._weights() | loss | moments(self.optimizer)

    def _weights(self) -> dict[str, Tensor]:
        return {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}

    def _save(self) -> None:
        facts = {"settings": self._settings(), "step": self.step, "tally": asdict(self.tally), "best": self.best}
        self._write(self.checkpoint, self._tensors(), facts)

    def _write(self, path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, tensors, facts)

    def _take_best(self) -> None:
        """Go back to the weights of the best epoch, which the first process has."""
        if processes.rank() == 0:
            saved, _ = load_tensors(self.best_weights)
            self.encoder.load_state_dict({name.removeprefix("encoder."): value for name, value in saved.items()})
        distributed.copy_first(self._weights().values())

    def _begin(self) -> None:
        """Go on from the checkpoint, where there is one, and every process from the state of the first."""
        distributed.require_same("settings, listings or device", f"{self._settings()} {self.device.type}")
        if processes.rank() == 0:
            self._resume()
        if processes.size() > 1:
            distributed.copy_first(self._tensors().values())
            self.step, tally, self.best = processes.broadcast((self.step, asdict(self.tally), self.best))
            self.tally = _Tally(**tally)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        try:
            saved, facts = load_tensors(self.checkpoint)
        except ValueError as error:
            warnings.warn(f"{self.name}: training starts anew, its checkpoint is damaged: {error}", stacklevel=2)
            return
        tensors = self._tensors()
        if facts["settings"] != self._settings() or saved.keys() != tensors.keys():
            warnings.warn(f"{self.name}: training starts anew, its checkpoint is of other settings", stacklevel=2)
            return
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])
        self.step, self.tally, self.best = facts["step"], _Tally(**facts["tally"]), facts["best"]


def _shown(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
