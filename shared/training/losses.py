"""Losses of an encoder: over pairs of a batch and a cross-batch memory, or over label groups.

The losses themselves are those of pytorch-metric-learning. Which pairs they see is decided here, since labels alone do
not suffice: listings of different label groups that share an image, a phash or a title are unreliable negatives. A
pair within one connected component but of two label groups is therefore neither positive nor negative.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pytorch_metric_learning.distances import DotProductSimilarity
from pytorch_metric_learning.losses import ArcFaceLoss, ContrastiveLoss, MultiSimilarityLoss, SupConLoss
from torch import Tensor, nn
from torch.nn import functional

from shared.training.config import TrainingConfig
from shared.training.cross_batch_memory import CrossBatchMemory, LabeledEmbeddings, cross_batch_normalize

ARCFACE_SCALE = 30.0  # as in published solutions of the competition; the paper's 64 is for millions of faces
LARGEST_SHARE = 32_768  # embeddings that a memory of a share of an epoch has at most


class Loss(NamedTuple):
    """The loss of a training step.

    Args:
        value: Scalar tensor with gradient.
        positives: Number of positive pairs it was computed from.
        negatives: Number of negative pairs.
    """

    value: Tensor
    positives: int
    negatives: int


def pair_masks(batch: LabeledEmbeddings, reference: LabeledEmbeddings) -> tuple[Tensor, Tensor]:
    """Return which pairs are positive and which are negative, two bool [b, m].

    A listing and its own copy is neither, nor is a pair of one component with two labels.

    Args:
        batch: b listings.
        reference: m listings, the batch itself or entries of the memory.

    Examples:
        >>> labels, components = torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0])
        >>> batch = LabeledEmbeddings(torch.eye(3), labels, components, torch.arange(3))
        >>> positive, negative = pair_masks(batch, batch)
        >>> positive.nonzero().tolist()
        [[0, 1], [1, 0]]
        >>> bool(negative.any())
        False
    """
    same_label = batch.labels[:, None] == reference.labels[None, :]  # [b, m]
    same_component = batch.components[:, None] == reference.components[None, :]  # [b, m]
    same_listing = batch.rows[:, None] == reference.rows[None, :]  # [b, m]
    return same_label & ~same_listing, ~same_label & ~same_component


def mine_pairs(similarity: Tensor, positive: Tensor, negative: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return the informative pairs of each anchor by multi-similarity mining (arXiv 1904.06627, section 4.1).

    A positive is kept if it is less similar than the anchor's hardest negative plus epsilon, a negative if it is more
    similar than the anchor's hardest positive minus epsilon. As in pytorch-metric-learning's miner, an anchor without
    positives keeps no negatives, and an anchor without negatives keeps no positives.

    Args:
        similarity: Cosine, float [b, m].
        positive: Pairs that match, bool [b, m].
        negative: Pairs that do not, bool [b, m].
        epsilon: Slack, in cosine.

    Returns:
        The positive and the negative pairs that are kept, two bool [b, m].

    Examples:
        >>> similarity = torch.tensor([[0.9, 0.4, 0.2]])
        >>> positive, negative = torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]])
        >>> mine_pairs(similarity, positive, negative, epsilon=0.1)  # already well apart
        (tensor([[False, False, False]]), tensor([[False, False, False]]))
        >>> mine_pairs(similarity, positive, negative, epsilon=0.6)
        (tensor([[ True, False, False]]), tensor([[False,  True, False]]))
    """
    hardest_negative = similarity.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)  # [b, 1]
    hardest_positive = similarity.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)  # [b, 1]
    return positive & (similarity - epsilon < hardest_negative), negative & (similarity + epsilon > hardest_positive)


def margin_progress(step: int, steps: int, ramp: float) -> float:
    """Return how far the negative margin has moved from 1 to its value at a step, in (0, 1].

    It moves linearly over the first `ramp` of the steps.

    Args:
        step: The step, from 0.
        steps: Number of steps of the training.
        ramp: Share of the steps, in [0, 1].
    """
    return min(1.0, (step + 1) / max(1, round(steps * ramp)))


