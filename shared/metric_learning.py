"""One training loop for every encoder: contrastive loss over P x K batches and a cross-batch memory.

Everything a step does follows from the seed and the step's number: which listings are drawn, how they are altered,
which units drop out, the learning rate. So a checkpoint is the weights, the optimiser's moments, the memory and a
number, and a killed training that is run again ends in the same weights as one that was left alone.

Several processes (`torchrun`) share the work of each step and hold the same state, the memory too; see
`shared.distributed`.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from shared import distributed, world
from shared.checkpoint import load_tensors, save_tensors
from shared.compute import ComputeConfig
from shared.encoder import Encoder, Inputs
from shared.errors import MatcherError
from shared.memory import CrossBatchMemory, Listed
from shared.pair_loss import Loss, MemoryContrastiveLoss
from shared.prefetch import prefetched
from shared.recipe import Recipe
from shared.sampler import group_batches
from shared.torch_runtime import autocast, prepare

CHECKPOINT_S = 120.0  # between two checkpoints of a training


@dataclass(frozen=True)
class TrainingSet:
    """The listings an encoder learns from, by their position here.

    Args:
        labels: Label group of each, int64 [n].
        components: Connected component of each, int64 [n].
        load: The encoder's inputs for the listings at some positions, in an epoch (for augmentation). Called in
            several threads, so what it returns must depend on its arguments alone.
    """

    labels: NDArray[np.int64]
    components: NDArray[np.int64]
    load: Callable[[NDArray[np.int64], int], Inputs]


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


def learning_rate_scale(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: a linear rise over the first `warmup`, then half a cosine to zero."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


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
        recipe: Recipe,
        compute: ComputeConfig,
        folder: Path,
        checkpoint_s: float = CHECKPOINT_S,
    ) -> None:
        self.name, self.data, self.recipe, self.seed = name, data, recipe, compute.seed
        self.device = prepare(compute)
        self.workers, self.checkpoint_s = compute.cpu_threads, checkpoint_s
        self.encoder = encoder.to(self.device)
        memory = CrossBatchMemory(recipe.memory, encoder.dim).to(self.device) if recipe.memory else None
        self.loss = MemoryContrastiveLoss(memory, recipe.positive_margin, recipe.negative_margin, recipe.mining_epsilon)
        self.optimiser = _optimiser(encoder, recipe)
        self.labels, self.components = (torch.from_numpy(v).to(self.device) for v in (data.labels, data.components))
        self.steps_per_epoch = len(self._epoch(0))
        self.steps = self.steps_per_epoch * recipe.epochs
        self.step = 0
        self.tally = _Tally()
        self.checkpoint = folder / "checkpoint" / "state.safetensors"

    def run(self) -> dict[str, Any]:
        """Train to the end, from the checkpoint where there is one, and remove it.

        Returns:
            Figures: loss and mined pairs of the last epoch (means of its steps), memory fill, steps, listings a second.

        Raises:
            MatcherError: The loss is not a number.
        """
        self._begin()
        self.encoder.train()
        figures: dict[str, Any] = {}
        listings, began = 0, time.monotonic()
        saved = began
        bar = tqdm(total=self.steps, initial=self.step, desc=f"{self.name}: train", unit="step", disable=None)
        for batch, inputs in prefetched(self._load, self._batches(), self.workers):
            self._train_step(batch.positions, inputs)
            listings, now = listings + len(batch.positions), time.monotonic()
            figures = {**self.tally.means(), "memory": self._memory_fill(), "listings_per_s": listings / (now - began)}
            bar.set_postfix_str(_shown(figures), refresh=False)
            bar.update()
            if self.step % self.steps_per_epoch == 0:
                self._end_epoch(f"epoch {batch.epoch + 1}/{self.recipe.epochs}: {_shown(figures)}", bool(bar.disable))
            if self.step < self.steps and now - saved >= self.checkpoint_s and world.rank() == 0:
                self._save()
                saved = now
        bar.close()
        shutil.rmtree(self.checkpoint.parent, ignore_errors=True)
        return {**figures, "steps": self.step}

    def _load(self, batch: _Batch) -> Inputs:
        """What this process has to encode of a batch."""
        return self.data.load(distributed.share(batch.positions), batch.epoch)

    def _train_step(self, positions: NDArray[np.int64], inputs: Inputs) -> None:
        # A resumed run drops the same units, and each process others.
        torch.manual_seed(self.seed * 1_000_003 + self.step + world.rank() * 15_485_863)
        scale = learning_rate_scale(self.step, self.steps, self.recipe.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        rows = torch.from_numpy(positions).to(self.device)
        with autocast(self.device, self.recipe.precision), distributed.encoding(len(rows)):
            embeddings = self.encoder(**{name: tensor.to(self.device) for name, tensor in inputs.items()})
        embeddings = distributed.gathered(embeddings.float(), len(rows))
        batch = Listed(embeddings, self.labels[rows], self.components[rows], rows)
        loss = self.loss(batch, use_memory=self.step >= self.recipe.memory_warmup_steps)
        if not torch.isfinite(loss.value):
            raise MatcherError(f"{self.name}: the loss is {loss.value.item()} at step {self.step}; lower learning_rate")
        self.optimiser.zero_grad()
        loss.value.backward()
        distributed.sum_gradients(self.encoder.parameters())
        nn.utils.clip_grad_norm_(self.encoder.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        self.step += 1
        self.tally.add(loss)

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        recipe = self.recipe
        return group_batches(self.data.labels, recipe.batch_size, recipe.listings_per_group, self.seed, epoch)

    def _batches(self) -> Iterator[_Batch]:
        """What is left of the training, from the present step on."""
        if self.step == self.steps:
            return
        first, done = divmod(self.step, self.steps_per_epoch)
        for epoch in range(first, self.recipe.epochs):
            for positions in self._epoch(epoch)[done if epoch == first else 0 :]:
                yield _Batch(epoch, positions)

    def _end_epoch(self, line: str, say: bool) -> None:
        if say:
            print(f"{self.name}: {line}", file=sys.stderr, flush=True)
        self.tally = _Tally()

    def _memory_fill(self) -> int:
        return len(self.loss.memory) if self.loss.memory is not None else 0

    def _settings(self) -> str:
        """What a checkpoint must agree on: the settings that matter and the listings."""
        digest = hashlib.sha256(f"{self.recipe.until('train')} seed {self.seed}".encode())
        digest.update(self.data.labels.tobytes() + self.data.components.tobytes())
        return digest.hexdigest()

    def _tensors(self) -> dict[str, Tensor]:
        """Weights, memory and the optimiser's moments by name: the present state itself, not a copy."""
        tensors = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        tensors |= {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        for at, parameter in enumerate(p for group in self.optimiser.param_groups for p in group["params"]):
            moments = self.optimiser.state[parameter] or _first_moments(parameter)
            self.optimiser.state[parameter] = moments
            tensors |= {f"optimiser.{at}.{name}": value for name, value in moments.items()}
        return tensors

    def _save(self) -> None:
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        facts = {"settings": self._settings(), "step": self.step, "tally": asdict(self.tally)}
        save_tensors(self.checkpoint, self._tensors(), facts)

    def _begin(self) -> None:
        """Go on from the checkpoint, where there is one, and every process from the state of the first."""
        distributed.require_same("settings, listings or device", f"{self._settings()} {self.device.type}")
        if world.rank() == 0:
            self._resume()
        if world.size() > 1:
            distributed.copy_first(self._tensors().values())
            self.step, tally = world.broadcast((self.step, asdict(self.tally)))
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
        self.step, self.tally = facts["step"], _Tally(**facts["tally"])


def _shown(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _first_moments(parameter: nn.Parameter) -> dict[str, Tensor]:
    """What AdamW holds of a parameter before its first step."""
    zeros = [torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2)]
    return {"step": torch.tensor(0.0, device=parameter.device), "exp_avg": zeros[0], "exp_avg_sq": zeros[1]}


def _optimiser(encoder: Encoder, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with one learning rate for the pretrained part and one for the rest; biases and scales do not decay."""
    peaks = {True: recipe.learning_rate, False: recipe.head_learning_rate}
    parts: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            parts.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    groups = [
        {"params": parameters, "peak": peaks[pretrained], "weight_decay": recipe.weight_decay if decays else 0.0}
        for (pretrained, decays), parameters in sorted(parts.items(), key=lambda part: part[0])
    ]
    return torch.optim.AdamW(groups, fused=True)
