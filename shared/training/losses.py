"""The losses an encoder learns from: over pairs of a batch and a cross-batch memory, or over label groups.

The losses themselves are pytorch-metric-learning's; which pairs they see is decided here, since a label alone does not
tell: listings that share a picture, a phash or a title across label groups are unreliable negatives, so a pair in one
component with two labels is neither positive nor negative.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ArcFaceLoss, ContrastiveLoss, MultiSimilarityLoss
from torch import Tensor, nn
from torch.nn import functional

from shared.training.config import TrainingConfig
from shared.training.cross_batch_memory import CrossBatchMemory, Listed, adapted

ARCFACE_SCALE = 30.0  # published solutions of the competition took this; the paper's 64 is for faces by the million


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


def strictness(step: int, steps: int, ramp: float) -> float:
    """How much of the margin counts at a step, in [0, 1]: a linear rise over the first `ramp` of the steps."""
    return min(1.0, (step + 1) / max(1, round(steps * ramp)))


class MemoryLoss(nn.Module):
    """A pair loss within the batch, plus the same between the batch and the memory (arXiv 1912.06798, section 3).

    Args:
        memory: Past embeddings; None compares within the batch only.
        recipe: Settings. With `contrastive` a positive pair costs `positive_margin - cosine` and a negative pair
            `cosine - negative_margin`, if that is above zero.
    """

    def __init__(self, memory: CrossBatchMemory | None, recipe: TrainingConfig) -> None:
        super().__init__()
        self.memory = memory
        self.recipe = recipe
        self.pair_loss: nn.Module
        if recipe.loss == "contrastive":
            margins = recipe.positive_margin, recipe.negative_margin
            self.pair_loss = ContrastiveLoss(*margins, distance=CosineSimilarity())
        else:
            self.pair_loss = MultiSimilarityLoss(distance=CosineSimilarity())

    def forward(self, batch: Listed, use_memory: bool = True, strict: float = 1.0) -> Loss:
        """The loss of a batch, which then enters the memory.

        Hardest pairs are looked for in batch and memory together: most groups have two listings, so hardly an anchor
        would find a positive in the memory alone.

        Args:
            batch: The batch, embeddings with gradient.
            use_memory: Whether the memory is compared with, or only filled (warm-up).
            strict: How far the negative margin has come from 1, where no negative costs anything, to its value.
        """
        if isinstance(self.pair_loss, ContrastiveLoss):
            self.pair_loss.neg_margin = 1 - strict * (1 - self.recipe.negative_margin)
        references = [batch, *self._past(batch, use_memory)]
        masks = [pair_masks(batch, reference) for reference in references]
        positive, negative = (torch.cat(parts, dim=1) for parts in zip(*masks, strict=True))  # [b, b + m] each
        if self.recipe.miner_epsilon is not None:
            with torch.no_grad():
                similarity = batch.embeddings @ torch.cat([r.embeddings for r in references]).T  # [b, b + m]
                positive, negative = mine(similarity, positive, negative, self.recipe.miner_epsilon)
        value, start = batch.embeddings.sum() * 0, 0
        for reference in references:
            columns = slice(start, start + len(reference.labels))
            value = value + self._cost(batch, reference, positive[:, columns], negative[:, columns])
            start = columns.stop
        if self.memory is not None:
            self.memory.add(batch)
        return Loss(value, int(positive.sum()), int(negative.sum()))

    def _past(self, batch: Listed, use_memory: bool) -> list[Listed]:
        """What the memory holds beside the batch's own copies; nothing while it is not used."""
        if self.memory is None or not use_memory:
            return []
        past = self.memory.without(batch.rows)
        return [adapted(past, batch.embeddings) if self.recipe.xbn else past]

    def _cost(self, batch: Listed, reference: Listed, positive: Tensor, negative: Tensor) -> Tensor:
        pairs = (*torch.nonzero(positive, as_tuple=True), *torch.nonzero(negative, as_tuple=True))
        loss: Tensor = self.pair_loss(batch.embeddings, batch.labels, pairs, reference.embeddings, reference.labels)
        return loss


class GroupLoss(nn.Module):
    """ArcFace (arXiv 1801.07698): each label group has a direction of its own, which is learned with the encoder.

    Args:
        dim: Length of an embedding.
        groups: Label groups, numbered from 0.
    """

    memory: CrossBatchMemory | None = None

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.arcface = ArcFaceLoss(groups, dim, scale=ARCFACE_SCALE)
        with torch.no_grad():  # AdamW's steps are of one size: long directions would hardly turn
            self.arcface.W.copy_(functional.normalize(self.arcface.W, dim=0))

    def forward(self, batch: Listed, use_memory: bool = True, strict: float = 1.0) -> Loss:
        """The loss of a batch; the arguments are those of `MemoryLoss`, of which it needs but the first."""
        groups, count = self.arcface.W.shape[1], len(batch.labels)
        return Loss(self.arcface(batch.embeddings, batch.labels), count, count * (groups - 1))


def make_loss(recipe: TrainingConfig, dim: int, groups: int) -> MemoryLoss | GroupLoss:
    """The loss that the settings ask for.

    Args:
        recipe: Settings.
        dim: Length of an embedding.
        groups: Label groups, numbered from 0.
    """
    if recipe.loss == "arcface":
        return GroupLoss(dim, groups)
    return MemoryLoss(CrossBatchMemory(recipe.memory, dim) if recipe.memory else None, recipe)
