"""What the processes of one training tell each other, so that together they compute what one would.

The batch is cut into a slice for each process. Each encodes its own and gets the others' embeddings, without gradient;
all compute the same loss of the whole batch. That loss's gradient is the sum over the processes of what flows back
through each one's slice, so gradients are added up, not averaged. Alone, a process pays nothing for any of this.
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


def bounds(count: int, rank: int | None = None) -> tuple[int, int]:
    """Where a process's slice of `count` items begins and ends; sizes differ by one at most.

    Args:
        count: Items in all.
        rank: The process; this one when None.
    """
    at, size = processes.rank() if rank is None else rank, processes.size()
    return count * at // size, count * (at + 1) // size


def share(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """What this process loads of a batch: its slice, or the first item where that is empty; see `encoding`."""
    start, end = bounds(len(positions))
    return positions[start:end] if end > start else positions[:1]


@contextmanager
def encoding(count: int) -> Iterator[None]:
    """Leave an item that was loaded only for want of one out of the statistics of the batch that is encoded meanwhile.

    It is encoded all the same: no transformer runs on nothing, and the others wait in `GlobalBatchNorm1d`.

    Args:
        count: Listings in the batch.
    """
    start, end = bounds(count)
    GlobalBatchNorm1d.counted = end > start
    try:
        yield
    finally:
        GlobalBatchNorm1d.counted = True


def gathered(own: Tensor, count: int) -> Tensor:
    """The embeddings of a whole batch, in its order and the same bits in every process.

    Args:
        own: Embeddings of what this process loaded, float [m, d].
        count: Listings in the batch, n.

    Returns:
        float [n, d]; gradient flows to `own` alone.
    """
    if processes.size() == 1:
        return own
    slices = [bounds(count, rank) for rank in range(processes.size())]
    start, end = slices[processes.rank()]
    own = own[: end - start]
    padded = own.new_zeros(max(end - start for start, end in slices), own.shape[1])
    padded[: len(own)] = own.detach()
    received = [torch.empty_like(padded) for _ in slices]
    dist.all_gather(received, padded)
    parts = [part[: end - start] for part, (start, end) in zip(received, slices, strict=True)]
    parts[processes.rank()] = own
    return torch.cat(parts)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up every process's gradients, in one buffer for each dtype. A parameter that none used keeps none."""
    if processes.size() == 1:
        return
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    for dtype in dict.fromkeys(parameter.dtype for parameter in learned):
        group = [parameter for parameter in learned if parameter.dtype == dtype]
        used = torch.tensor([p.grad is not None for p in group], dtype=dtype, device=group[0].device)
        values = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in group]
        flat = torch.cat([*values, used])
        dist.all_reduce(flat)
        *sums, used = torch.split(flat, [p.numel() for p in group] + [len(group)])
        for parameter, total, users in zip(group, sums, used.tolist(), strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(total.view_as(parameter)) if users else None


def copy_first(tensors: Iterable[Tensor]) -> None:
    """Give tensors the values they have in the first process."""
    if processes.size() == 1:
        return
    with torch.no_grad():
        for tensor in tensors:
            values = tensor.detach().contiguous()
            dist.broadcast(values, 0)
            tensor.copy_(values)


def require_same(what: str, value: Any) -> None:
    """Make sure that a text is the same in every process.

    Raises:
        MatcherError: It is not; raised in all of them.
    """
    if processes.size() == 1:
        return
    own = torch.tensor(list(hashlib.sha256(str(value).encode()).digest()), dtype=torch.uint8)
    digests = [torch.empty_like(own) for _ in range(processes.size())]
    dist.all_gather(digests, own)
    if any(not torch.equal(digest, digests[0]) for digest in digests):
        raise MatcherError(f"the processes of torchrun differ in {what}; all must see the same files and devices")


class GlobalBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm over the whole batch, wherever its parts are; torch's own, SyncBatchNorm, needs GPUs.

    Alone, and in evaluation, it is `nn.BatchNorm1d`. With several processes each must run it.

    Args:
        features: Length of a row.
    """

    counted = True  # whether this process's rows belong to the batch; see `encoding`

    def __init__(self, features: int) -> None:
        super().__init__(features)

    def forward(self, values: Tensor) -> Tensor:
        """Float [m, features] → the same, of mean 0 and variance 1 over all processes' rows, then scaled and shifted.

        Raises:
            ValueError: There is but one row in all.
        """
        if not self.training or processes.size() == 1:
            return super().forward(values)
        rows = slice(None if self.counted else 0)
        own = values[rows]
        sums = _Sum.apply(torch.cat([own.sum(dim=0), own.new_tensor([len(own)])]))  # [features + 1]
        count = sums[-1].detach()
        if count < 2:
            raise ValueError("BatchNorm needs two rows to train on")
        mean = sums[:-1] / count
        centered = values - mean
        variance = _Sum.apply(centered[rows].square().sum(dim=0)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normed: Tensor = centered * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normed

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the statistics that evaluation uses."""
        for running, present in ((self.running_mean, mean), (self.running_var, variance)):
            running.lerp_(present.to(running.dtype), self.momentum)  # type: ignore[union-attr, arg-type]
        self.num_batches_tracked.add_(1)  # type: ignore[union-attr]


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each one's gradient of it counts, so the gradient is the sum of theirs."""

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
