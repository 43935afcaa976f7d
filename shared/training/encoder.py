"""The base class of trained encoders: frozen BatchNorm, whitening, saving, and embedding in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from shared.artifacts import atomic_file, read_json, reading, write_json
from shared.compute import ComputeConfig
from shared.errors import ArtifactError
from shared.schema import Embeddings, Flags, Floats
from shared.training.config import TrainingConfig
from shared.training.prefetch import prefetch
from shared.training.runtime import autocast, pinned, prepare

Inputs = Mapping[str, Tensor]
E = TypeVar("E", bound="Encoder")
WEIGHTS, FACTS = "encoder.safetensors", "encoder.json"
LEAST_VARIATION = 1e-4  # share of the largest singular value; what varies less is rounding


class Encoder(nn.Module):
    """A pretrained `backbone` and new layers that turn its output into unit embeddings.

    The BatchNorm statistics of the backbone stay as pretrained, in training too: those of small batches from one
    catalog are too noisy to fine-tune with.

    What is whitened may be another layer than the one that is trained (`unwhitened`), and then has another length.

    Args:
        trained_dim: Length of the embeddings that are trained.
        width: Length of what is whitened; None: as `trained_dim`.
        whitened_dim: Length of a whitened embedding, at most `width`; None: as `width`.

    Attributes:
        center: Mean of what whitening was fitted to, float32 [width]; zeros before.
        axes: Whitening matrix, float32 [whitened_dim, width]; the first rows of the identity before.

    Examples:
        >>> class Linear(Encoder):
        ...     def __init__(self):
        ...         super().__init__(trained_dim=2)
        ...         self.backbone = nn.Linear(3, 2)
        ...
        ...     def forward(self, values):
        ...         return functional.normalize(self.backbone(values))
        >>> encoder = Linear()
        >>> encoder.fit_whitening(torch.randn(20, 2), shrinkage=0.3)
        >>> encoder.whitened(values=torch.ones(5, 3)).shape
        torch.Size([5, 2])
    """

    backbone: nn.Module
    center: Tensor
    axes: Tensor

    def __init__(self, trained_dim: int, width: int | None = None, whitened_dim: int | None = None) -> None:
        super().__init__()
        self.trained_dim, width = trained_dim, width or trained_dim
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("axes", torch.eye(whitened_dim or width, width))

    def unwhitened(self, **inputs: Tensor) -> Tensor:
        """Return what whitening is fitted to, unit rows, float32 [b, width]: here the trained embeddings."""
        return functional.normalize(self(**inputs).float())

    def whitened(self, **inputs: Tensor) -> Tensor:
        """Return whitened embeddings of unit length, float32 [b, whitened_dim]."""
        values = self.unwhitened(**inputs)
        with torch.autocast(values.device.type, enabled=False):
            return functional.normalize((values - self.center) @ self.axes.T)

    def output(self, whitening: bool, *, unwhitened: bool = False) -> tuple[Callable[..., Tensor], int]:
        """Return what to call with inputs for embeddings, or for what is whitened, and the length of its rows."""
        if unwhitened:
            return self.unwhitened, len(self.center)
        return (self.whitened, len(self.axes)) if whitening else (self, self.trained_dim)

    @torch.no_grad()
    def fit_whitening(self, values: Tensor, shrinkage: float) -> None:
        """Fit the whitening to output of `unwhitened`; without any variance it stays as it is.

        Where no axis is left out, they are rotated back to the original ones (ZCA), so that signs do not depend on
        the eigenvalue solver; this changes no cosine.

        Args:
            values: Unit rows, float32 [n, width].
            shrinkage: As for `pca_whitening`.
        """
        whitening = pca_whitening(values, shrinkage)
        if whitening is None:
            return
        center, axes = whitening
        self.center.copy_(center)
        if len(self.axes) == len(axes):
            self.axes.copy_(functional.normalize(axes).T @ axes)
        else:
            self.axes.copy_(first_axes(axes, values, len(self.axes)))

    def train(self, mode: bool = True) -> Encoder:
        """Switch all modules to training (or evaluation) mode, except the backbone's BatchNorm; return the encoder."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights to `encoder.safetensors` and `facts` to `encoder.json`.

        Args:
            folder: An existing folder.
            facts: JSON-compatible values from which the encoder can be built again.
        """
        weights = {name: tensor.detach().to("cpu").contiguous() for name, tensor in self.state_dict().items()}
        with atomic_file(folder / WEIGHTS) as partial:
            save_file(weights, partial)
        write_json(folder / FACTS, dict(facts))

    def load(self, folder: Path) -> None:
        """Load the weights that `save` wrote.

        Raises:
            ArtifactError: They are missing, damaged or of another encoder.
        """
        path = folder / WEIGHTS
        with reading(path, "train the branch again"):
            self.load_state_dict(load_file(path))


def built(make: Callable[[], E], folder: Path, layers: int = 0) -> E:
    """Return an encoder that was described in a folder, after a look at whether the weights there are of its shape.

    So a description cannot ask for more memory than its weights take.

    Args:
        make: Returns the encoder with any weights.
        folder: With the weights.
        layers: Number of layers that the description asks for.

    Raises:
        ValueError: The weights are of another encoder.
    """
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if layers > len(shapes):
        raise ValueError(f"{layers:,} layers cannot have {len(shapes):,} weights")
    with torch.device("meta"):  # shapes without memory
        expected = {name: list(weight.shape) for name, weight in make().state_dict().items()}
    if shapes != expected:
        name = min(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name))
        raise ValueError(f"the weight {name} is {shapes.get(name)} and not {expected.get(name)}")
    return make()


def pca_whitening(values: Tensor, shrinkage: float) -> tuple[Tensor, Tensor] | None:
    """Return center and axes such that `(values - center) @ axes.T` has the same variance in all directions.

    No labels are needed. The directions of largest variance are common to many products; whitening keeps them from
    hiding what distinguishes products (Jégou & Chum 2012).

    Args:
        values: float [n, c].
        shrinkage: Multiple of the mean variance, above 0, that is added to all variances; it keeps directions of
            little variance from being amplified.

    Returns:
        The mean, float64 [c], and the axes by falling variance, float64 [c, c]. None without any variance.

    Examples:
        >>> values = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> center, axes = pca_whitening(values, shrinkage=1e-6)
        >>> ((values - center) @ axes.T).square().mean(dim=0).round(decimals=3)
        tensor([1., 1.], dtype=torch.float64)
    """
    mean = values.double().mean(dim=0)
    centered = values.double() - mean
    covariance = centered.T @ centered / max(1, len(values))  # [c, c]
    mean_variance = float(covariance.diagonal().mean())
    if not mean_variance > 0:  # NaN without any row
        return None
    covariance.diagonal().add_(shrinkage * mean_variance)
    scales, directions = torch.linalg.eigh(covariance)  # rising
    return mean, (directions / scales.sqrt()).T.flip(0)


def first_axes(axes: Tensor, values: Tensor, count: int) -> Tensor:
    """Return the first whitening axes, float64 [count, c].

    Few different rows leave the last axes open. An eigenvalue solver would choose them by rounding errors, so by the
    number of threads; they are drawn with a fixed seed.

    Args:
        axes: Of `pca_whitening`, float64 [c, c].
        values: What they were fitted to, float32 [n, c].
        count: At most c.
    """
    axes, centered = axes[:count], values.double() - values.double().mean(dim=0)
    rank = int(torch.linalg.matrix_rank(centered.T @ centered, rtol=LEAST_VARIATION**2, hermitian=True))
    if rank >= count:
        return axes
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(axes.shape[1], count - rank, dtype=axes.dtype, generator=generator).to(axes.device)
    fixed = functional.normalize(axes[:rank]).T  # orthonormal columns
    drawn = torch.linalg.qr(drawn - fixed @ (fixed.T @ drawn)).Q
    return torch.cat([axes[:rank], drawn.T * axes[rank].norm()])


def read_facts(folder: Path | None, branch: str) -> dict[str, Any]:
    """Return the content of an encoder's `encoder.json`.

    Args:
        folder: Folder of the encoder.
        branch: The branch that it must be of.

    Raises:
        ArtifactError: There is no encoder, or it is of another branch.
    """
    if folder is None:
        raise ArtifactError(f"the {branch} branch needs an encoder; run: python -m branches.{branch}.train")
    path = folder / FACTS
    facts = read_json(path, "train the branch again")
    if facts.get("branch") != branch:
        raise ArtifactError(f"{path} is an encoder of branch {facts.get('branch')}, not {branch}")
    return facts


def full_batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Return positions in batches of exactly `size`; the last batch is filled up with copies of its last position.

    Kernels may round differently for another batch size, so all batches have the same.

    Args:
        order: Positions in the order of the batches, int64 [n].
        size: Positions per batch.

    Examples:
        >>> full_batches(np.array([4, 5, 6]), size=2)
        [array([4, 5]), array([6, 6])]
    """
    missing = -len(order) % size
    padded = np.concatenate([order, np.repeat(order[-1:], missing)])
    return list(padded.reshape(-1, size))


