"""The training loop of every encoder: contrastive loss over P x K batches and a cross-batch memory.

Everything in a step follows from the seed and the step's number: which listings are drawn, how they are augmented,
which units drop out, the learning rate. So a checkpoint consists of the weights, the optimizer's state, the memory and
the number of steps, and a training that was killed and resumed ends in the same weights as one that ran through.

Several processes (`torchrun`) share the work of each step and hold the same state, including the memory; see
`shared.training.distributed`.
"""

from __future__ import annotations

import hashlib
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
from shared.training.cross_batch_memory import LabeledEmbeddings
from shared.training.encoder import Encoder, Inputs
from shared.training.logger import TrainingLog
from shared.training.losses import Loss, make_loss, margin_progress
from shared.training.optimizer import learning_rate_scale, make_optimizer, optimizer_tensors, set_learning_rates
from shared.training.prefetch import prefetch
from shared.training.runtime import autocast, prepare
from shared.training.sampler import group_batches
from shared.training.validation import embed_positions, evaluate, validation_listings

CHECKPOINT_S = 120.0  # seconds between two checkpoints
# Of 0.1, 0.3, 1 and 3 this was best on held-out titles and within noise of the best on held-out images.
WHITENING_SHRINKAGE = 0.3
WHITENING_LISTINGS = 20_000  # of which the whitening is learned, at most


@dataclass(frozen=True)
class TrainingSet:
    """The n listings that an encoder learns from.

    Args:
        labels: Label group of each listing, int64 [n], numbered from 0.
        components: Connected component of each, int64 [n].
        load: Function of positions, int64 [b], and epoch that returns the encoder's inputs, with augmentation. Called
            in several threads; its result must depend on its arguments alone.
        view: Function of positions that returns the inputs without augmentation, as for embedding; for validation.
        sources: Source of each listing, int64 [n], -1 for none; equally much is learned from each. None: there is one.
    """

    labels: NDArray[np.int64]
    components: NDArray[np.int64]
    load: Callable[[NDArray[np.int64], int], Inputs]
    view: Callable[[NDArray[np.int64]], Inputs]
    sources: NDArray[np.int64] | None = None


class _Batch(NamedTuple):
    epoch: int
    positions: NDArray[np.int64]


@dataclass
class _EpochSums:
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
        return {
            "loss": round(self.loss / count, 4),
            "positive_pairs": round(self.positives / count, 1),
            "negative_pairs": round(self.negatives / count, 1),
        }


