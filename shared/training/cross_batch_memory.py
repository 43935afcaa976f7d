"""Cross-batch memory: embeddings of recent batches, compared with each new batch (arXiv 1912.06798)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class LabeledEmbeddings(NamedTuple):
    """Embeddings of m listings, with what decides which pairs of them match.

    Args:
        embeddings: float32 [m, d], unit rows.
        labels: Label group, int64 [m].
        components: Connected component over label group, image, phash and title, int64 [m].
        rows: Row of the listing in the training set, int64 [m].
    """

    embeddings: Tensor
    labels: Tensor
    components: Tensor
    rows: Tensor


class CrossBatchMemory(nn.Module):
    """A ring buffer of past embeddings.

    Its whole state, the position of the next write too, is in `state_dict`, so a resumed training continues exactly.

    Args:
        size: Largest number of embeddings.
        dim: Length of an embedding.

    Examples:
        >>> memory = CrossBatchMemory(size=4, dim=2)
        >>> for first in (0, 3):  # two batches of three listings, each listing a label group of its own
        ...     rows = torch.arange(first, first + 3)
        ...     memory.add(LabeledEmbeddings(torch.ones(3, 2), rows, rows, rows))
        >>> len(memory)
        4
        >>> memory.exclude(torch.tensor([5])).rows  # listings 0 and 1 were overwritten by 4 and 5
        tensor([4, 2, 3])
    """

    embeddings: Tensor
    labels: Tensor
    components: Tensor
    rows: Tensor
    pointer: Tensor
    count: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, dim))
        for name in ("labels", "components", "rows"):
            self.register_buffer(name, torch.full((size,), -1))
        self.register_buffer("pointer", torch.tensor(0))
        self.register_buffer("count", torch.tensor(0))

    def __len__(self) -> int:
        return int(self.count)

    @torch.no_grad()
    def add(self, batch: LabeledEmbeddings) -> None:
        """Store a batch, overwriting the oldest entries.

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
        self.count.copy_((self.count + count).clamp(max=size))

    def exclude(self, rows: Tensor) -> LabeledEmbeddings:
        """Return the entries of all listings but `rows`, in the order of the buffer.

        Args:
            rows: Rows of listings, int64 [b].
        """
        count = slice(len(self))
        others = ~torch.isin(self.rows[count], rows)
        buffers = (self.embeddings, self.labels, self.components, self.rows)
        return LabeledEmbeddings(*(values[count][others] for values in buffers))


@torch.no_grad()
def cross_batch_normalize(past: LabeledEmbeddings, current: Tensor) -> LabeledEmbeddings:
    """Return past embeddings with the mean and standard deviation of the current batch (XBN, arXiv 2303.17127).

    The encoder changes while it is trained, so older embeddings drift from where it would put them now. Each dimension
    of the past gets the mean and standard deviation of the current batch; rows are normalized to unit length again.

    Args:
        past: m entries of the memory; returned unchanged where m or b is below two.
        current: Embeddings of the batch, float32 [b, d].
    """
    if min(len(past.labels), len(current)) < 2:
        return past
    past_std, past_mean = torch.std_mean(past.embeddings, dim=0)  # [d] each
    std, mean = torch.std_mean(current, dim=0)
    moved = (past.embeddings - past_mean) / past_std.clamp(min=1e-6) * std + mean
    return past._replace(embeddings=functional.normalize(moved))