@torch.inference_mode()
def encode(
    encoder: Encoder,
    load: Callable[[NDArray[np.int64]], tuple[Inputs, Flags]],
    batches: Sequence[NDArray[np.int64]],
    count: int,
    config: TrainingConfig,
    compute: ComputeConfig,
    name: str,
    *,
    unwhitened: bool = False,
) -> Floats:
    """Embed `count` contents, such as distinct images or titles, batch by batch.

    Args:
        encoder: Put into evaluation mode and moved to the device that `compute` names.
        load: Function of positions that returns the encoder's inputs, and whether each is usable, bool [b]; called in
            several threads.
        batches: Positions of contents, int64 arrays.
        count: Number of contents.
        config: Settings (precision, whitening).
        compute: Device and threads.
        name: For the progress bar and messages.
        unwhitened: Whether to return what whitening is fitted to in place of embeddings.

    Returns:
        float32 [count, d]: unit rows; zeros where a content is not usable or its embedding is not finite.

    Raises:
        ArtifactError: No embedding of a whole batch is finite.
    """
    device = prepare(compute)
    encoder = encoder.to(device).eval()
    embed, length = encoder.output(config.whitening, unwhitened=unwhitened)
    vectors = np.zeros((count, length), dtype=np.float32)
    bar = tqdm(total=count, desc=f"{name}: embed", unit="listing", disable=None)
    running: deque[tuple[NDArray[np.int64], Flags, Tensor]] = deque()

    def loaded(positions: NDArray[np.int64]) -> tuple[Inputs, Flags]:
        inputs, usable = load(positions)
        return pinned(inputs, device), usable

    def keep(positions: NDArray[np.int64], usable: Flags, embeddings: Tensor) -> None:
        values = embeddings.cpu().numpy()
        finite = np.isfinite(values).all(axis=1) & values.any(axis=1)
        if usable.any() and not (finite & usable).any():
            raise ArtifactError(f"{name}: the encoder's embeddings are not finite numbers; train the branch again")
        vectors[positions] = np.where((finite & usable)[:, None], values, 0)
        bar.update(len(np.unique(positions)))

    for positions, (inputs, usable) in prefetch(loaded, batches, compute.cpu_threads):
        with autocast(device, config.precision):
            given = {key: tensor.to(device, non_blocking=True) for key, tensor in inputs.items()}
            embeddings = embed(**given).float()
        running.append((positions, usable, embeddings))
        if len(running) > 1:  # a GPU works on the last batch while the one before it is kept
            keep(*running.popleft())
    while running:
        keep(*running.popleft())
    bar.close()
    return vectors


def spread(vectors: Floats, rows: NDArray[np.int64], content: NDArray[np.int64], listings: int) -> Embeddings:
    """Return the embeddings of listings from those of their distinct contents.

    Args:
        vectors: Embeddings of contents, float32 [c, d]; zero where a content is not usable.
        rows: Listings that have a content, int64 [m].
        content: The content of each of them, as its row in `vectors`, int64 [m].
        listings: Number of listings, n.

    Returns:
        float32 [n, d]; listings without a usable content have no evidence.
    """
    embeddings = np.zeros((listings, vectors.shape[1]), dtype=np.float32)
    embeddings[rows] = vectors[content]
    return Embeddings(embeddings, np.any(embeddings, axis=1))