class CrossBatchLoss(nn.Module):
    """A loss over pairs within the batch and between batch and memory (arXiv 1912.06798, section 3).

    With `contrastive` a positive pair costs `positive_margin - cosine` and a negative pair `cosine - negative_margin`,
    where that is above zero. It and `multi_similarity` are computed within the batch and between batch and memory, and
    added. With `softmax` each anchor picks its positives out of all its pairs in batch and memory: the cost of a
    positive is the negative logarithm of its softmax probability, averaged over the positives of an anchor and then
    over anchors (arXiv 2004.11362, equation 2; with one positive NT-Xent, arXiv 2002.05709). Since the softmax itself
    gives hard pairs more weight, it has no mining.

    Args:
        memory: Past embeddings; None: compare within the batch only.
        config: Settings.

    Examples:
        >>> loss = CrossBatchLoss(CrossBatchMemory(8, 2), TrainingConfig(miner_epsilon=None, negative_margin=0.0))
        >>> labels, rows = torch.tensor([0, 0]), torch.arange(2)
        >>> first = LabeledEmbeddings(torch.eye(2), labels, labels, rows)
        >>> loss(first)  # two orthogonal listings of one label group, seen from either side: 1 - 0
        Loss(value=tensor(1.), positives=2, negatives=0)
        >>> second = LabeledEmbeddings(torch.eye(2), labels + 1, labels + 1, rows + 2)
        >>> loss(second)  # and each equals a listing of another label group in the memory: 1 - 0
        Loss(value=tensor(2.), positives=2, negatives=4)
    """

    def __init__(self, memory: CrossBatchMemory | None, config: TrainingConfig) -> None:
        super().__init__()
        self.memory = memory
        self.config = config
        self.pair_loss: nn.Module
        # Embeddings are unit rows, so the memory is not normalized again.
        cosine = DotProductSimilarity(normalize_embeddings=False)
        if config.loss == "contrastive":
            margins = config.positive_margin, config.negative_margin
            self.pair_loss = ContrastiveLoss(*margins, distance=cosine)
        elif config.loss == "softmax":
            self.pair_loss = SupConLoss(config.temperature, distance=cosine)
        else:
            self.pair_loss = MultiSimilarityLoss(distance=cosine)

    def forward(self, batch: LabeledEmbeddings, use_memory: bool = True, progress: float = 1.0) -> Loss:
        """Return the loss of a batch, and store the batch in the memory.

        Pairs are mined in batch and memory together: most label groups have two listings, so few anchors have a
        positive in the memory alone.

        Args:
            batch: The batch, embeddings with gradient.
            use_memory: Whether to compare with the memory, or only to fill it (warm-up).
            progress: How far the negative margin has moved from 1, where no negative costs anything, to its value.
        """
        if isinstance(self.pair_loss, ContrastiveLoss):
            self.pair_loss.neg_margin = 1 - progress * (1 - self.config.negative_margin)
        references = [batch, *self._past(batch, use_memory)]
        everything = LabeledEmbeddings(*(torch.cat(parts) for parts in zip(*references, strict=True)))
        positive, negative = pair_masks(batch, everything)  # [b, b + m] each
        if isinstance(self.pair_loss, SupConLoss):
            references = [everything]
        elif self.config.miner_epsilon is not None:
            with torch.no_grad():
                similarity = batch.embeddings @ everything.embeddings.T  # [b, b + m]
                positive, negative = mine_pairs(similarity, positive, negative, self.config.miner_epsilon)
        value, start = batch.embeddings.sum() * 0, 0
        for reference in references:
            columns = slice(start, start + len(reference.labels))
            value = value + self._cost(batch, reference, positive[:, columns], negative[:, columns])
            start = columns.stop
        if self.memory is not None:
            self.memory.add(batch)
        return Loss(value, int(positive.sum()), int(negative.sum()))

    def _past(self, batch: LabeledEmbeddings, use_memory: bool) -> list[LabeledEmbeddings]:
        """Return the memory without the batch's own listings; nothing while the memory is not used."""
        if self.memory is None or not use_memory:
            return []
        past = self.memory.exclude(batch.rows)
        return [cross_batch_normalize(past, batch.embeddings) if self.config.xbn else past]

    def _cost(
        self, batch: LabeledEmbeddings, reference: LabeledEmbeddings, positive: Tensor, negative: Tensor
    ) -> Tensor:
        pairs = (*torch.nonzero(positive, as_tuple=True), *torch.nonzero(negative, as_tuple=True))
        loss: Tensor = self.pair_loss(batch.embeddings, batch.labels, pairs, reference.embeddings, reference.labels)
        return loss


class ArcFace(nn.Module):
    """ArcFace (arXiv 1801.07698): each label group has a direction, which is learned together with the encoder.

    Args:
        dim: Length of an embedding.
        groups: Number of label groups; labels are 0 to `groups` - 1.
    """

    memory: CrossBatchMemory | None = None

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.arcface = ArcFaceLoss(groups, dim, scale=ARCFACE_SCALE)
        with torch.no_grad():  # the size of AdamW's steps does not depend on length: long directions would hardly turn
            self.arcface.W.copy_(functional.normalize(self.arcface.W, dim=0))

    def forward(self, batch: LabeledEmbeddings, use_memory: bool = True, progress: float = 1.0) -> Loss:
        """Return the loss of a batch; arguments as for `CrossBatchLoss`, of which only `batch` is used."""
        groups, count = self.arcface.W.shape[1], len(batch.labels)
        return Loss(self.arcface(batch.embeddings, batch.labels), count, count * (groups - 1))


def make_loss(config: TrainingConfig, dim: int, groups: int, epoch: int) -> CrossBatchLoss | ArcFace:
    """Return the loss that the settings ask for.

    Args:
        config: Settings.
        dim: Length of an embedding.
        groups: Number of label groups; labels are 0 to `groups` - 1.
        epoch: Number of listings drawn per epoch.
    """
    if config.loss == "arcface":
        return ArcFace(dim, groups)
    size = memory_entries(config, epoch)
    return CrossBatchLoss(CrossBatchMemory(size, dim) if size else None, config)


def memory_entries(config: TrainingConfig, epoch: int) -> int:
    """Return the largest number of embeddings in the memory: at least a batch, unless there is none.

    A share of an epoch gives at most `LARGEST_SHARE`, so that a step of a very large catalog takes no longer.

    Args:
        config: Settings.
        epoch: Number of listings drawn per epoch.

    Examples:
        >>> [memory_entries(TrainingConfig(memory_size=size), epoch=2000) for size in (0, 0.01, 0.25, 1, 4096)]
        [0, 64, 500, 2000, 4096]
        >>> memory_entries(TrainingConfig(memory_size=0.75), epoch=1_000_000)
        32768
    """
    if not config.memory_size:
        return 0
    size = min(config.memory_size * epoch, LARGEST_SHARE) if config.memory_size <= 1 else config.memory_size
    return max(round(size), config.batch_size, config.listings_per_group)
