"""What the trained branches' encoders have in common: frozen normalization, saving, and embedding distinct contents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from shared.compute import ComputeConfig
from shared.errors import ArtifactError
from shared.schema import Embeddings, Flags, Floats
from shared.training.config import TrainingConfig
from shared.training.prefetch import prefetched
from shared.training.runtime import autocast, prepare

Inputs = Mapping[str, Tensor]


class Encoder(nn.Module):
    """A pretrained `backbone` and whatever new layers turn its output into unit embeddings of length `dim`.

    The statistics of the backbone's BatchNorm stay as pretrained, in training too: small batches of one catalog
    ruin them, and a small fine-tuning with them.

    Args:
        dim: Length of an embedding.
    """

    backbone: nn.Module
    center: Tensor
    axes: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("center", torch.zeros(dim))
        self.register_buffer("axes", torch.eye(dim))

    @torch.no_grad()
    def whiten(self, embeddings: Tensor, shrinkage: float) -> None:
        """Learn from embeddings, float32 [n, dim], how those to come are whitened; see `pca_whitening`.

        The axes are turned back to where they came from (ZCA), so that no sign is left to chance; it changes no cosine.
        """
        found = pca_whitening(embeddings, shrinkage)
        if found is not None:
            center, axes = found
            self.center.copy_(center)
            self.axes.copy_(functional.normalize(axes).T @ axes)

    def whitened(self, embeddings: Tensor) -> Tensor:
        """Unit embeddings, float32 [b, dim] → the same once whitened, of unit length again."""
        return functional.normalize((embeddings - self.center) @ self.axes.T)

    def train(self, mode: bool = True) -> Encoder:
        """Switch to training (or evaluation) mode, all but the backbone's BatchNorm."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write `encoder.safetensors`, and `encoder.json` with what else it takes to build the encoder again."""
        weights = {name: tensor.detach().to("cpu").contiguous() for name, tensor in self.state_dict().items()}
        _replace(folder / "encoder.safetensors", lambda path: save_file(weights, path))
        text = json.dumps(dict(facts), indent=2, sort_keys=True) + "\n"
        _replace(folder / "encoder.json", lambda path: path.write_text(text, encoding="utf-8"))

    def load(self, folder: Path) -> None:
        """Take the weights that `save` wrote.

        Raises:
            ArtifactError: They are missing, damaged or another encoder's.
        """
        path = folder / "encoder.safetensors"
        try:
            self.load_state_dict(load_file(path))
        except Exception as error:  # safetensors, the file system and torch each raise their own
            raise ArtifactError(f"{path} cannot be used ({error}); train the branch again") from error


def pca_whitening(values: Tensor, shrinkage: float) -> tuple[Tensor, Tensor] | None:
    """Center and axes such that `(values - center) @ axes.T` varies equally in all directions.

    Without labels: what many products have in common varies most, and no longer drowns what tells them apart
    (Jégou & Chum 2012).

    Args:
        values: float [n, c].
        shrinkage: How far the covariance is drawn toward a sphere, as a multiple of its mean variance, above 0; what
            hardly varies is then not blown up.

    Returns:
        The mean, float64 [c], and the axes by falling variance, float64 [c, c]; None where nothing varies.
    """
    mean = values.double().mean(dim=0)
    centered = values.double() - mean
    covariance = centered.T @ centered / max(1, len(values))  # [c, c]
    spread = float(covariance.diagonal().mean())
    if not spread > 0:  # NaN without any value
        return None
    covariance.diagonal().add_(shrinkage * spread)
    scales, directions = torch.linalg.eigh(covariance)  # rising
    return mean, (directions / scales.sqrt()).T.flip(0)


def read_facts(folder: Path | None, branch: str) -> dict[str, Any]:
    """The content of an encoder's `encoder.json`.

    Raises:
        ArtifactError: There is no encoder, or it is another branch's.
    """
    if folder is None:
        raise ArtifactError(f"the {branch} branch needs an encoder; run: python -m branches.{branch}.train")
    path = folder / "encoder.json"
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error}); train the branch again") from error
    if facts.get("branch") != branch:
        raise ArtifactError(f"{path} is an encoder of branch {facts.get('branch')}, not {branch}")
    return facts


def full_batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """`order` in batches of exactly `size`, the last one filled up with its last position.

    A kernel may round differently for another batch size, so every batch has the same.
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
    recipe: TrainingConfig,
    compute: ComputeConfig,
    name: str,
) -> Floats:
    """Embed `count` contents batch by batch.

    Args:
        encoder: Put into evaluation mode and moved to the device that `compute` names.
        load: Inputs of some contents and whether each is usable; called in several threads.
        batches: Positions of contents, int64 arrays.
        count: Contents in all.
        recipe: Settings (precision, whether to whiten).
        compute: Device and threads.
        name: For the progress bar and messages.

    Returns:
        float32 [count, dim]: unit rows, zero where a content is not usable or its embedding is no number.

    Raises:
        ArtifactError: The encoder yields no numbers for a whole batch.
    """
    device = prepare(compute)
    encoder = encoder.to(device).eval()
    vectors = np.zeros((count, encoder.dim), dtype=np.float32)
    bar = tqdm(total=count, desc=f"{name}: embed", unit="listing", disable=None)
    for positions, (inputs, usable) in prefetched(load, batches, compute.cpu_threads):
        with autocast(device, recipe.precision):
            embeddings = encoder(**{key: tensor.to(device) for key, tensor in inputs.items()}).float()
        values = (encoder.whitened(embeddings) if recipe.whitened else embeddings).cpu().numpy()
        sound = np.isfinite(values).all(axis=1) & values.any(axis=1)
        if usable.any() and not (sound & usable).any():
            raise ArtifactError(f"{name}: the encoder yields no numbers; train the branch again")
        vectors[positions] = np.where((sound & usable)[:, None], values, 0)
        bar.update(len(np.unique(positions)))
    bar.close()
    return vectors


def spread(vectors: Floats, rows: NDArray[np.int64], content: NDArray[np.int64], listings: int) -> Embeddings:
    """The vectors of distinct contents, given to the listings that have them.

    Args:
        vectors: float32 [c, d], zero where a content is not usable.
        rows: Listings with evidence, int64 [m].
        content: The content of each of them, int64 [m].
        listings: n.
    """
    out = np.zeros((listings, vectors.shape[1]), dtype=np.float32)
    out[rows] = vectors[content]
    return Embeddings(out, np.any(out, axis=1))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    temporary.replace(path)
