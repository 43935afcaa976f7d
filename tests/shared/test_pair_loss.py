"""The loss against a naive re-implementation, and the mining against pytorch-metric-learning's."""

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch.nn import functional

from shared.memory import CrossBatchMemory, Listed
from shared.pair_loss import MemoryContrastiveLoss, mine, pair_masks

MARGINS = (1.0, 0.3)


def listed(seed: int, count: int, first_row: int = 0, groups: int = 4, dim: int = 6) -> Listed:
    """Random listings; each component holds two label groups."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = functional.normalize(torch.randn(count, dim, generator=generator))
    labels = torch.randint(0, groups, (count,), generator=generator)
    return Listed(embeddings, labels, labels // 2, torch.arange(first_row, first_row + count))


def naive(batch: Listed, past: Listed | None, epsilon: float | None) -> float:
    """The same loss by loops over pairs; a mean over the pairs that cost something, of each kind and each reference."""
    entries = [("batch", *entry) for entry in zip(*batch, strict=True)]
    if past is not None:
        seen = set(batch.rows.tolist())
        entries += [("memory", *e) for e in zip(*past, strict=True) if int(e[3]) not in seen]
    costs: dict[tuple[str, str], list[float]] = {}
    for anchor, label, component, row in zip(*batch, strict=True):
        pairs = []
        for where, embedding, other_label, other_component, other_row in entries:
            cosine = float(anchor @ embedding)
            if other_label == label and other_row != row:
                pairs.append((where, "positive", cosine))
            elif other_label != label and other_component != component:
                pairs.append((where, "negative", cosine))
        positives = [cosine for _, kind, cosine in pairs if kind == "positive"]
        negatives = [cosine for _, kind, cosine in pairs if kind == "negative"]
        for where, kind, cosine in pairs:
            if epsilon is not None and kind == "positive" and not (negatives and cosine - epsilon < max(negatives)):
                continue
            if epsilon is not None and kind == "negative" and not (positives and cosine + epsilon > min(positives)):
                continue
            cost = MARGINS[0] - cosine if kind == "positive" else cosine - MARGINS[1]
            if cost > 0:
                costs.setdefault((where, kind), []).append(cost)
    return sum(sum(values) / len(values) for values in costs.values())


@pytest.mark.parametrize("epsilon", [None, 0.0, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_equal_to_the_naive_loss(seed, epsilon):
    batch, past = listed(seed, 8), listed(seed + 100, 12, first_row=4)  # rows 4 to 7 are in both
    memory = CrossBatchMemory(20, 6)
    memory.add(past)
    value = MemoryContrastiveLoss(memory, *MARGINS, epsilon)(batch).value
    assert value.item() == pytest.approx(naive(batch, past, epsilon), abs=1e-5)
    assert len(memory) == 20


def test_without_memory_or_overlap_it_is_the_bare_loss():
    batch = listed(0, 10)
    batch = batch._replace(components=batch.labels)
    bare = ContrastiveLoss(*MARGINS, distance=CosineSimilarity())(batch.embeddings, batch.labels)
    assert MemoryContrastiveLoss(None, *MARGINS, None)(batch).value.item() == pytest.approx(bare.item())


def test_a_memory_that_holds_the_batch_alone_adds_nothing():
    batch = listed(1, 8)
    memory = CrossBatchMemory(8, 6)
    memory.add(batch)
    with_copies, without = (MemoryContrastiveLoss(m, *MARGINS, 0.1)(batch) for m in (memory, None))
    assert with_copies.value.item() == without.value.item()
    assert with_copies[1:] == without[1:]


def test_a_memory_equal_to_the_batch_costs_what_the_batch_does_and_its_twins():
    """All labels differ, so the pairs are the batch's again and each listing with its twin."""
    batch = listed(2, 8, groups=4)._replace(labels=torch.arange(8), components=torch.arange(8))
    memory = CrossBatchMemory(8, 6)
    memory.add(batch._replace(rows=batch.rows + 100, labels=batch.labels + 100, components=batch.components + 100))
    bare = MemoryContrastiveLoss(None, 1.0, 0.0, None)(batch).value
    both = MemoryContrastiveLoss(memory, 1.0, 0.0, None)(batch).value
    # Beside the batch's pairs again, each listing meets its twin, a negative of cosine 1.
    negatives = (batch.embeddings @ batch.embeddings.T).flatten()
    expected = bare + negatives[negatives > 0].mean()
    assert both.item() == pytest.approx(expected.item(), abs=1e-5)


def test_during_the_warm_up_the_memory_is_filled_but_not_used():
    batch, memory = listed(3, 8), CrossBatchMemory(20, 6)
    memory.add(listed(4, 12, first_row=50))
    loss = MemoryContrastiveLoss(memory, *MARGINS, 0.1)
    assert loss(batch, use_memory=False).value.item() == pytest.approx(naive(batch, None, 0.1), abs=1e-5)
    assert len(memory) == 20


@pytest.mark.parametrize("seed", range(4))
def test_mining_keeps_the_pairs_of_the_librarys_miner(seed):
    batch = listed(seed, 12)
    batch = batch._replace(components=batch.labels)
    similarity = batch.embeddings @ batch.embeddings.T
    positive, negative = mine(similarity, *pair_masks(batch, batch), epsilon=0.1)
    a, p, b, n = MultiSimilarityMiner(0.1)(batch.embeddings, batch.labels)
    assert set(zip(a.tolist(), p.tolist(), strict=True)) == {tuple(pair) for pair in positive.nonzero().tolist()}
    assert set(zip(b.tolist(), n.tolist(), strict=True)) == {tuple(pair) for pair in negative.nonzero().tolist()}


def test_one_component_with_two_labels_is_neither_positive_nor_negative():
    batch = Listed(torch.eye(3), torch.tensor([0, 1, 2]), torch.tensor([5, 5, 6]), torch.arange(3))
    positive, negative = pair_masks(batch, batch)
    assert not positive.any()
    assert negative.tolist() == [[False, False, True], [False, False, True], [True, True, False]]


def test_no_pair_costs_nothing_and_still_has_a_gradient():
    embeddings = torch.eye(2).requires_grad_()
    loss = MemoryContrastiveLoss(None, *MARGINS, 0.1)(
        Listed(embeddings, torch.tensor([0, 1]), torch.tensor([3, 3]), torch.arange(2))
    )
    loss.value.backward()
    assert loss.value.item() == 0
    assert not embeddings.grad.any()


def test_past_embeddings_get_no_gradient_but_the_batch_does_from_them():
    batch, memory = listed(5, 6), CrossBatchMemory(20, 6)
    memory.add(listed(6, 12, first_row=50))
    embeddings = batch.embeddings.requires_grad_()
    MemoryContrastiveLoss(memory, *MARGINS, None)(batch._replace(embeddings=embeddings)).value.backward()
    assert embeddings.grad.abs().sum() > 0
    assert memory.embeddings.grad is None
