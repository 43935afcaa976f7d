"""Contrastive loss over a batch and a cross-batch memory, on the pairs that multi-similarity mining keeps.

The loss is pytorch-metric-learning's; which pairs it sees is decided here, since a label alone does not tell:
listings that share a picture, a phash or a title across label groups are unreliable negatives, so a pair in one
component with two labels is neither positive nor negative.
"""

from typing import NamedTuple

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ContrastiveLoss
from torch import Tensor, nn

from shared.memory import CrossBatchMemory, Listed


class Loss(NamedTuple):
    """A step's loss (a scalar tensor) and what it was made of."""

    value: Tensor
    positives: int
    negatives: int


def pair_masks(batch: Listed, reference: Listed) -> tuple[Tensor, Tensor]:
    """Which pairs match and which do not, two bool [b, m]; a listing and its own copy is neither."""
    same_label = batch.labels[:, None] == reference.labels[None, :]  # [b, m]
    same_component = batch.components[:, None] == reference.components[None, :]  # [b, m]
    itself = batch.rows[:, None] == reference.rows[None, :]  # [b, m]
    return same_label & ~itself, ~same_label & ~same_component


def mine(similarity: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Multi-similarity mining (arXiv 1904.06627, section 4.1): the pairs an anchor can still learn from.

    A positive is kept when it is less similar than the anchor's hardest negative plus epsilon, a negative when it is
    more similar than the anchor's hardest positive minus epsilon. An anchor without positives keeps no negatives,
    and the other way round, as in pytorch-metric-learning's miner.

    Args:
        similarity: Cosine, float [b, m].
        positive: Pairs that match, bool [b, m].
        negative: Pairs that do not, bool [b, m].
        epsilon: Slack, in cosine.
    """
    hardest_negative = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)  # [b, 1]
    hardest_positive = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)  # [b, 1]
    return positive & (similarity - epsilon < hardest_negative), negative & (similarity + epsilon > hardest_positive)


class MemoryContrastiveLoss(nn.Module):
    """Contrastive loss on cosine similarity within the batch, plus the same between the batch and the memory.

    Args:
        memory: Past embeddings; None compares within the batch only.
        positive_margin: A positive pair costs `positive_margin - cosine`, if that is above zero.
        negative_margin: A negative pair costs `cosine - negative_margin`, if that is above zero.
        epsilon: Slack of the mining; None keeps every pair.
    """

    def __init__(
        self, memory: CrossBatchMemory | None, positive_margin: float, negative_margin: float, epsilon: float | None
    ) -> None:
        super().__init__()
        self.memory = memory
        self.epsilon = epsilon
        self.contrastive = ContrastiveLoss(positive_margin, negative_margin, distance=CosineSimilarity())

    def forward(self, batch: Listed, use_memory: bool = True) -> Loss:
        """The loss of a batch, which then enters the memory.

        Hardest pairs are looked for in batch and memory together: most groups have two listings, so hardly an anchor
        would find a positive in the memory alone.

        Args:
            batch: The batch, embeddings with gradient.
            use_memory: Whether the memory is compared with, or only filled (warm-up).
        """
        past = self.memory.without(batch.rows) if self.memory is not None and use_memory else None
        references = [batch] if past is None else [batch, past]
        masks = [pair_masks(batch, reference) for reference in references]
        positive, negative = (torch.cat(parts, dim=1) for parts in zip(*masks, strict=True))  # [b, b + m] each
        if self.epsilon is not None:
            with torch.no_grad():
                similarity = batch.embeddings @ torch.cat([r.embeddings for r in references]).T  # [b, b + m]
                positive, negative = mine(similarity, positive, negative, self.epsilon)
        value, start = batch.embeddings.sum() * 0, 0
        for reference in references:
            columns = slice(start, start + len(reference.labels))
            value = value + self._contrast(batch, reference, positive[:, columns], negative[:, columns])
            start = columns.stop
        if self.memory is not None:
            self.memory.add(batch)
        return Loss(value, int(positive.sum()), int(negative.sum()))

    def _contrast(self, batch: Listed, reference: Listed, positive: Tensor, negative: Tensor) -> Tensor:
        pairs = (*torch.nonzero(positive, as_tuple=True), *torch.nonzero(negative, as_tuple=True))
        loss: Tensor = self.contrastive(batch.embeddings, batch.labels, pairs, reference.embeddings, reference.labels)
        return loss
