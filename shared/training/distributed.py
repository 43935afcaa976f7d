"""Train in several processes, which together compute what one process would.

The batch is cut into one slice per process. Each process encodes its slice and receives the embeddings of the others,
without gradient; all compute the same loss of the whole batch. The gradient of that loss is the sum over the processes
of what flows back through their slices, so gradients are added up, not averaged. A single process skips all of this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from shared import processes
from shared.errors import MatcherError


def slice_bounds(count: int, rank: int | None = None) -> tuple[int, int]:
    """Return start and end of a process's slice of `count` items; sizes differ by at most one.

    Args:
        count: Number of items.
        rank: Rank of the process; None: this process.

    Examples:
        >>> slice_bounds(5)  # a single process takes all
        (0, 5)
    """
    rank, size = processes.rank() if rank is None else rank, processes.size()
    return count * rank // size, count * (rank + 1) // size


def local_positions(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return this process's slice of a batch; if that is empty, the first item as a stand-in, see `batch_statistics`.

    Args:
        positions: Positions of the whole batch, int64 [n].
    """
    start, end = slice_bounds(len(positions))
    return positions[start:end] if end > start else positions[:1]


@contextmanager
def batch_statistics(count: int) -> Iterator[None]:
    """Exclude a stand-in from BatchNorm's statistics while this process encodes a batch.

    A process whose slice is empty encodes a stand-in, since no transformer runs on an empty batch, and the other
    processes wait for it in `GlobalBatchNorm1d`.

    Args:
        count: Number of listings in the whole batch.
    """
    start, end = slice_bounds(count)
    GlobalBatchNorm1d.counts_rows = end > start
    try:
        yield
    finally:
        GlobalBatchNorm1d.counts_rows = True


def gather(local: Tensor, count: int) -> Tensor:
    """Return the embeddings of a whole batch, in its order and the same bits in every process.

    Args:
        local: Embeddings that this process computed, float [m, d].
        count: Number of listings in the whole batch, n.

    Returns:
        float [n, d]; gradient flows to `local` only.
    """
    if processes.size() == 1:
        return local
    slices = [slice_bounds(count, rank) for rank in range(processes.size())]
    start, end = slices[processes.rank()]
    local = local[: end - start]
    buffer = local.new_zeros(max(end - start for start, end in slices), local.shape[1])  # all_gather: equal sizes
    buffer[: len(local)] = local.detach()
    buffers = [torch.empty_like(buffer) for _ in slices]
    dist.all_gather(buffers, buffer)
    parts = [part[: end - start] for part, (start, end) in zip(buffers, slices, strict=True)]
    parts[processes.rank()] = local
    return torch.cat(parts)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in one buffer per dtype; a parameter that none used keeps no gradient."""
    if processes.size() == 1:
        return
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for dtype in dict.fromkeys(parameter.dtype for parameter in trainable):
        group = [parameter for parameter in trainable if parameter.dtype == dtype]
        used = torch.tensor([p.grad is not None for p in group], dtype=dtype, device=group[0].device)
        values = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in group]
        flat = torch.cat([*values, used])
        dist.all_reduce(flat)
        *sums, used = torch.split(flat, [p.numel() for p in group] + [len(group)])
        for parameter, total, users in zip(group, sums, used.tolist(), strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(total.view_as(parameter)) if users else None


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors in place with the values that the first process has."""
    if processes.size() == 1:
        return
    with torch.no_grad():
        for tensor in tensors:
            values = tensor.detach().contiguous()
            dist.broadcast(values, 0)
            tensor.copy_(values)


def require_equal(what: str, value: Any) -> None:
    """Check that a value is the same in every process.

    Args:
        what: Name of the value, for the message.
        value: Compared by its text.

    Raises:
        MatcherError: It is not; raised in all processes.
    """
    if processes.size() == 1:
        return
    local = torch.tensor(list(hashlib.sha256(str(value).encode()).digest()), dtype=torch.uint8)
    digests = [torch.empty_like(local) for _ in range(processes.size())]
    dist.all_gather(digests, local)
    if any(not torch.equal(digest, digests[0]) for digest in digests):
        raise MatcherError(f"the processes of torchrun differ in {what}; all must see the same files and devices")


class GlobalBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm over the rows of all processes; torch's SyncBatchNorm needs GPUs.

    In a single process, and in evaluation mode, it is `nn.BatchNorm1d`. In several processes, each must run it.

    Args:
        features: Length of a row.
    """

    counts_rows = True  # whether this process's rows belong to the batch; see `batch_statistics`

    def __init__(self, features: int) -> None:
        super().__init__(features)

    def forward(self, values: Tensor) -> Tensor:
        """Return rows with mean 0 and variance 1 over the rows of all processes, then scaled and shifted.

        Args:
            values: This process's rows, float [m, features].

        Raises:
            ValueError: All processes together have a single row.
        """
        if not self.training or processes.size() == 1:
            return super().forward(values)
        rows = slice(None if self.counts_rows else 0)
        local = values[rows]
        sums = _Sum.apply(torch.cat([local.sum(dim=0), local.new_tensor([len(local)])]))  # [features + 1]
        count = sums[-1].detach()
        if count < 2:
            raise ValueError("BatchNorm needs at least two rows in training")
        mean = sums[:-1] / count
        centered = values - mean
        variance = _Sum.apply(centered[rows].square().sum(dim=0)) / count
        self._update_running(mean.detach(), variance.detach() * count / (count - 1))
        output: Tensor = centered * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return output

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, used in evaluation mode, toward those of the batch."""
        for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
            running.lerp_(batch.to(running.dtype), self.momentum)  # type: ignore[union-attr, arg-type]
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total