def label_numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return label groups as integers from 0 in the order of their names, int64 [n]."""
    return np.unique(labels.astype(str), return_inverse=True)[1].astype(np.int64)


class Training:
    """The state of a training, and its loop.

    Args:
        name: For messages and the progress bar.
        encoder: The module to train; moved to the device that `compute` names.
        data: The listings to learn from. Without a positive pair nothing is trained.
        config: Settings.
        compute: Device, threads, seed.
        folder: Folder for the log and the checkpoint.
        checkpoint_s: Seconds between two checkpoints.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> class Linear(Encoder):
        ...     def __init__(self):
        ...         super().__init__(trained_dim=2)
        ...         self.backbone = nn.Linear(3, 2)
        ...
        ...     def forward(self, values):
        ...         return nn.functional.normalize(self.backbone(values))
        >>> labels = np.repeat(np.arange(4), 2)  # four label groups of two listings each
        >>> values = torch.eye(4, 3)[labels]
        >>> data = TrainingSet(
        ...     labels,
        ...     components=labels,
        ...     load=lambda positions, epoch: {"values": values[positions]},
        ...     view=lambda positions: {"values": values[positions]},
        ... )
        >>> config = TrainingConfig(epochs=3, batch_size=4)
        >>> with TemporaryDirectory() as folder:
        ...     training = Training("example", Linear(), data, config, ComputeConfig(device="cpu"), Path(folder))
        ...     metrics = training.run()
        >>> metrics["steps"], metrics["memory_entries"]  # two batches per epoch, of whose 8 listings 6 are remembered
        (6, 6)
    """

    def __init__(
        self,
        name: str,
        encoder: Encoder,
        data: TrainingSet,
        config: TrainingConfig,
        compute: ComputeConfig,
        folder: Path,
        checkpoint_s: float = CHECKPOINT_S,
    ) -> None:
        self.name, self.data, self.config, self.compute, self.folder = name, data, config, compute, folder
        self.device = prepare(compute)
        self.workers, self.checkpoint_s = compute.cpu_threads, checkpoint_s
        self.encoder = encoder.to(self.device)
        # Positions of the listings that evaluate each epoch, and of those that are learned from.
        self.validation = validation_listings(data.labels, data.components, config.validation, compute.seed)
        self.training = np.delete(np.arange(len(data.labels)), self.validation)
        first = self._epoch(0)
        torch.manual_seed(compute.seed)  # where the loss has weights, they start at random
        groups, listings = int(data.labels.max(initial=-1)) + 1, sum(len(batch) for batch in first)
        self.loss = make_loss(config, encoder.trained_dim, groups, listings).to(self.device)
        self.optimizer = make_optimizer(encoder, self.loss, config)
        self.labels, self.components = (torch.from_numpy(v).to(self.device) for v in (data.labels, data.components))
        self.steps_per_epoch, self.steps = len(first), len(first) * config.epochs
        self.step = 0
        self.sums = _EpochSums()
        self.best: dict[str, Any] = {}  # the best epoch so far and its validation metrics
        self.checkpoint = folder / "checkpoint" / "state.safetensors"
        self.best_weights = folder / "checkpoint" / "best.safetensors"

    def run(self) -> dict[str, Any]:
        """Train to the end, from the checkpoint if there is one, which stays until the stage is finished.

        Returns:
            Metrics: `loss`, `positive_pairs` and `negative_pairs` (means over the steps of the last epoch),
            `memory_entries`, `listings_per_s` and `steps`. With validation also `best_epoch`, whose weights the
            encoder has then, and its retrieval metrics.

        Raises:
            MatcherError: The loss is not finite.
        """
        self._begin()
        self.encoder.train()
        metrics: dict[str, Any] = {}
        listings, busy, saved = 0, 0.0, time.monotonic()
        bar = tqdm(total=self.steps, initial=self.step, desc=f"{self.name}: train", unit="step", disable=None)
        jobs = prefetch(self._load, self._batches(), self.workers)
        began = time.monotonic()
        with TrainingLog(self.folder / "log", self.step) as log:
            for batch, inputs in jobs:
                loss = self._train_step(batch.positions, inputs)
                listings, busy = listings + len(batch.positions), busy + time.monotonic() - began
                memory = 0 if self.loss.memory is None else len(self.loss.memory)
                metrics = {**self.sums.means(), "memory_entries": memory, "listings_per_s": listings / busy}
                log.write(self.step, self._step_metrics(batch.epoch, loss, metrics))
                bar.set_postfix_str(_in_words(metrics), refresh=False)
                bar.update()
                if self.step % self.steps_per_epoch == 0:
                    self._end_epoch(batch.epoch + 1, metrics, log, say=bool(bar.disable))
                if self.step < self.steps and time.monotonic() - saved >= self.checkpoint_s and processes.rank() == 0:
                    self._save()
                    saved = time.monotonic()
                began = time.monotonic()
        bar.close()
        if self.best:
            self._take_best()
        if self.step:
            self.whiten()
        return {**metrics, **self.best, "steps": self.step}

    def whiten(self) -> None:
        """Fit the encoder's whitening to the training listings, or to some of many."""
        rows = np.random.default_rng(self.compute.seed).permutation(len(self.training))[:WHITENING_LISTINGS]
        positions, name = self.training[np.sort(rows)], f"{self.name}: whiten"
        found = embed_positions(
            self.encoder, self.data.view, positions, self.config, self.compute, name, unwhitened=True
        )
        self.encoder.fit_whitening(torch.from_numpy(found.vectors[found.present]).to(self.device), WHITENING_SHRINKAGE)

    def _load(self, batch: _Batch) -> Inputs:
        """Return the inputs that this process encodes of a batch."""
        return self.data.load(distributed.local_positions(batch.positions), batch.epoch)

    def _train_step(self, positions: NDArray[np.int64], inputs: Inputs) -> Loss:
        """Update the weights by one batch and return its loss.

        Args:
            positions: The listings of the whole batch, int64 [b].
            inputs: The encoder's inputs for this process's slice of them.
        """
        # A resumed training drops the same units; each process drops different ones.
        torch.manual_seed(self.compute.seed * 1_000_003 + self.step + processes.rank() * 15_485_863)
        scale = learning_rate_scale(self.step, self.steps, self.config.warmup)
        set_learning_rates(self.optimizer, self.config, scale)
        rows = torch.from_numpy(positions).to(self.device)
        with autocast(self.device, self.config.precision), distributed.batch_statistics(len(rows)):
            embeddings = self.encoder(**{name: tensor.to(self.device) for name, tensor in inputs.items()})
        embeddings = distributed.gather(embeddings.float(), len(rows))
        batch = LabeledEmbeddings(embeddings, self.labels[rows], self.components[rows], rows)
        progress = margin_progress(self.step, self.steps, self.config.margin_ramp)
        loss: Loss = self.loss(batch, self.step >= self.config.memory_warmup * self.steps, progress)
        if not torch.isfinite(loss.value):
            raise MatcherError(f"{self.name}: the loss is {loss.value.item()} at step {self.step}; lower learning_rate")
        self.optimizer.zero_grad()
        loss.value.backward()  # type: ignore[no-untyped-call]
        distributed.sum_gradients(
            self.encoder.parameters()
        )  # gradients of the loss's weights are the same in all processes
        nn.utils.clip_grad_norm_(self.encoder.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.sums.add(loss)
        return loss

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch as positions in the training set."""
        config, labels = self.config, self.data.labels[self.training]
        sources = None if self.data.sources is None else self.data.sources[self.training]
        batches = group_batches(labels, config.batch_size, config.listings_per_group, self.compute.seed, epoch, sources)
        return [self.training[positions] for positions in batches]

    def _batches(self) -> Iterator[_Batch]:
        """Yield the batches that remain, from the present step on."""
        if self.step == self.steps:
            return
        first, done = divmod(self.step, self.steps_per_epoch)
        for epoch in range(first, self.config.epochs):
            for positions in self._epoch(epoch)[done if epoch == first else 0 :]:
                yield _Batch(epoch, positions)

    def _end_epoch(self, epoch: int, metrics: Mapping[str, Any], log: TrainingLog, say: bool) -> None:
        """Evaluate the encoder, save its weights if they are the best so far, and print one line if `say`."""
        if len(self.validation):
            labels, name = self.data.labels[self.validation], f"{self.name}: validate"
            trained = self.config.model_copy(update={"whitening": False})  # which is fitted at the end
            scores = evaluate(self.encoder, self.data.view, self.validation, labels, trained, self.compute, name)
            self.encoder.train()
            metrics = {**metrics, **asdict(scores)}
            log.write(self.step, {"epoch": epoch, **asdict(scores)}, "validation")
            if scores.map_at_20 > self.best.get("map_at_20", -1.0):
                self.best = {"best_epoch": epoch, **asdict(scores)}
                self._write(self.best_weights, self._weights(), {})
        if say:
            line = (self.name, f"epoch {epoch} of {self.config.epochs}", _in_words(metrics))
            print(*line, sep=": ", file=sys.stderr, flush=True)
        self.sums = _EpochSums()

    def _step_metrics(self, epoch: int, loss: Loss, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Return what the log says of the last step: its own loss and pairs, beside running metrics of the epoch."""
        step = {"epoch": epoch + 1, "loss": loss.value.item()}
        pairs = {"positive_pairs": loss.positives, "negative_pairs": loss.negatives}
        rates = {group["rate"]: group["lr"] for group in self.optimizer.param_groups}
        running = {name: metrics[name] for name in ("memory_entries", "listings_per_s")}
        return {**step, **pairs, **rates, **running}

    def _settings(self) -> str:
        """Return a digest of what a checkpoint must agree on: the settings of training and the listings."""
        digest = hashlib.sha256(f"{self.config.cache_key('train')} seed {self.compute.seed}".encode())
        digest.update(self.data.labels.tobytes() + self.data.components.tobytes())
        digest.update(b"" if self.data.sources is None else self.data.sources.tobytes())
        return digest.hexdigest()

    def _tensors(self) -> dict[str, Tensor]:
        """Return weights, memory and the optimizer's state by name: the tensors themselves, not copies."""
        loss = {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        return self._weights() | loss | optimizer_tensors(self.optimizer)

    def _weights(self) -> dict[str, Tensor]:
        return {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}

    def _save(self) -> None:
        facts = {"settings": self._settings(), "step": self.step, "sums": asdict(self.sums), "best": self.best}
        self._write(self.checkpoint, self._tensors(), facts)

    def _write(self, path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, tensors, facts)

    def _take_best(self) -> None:
        """Restore the weights of the best epoch, which the first process has saved."""
        if processes.rank() == 0:
            saved, _ = load_tensors(self.best_weights)
            self.encoder.load_state_dict({name.removeprefix("encoder."): value for name, value in saved.items()})
        distributed.broadcast_tensors(self._weights().values())

    def _begin(self) -> None:
        """Load the checkpoint, if there is one, and give every process the state of the first."""
        distributed.require_equal("settings, listings or device", f"{self._settings()} {self.device.type}")
        if processes.rank() == 0:
            self._resume()
        if processes.size() > 1:
            distributed.broadcast_tensors(self._tensors().values())
            self.step, sums, self.best = processes.broadcast((self.step, asdict(self.sums), self.best))
            self.sums = _EpochSums(**sums)

    def _resume(self) -> None:
        """Load the checkpoint; where there is none, or it does not fit, start from the beginning."""
        if not self.checkpoint.exists():
            return
        try:
            saved, facts = load_tensors(self.checkpoint)
        except ValueError as error:
            warnings.warn(
                f"{self.name}: training starts from the beginning; its checkpoint is damaged: {error}", stacklevel=2
            )
            return
        tensors = self._tensors()
        if facts["settings"] != self._settings() or saved.keys() != tensors.keys():
            fault = "its checkpoint was written with other settings or listings"
            warnings.warn(f"{self.name}: training starts from the beginning; {fault}", stacklevel=2)
            return
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])
        self.step, self.sums, self.best = facts["step"], _EpochSums(**facts["sums"]), facts["best"]


def _in_words(metrics: Mapping[str, Any]) -> str:
    """Return the metrics of an epoch as one line of text."""
    positive, negative = metrics["positive_pairs"], metrics["negative_pairs"]
    parts = [
        f"mean loss {metrics['loss']:.4g}",
        f"{positive:,.4g} positive and {negative:,.4g} negative pairs per step",
    ]
    if metrics["memory_entries"]:
        parts.append(f"{metrics['memory_entries']:,} embeddings in memory")
    parts.append(f"{metrics['listings_per_s']:,.3g} listings/s")
    if "map_at_20" in metrics:
        quality = f"mAP@20 {metrics['map_at_20']:.3f}, Recall@1 {metrics['recall_at_1']:.3f}"
        parts.append(f"validation on {metrics['pool_size']:,} listings: {quality}")
    return ", ".join(parts)
