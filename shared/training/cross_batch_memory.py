"""Cross-batch memory: the embeddings of the latest batches, to compare each new batch with (arXiv 1912.06798)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Listed(NamedTuple):
    """Embeddings with what decides which of their pairs match.

    Args:
        embeddings: float32 [m, d], unit rows.
        labels: Label group, int64 [m].
        components: Connected component over label group, picture, phash and title, int64 [m].
        rows: The listing's row, int64 [m].
    """

    embeddings: Tensor
    labels: Tensor
    components: Tensor
    rows: Tensor


class CrossBatchMemory(nn.Module):
    """A ring of past embeddings. All of it, pointer and fill too, is in `state_dict`, so that a resumed run goes on.

    Args:
        size: Embeddings held at most.
        dim: Length of an embedding.
    """

    embeddings: Tensor
    labels: Tensor
    components: Tensor
    rows: Tensor
    pointer: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, dim))
        for name in ("labels", "components", "rows"):
            self.register_buffer(name, torch.full((size,), -1))
        self.register_buffer("pointer", torch.tensor(0))
        self.register_buffer("filled", torch.tensor(0))

    def __len__(self) -> int:
        return int(self.filled)

    @torch.no_grad()
    def add(self, batch: Listed) -> None:
        """Put a batch in, over the oldest entries.

        Raises:
            ValueError: The batch is larger than the memory.
        """
        size, count = len(self.labels), len(batch.labels)
        if count > size:
            raise ValueError(f"a batch of {count} listings does not fit into a memory of {size}")
        slots = (self.pointer + torch.arange(count, device=self.labels.device)) % size
        for name, values in batch._asdict().items():
            getattr(self, name)[slots] = values.detach().to(getattr(self, name).dtype)
        self.pointer.copy_((self.pointer + count) % size)
        self.filled.copy_((self.filled + count).clamp(max=size))

    def without(self, rows: Tensor) -> Listed:
        """The entries of other listings than `rows`, in slot order."""
        held = slice(len(self))
        others = ~torch.isin(self.rows[held], rows)
        return Listed(*(values[held][others] for values in (self.embeddings, self.labels, self.components, self.rows)))


@torch.no_grad()
def adapted(past: Listed, current: Tensor) -> Listed:
    """Past embeddings as if the present encoder had made them, as far as mean and spread tell (XBN, arXiv 2303.17127).

    An encoder drifts while it is trained, and with it where its embeddings lie. Each dimension of the past gets the
    mean and standard deviation of the current batch; rows are brought back to unit length.

    Args:
        past: m entries of the memory; with fewer than two nothing is known of their spread, and they stay.
        current: The batch, float32 [b, d].
    """
    if min(len(past.labels), len(current)) < 2:
        return past
    spread, mean = torch.std_mean(past.embeddings, dim=0)  # [d] each
    to_spread, to_mean = torch.std_mean(current, dim=0)
    moved = (past.embeddings - mean) / spread.clamp(min=1e-6) * to_spread + to_mean
    return past._replace(embeddings=functional.normalize(moved))
