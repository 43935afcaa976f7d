"""The loss against a naive re-implementation, and the mining against pytorch-metric-learning's."""

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ContrastiveLoss, MultiSimilarityLoss, SupConLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch.nn import functional

from shared.training.config import TrainingConfig
from shared.training.cross_batch_memory import CrossBatchMemory, LabeledEmbeddings, cross_batch_normalize
from shared.training.losses import (
    ArcFace,
    CrossBatchLoss,
    make_loss,
    margin_progress,
    memory_entries,
    mine_pairs,
    pair_masks,
)

MARGINS = (1.0, 0.3)


def memory_loss(memory, epsilon, **settings):
    """The contrastive loss with the margins of this file."""
    positive, negative = MARGINS
    margins = {"positive_margin": positive, "negative_margin": negative}
    return CrossBatchLoss(memory, TrainingConfig(miner_epsilon=epsilon, **(margins | settings)))


def batch_of(seed: int, count: int, first_row: int = 0, groups: int = 4, dim: int = 6) -> LabeledEmbeddings:
    """Random listings; each component holds two label groups."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = functional.normalize(torch.randn(count, dim, generator=generator))
    labels = torch.randint(0, groups, (count,), generator=generator)
    return LabeledEmbeddings(embeddings, labels, labels // 2, torch.arange(first_row, first_row + count))


def naive(batch: LabeledEmbeddings, past: LabeledEmbeddings | None, epsilon: float | None) -> float:
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
def test_loss_equals_naive(seed, epsilon):
    batch, past = batch_of(seed, 8), batch_of(seed + 100, 12, first_row=4)  # rows 4 to 7 are in both
    memory = CrossBatchMemory(20, 6)
    memory.add(past)
    value = memory_loss(memory, epsilon)(batch).value
    assert value.item() == pytest.approx(naive(batch, past, epsilon), abs=1e-5)
    assert len(memory) == 20


def test_loss_without_memory_equals_library():
    batch = batch_of(0, 10)
    batch = batch._replace(components=batch.labels)
    bare = ContrastiveLoss(*MARGINS, distance=CosineSimilarity())(batch.embeddings, batch.labels)
    assert memory_loss(None, None)(batch).value.item() == pytest.approx(bare.item())


def test_memory_of_the_batch_alone_adds_nothing():
    batch = batch_of(1, 8)
    memory = CrossBatchMemory(8, 6)
    memory.add(batch)
    with_copies, without = (memory_loss(m, 0.1)(batch) for m in (memory, None))
    assert with_copies.value.item() == without.value.item()
    assert with_copies[1:] == without[1:]


def test_memory_of_twins_adds_batch_and_twins():
    """All labels differ, so the pairs are the batch's again and each listing with its twin."""
    batch = batch_of(2, 8, groups=4)._replace(labels=torch.arange(8), components=torch.arange(8))
    memory = CrossBatchMemory(8, 6)
    memory.add(batch._replace(rows=batch.rows + 100, labels=batch.labels + 100, components=batch.components + 100))
    bare = memory_loss(None, None, negative_margin=0.0)(batch).value
    both = memory_loss(memory, None, negative_margin=0.0)(batch).value
    # Beside the batch's pairs again, each listing meets its twin, a negative of cosine 1.
    negatives = (batch.embeddings @ batch.embeddings.T).flatten()
    expected = bare + negatives[negatives > 0].mean()
    assert both.item() == pytest.approx(expected.item(), abs=1e-5)


def test_memory_is_filled_during_warmup():
    batch, memory = batch_of(3, 8), CrossBatchMemory(20, 6)
    memory.add(batch_of(4, 12, first_row=50))
    loss = memory_loss(memory, 0.1)
    assert loss(batch, use_memory=False).value.item() == pytest.approx(naive(batch, None, 0.1), abs=1e-5)
    assert len(memory) == 20


@pytest.mark.parametrize("seed", range(4))
def test_mine_pairs_equals_library(seed):
    batch = batch_of(seed, 12)
    batch = batch._replace(components=batch.labels)
    similarity = batch.embeddings @ batch.embeddings.T
    positive, negative = mine_pairs(similarity, *pair_masks(batch, batch), epsilon=0.1)
    a, p, b, n = MultiSimilarityMiner(0.1)(batch.embeddings, batch.labels)
    assert set(zip(a.tolist(), p.tolist(), strict=True)) == {tuple(pair) for pair in positive.nonzero().tolist()}
    assert set(zip(b.tolist(), n.tolist(), strict=True)) == {tuple(pair) for pair in negative.nonzero().tolist()}


def test_pair_masks_of_component_with_two_labels():
    batch = LabeledEmbeddings(torch.eye(3), torch.tensor([0, 1, 2]), torch.tensor([5, 5, 6]), torch.arange(3))
    positive, negative = pair_masks(batch, batch)
    assert not positive.any()
    assert negative.tolist() == [[False, False, True], [False, False, True], [True, True, False]]


def test_loss_without_pairs_is_zero_with_gradient():
    embeddings = torch.eye(2).requires_grad_()
    loss = memory_loss(None, 0.1)(
        LabeledEmbeddings(embeddings, torch.tensor([0, 1]), torch.tensor([3, 3]), torch.arange(2))
    )
    loss.value.backward()
    assert loss.value.item() == 0
    assert not embeddings.grad.any()


def test_gradient_flows_to_batch_alone():
    batch, memory = batch_of(5, 6), CrossBatchMemory(20, 6)
    memory.add(batch_of(6, 12, first_row=50))
    embeddings = batch.embeddings.requires_grad_()
    memory_loss(memory, None)(batch._replace(embeddings=embeddings)).value.backward()
    assert embeddings.grad.abs().sum() > 0
    assert memory.embeddings.grad is None


def test_progress_moves_negative_margin():
    batch = batch_of(7, 10)._replace(components=torch.arange(10))
    loss = memory_loss(None, None)
    eased = loss(batch, progress=0.5).value.item()
    assert eased == pytest.approx(memory_loss(None, None, negative_margin=0.65)(batch).value.item())
    positives_alone = memory_loss(None, None, negative_margin=1.0)(batch).value.item()
    assert loss(batch, progress=0.0).value.item() == pytest.approx(positives_alone)
    assert loss(batch).value.item() == memory_loss(None, None)(batch).value.item()


def test_margin_progress():
    assert [margin_progress(step, 10, 0.0) for step in (0, 9)] == [1, 1]
    assert [margin_progress(step, 10, 0.5) for step in range(7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


@pytest.mark.parametrize("seed", range(3))
def test_multi_similarity_equals_library(seed):
    batch, past = batch_of(seed, 8), batch_of(seed + 50, 12, first_row=30)
    batch, past = (entry._replace(components=entry.labels) for entry in (batch, past))
    memory = CrossBatchMemory(20, 6)
    memory.add(past)
    library = MultiSimilarityLoss(distance=CosineSimilarity())
    expected = library(batch.embeddings, batch.labels)
    expected += library(batch.embeddings, batch.labels, ref_emb=past.embeddings, ref_labels=past.labels)
    found = memory_loss(memory, None, loss="multi_similarity")(batch).value
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def softmax_by_loops(batch: LabeledEmbeddings, past: LabeledEmbeddings, temperature: float) -> float:
    """Mean over anchors of the mean over their positives of -log softmax, among the pairs that are not left out."""
    entries = list(zip(*(torch.cat(parts) for parts in zip(batch, past, strict=True)), strict=True))
    seen, costs = set(batch.rows.tolist()), []
    for anchor, label, component, row in zip(*batch, strict=True):
        logits, positive = [], []
        for place, (embedding, other_label, other_component, other_row) in enumerate(entries):
            own = int(other_row) == int(row) or (place >= len(batch.rows) and int(other_row) in seen)
            if not own and (other_label == label or other_component != component):
                logits.append(float(anchor @ embedding) / temperature)
                positive.append(bool(other_label == label))
        total = torch.tensor(logits).logsumexp(dim=0)
        chosen = [float(total) - logit for logit, hit in zip(logits, positive, strict=True) if hit]
        if chosen:
            costs.append(sum(chosen) / len(chosen))
    return sum(costs) / len(costs)


@pytest.mark.parametrize("seed", range(5))
def test_softmax_equals_loops(seed):
    batch, past = batch_of(seed, 8), batch_of(seed + 100, 12, first_row=4)  # rows 4 to 7 are in both
    memory = CrossBatchMemory(20, 6)
    memory.add(past)
    loss = memory_loss(memory, 0.1, loss="softmax", temperature=0.2)(batch)
    assert loss.value.item() == pytest.approx(softmax_by_loops(batch, past, 0.2), abs=1e-5)
    assert loss[1:] == memory_loss(memory, None)(batch)[1:]  # every pair counts, whatever the mining
    assert len(memory) == 20


def test_softmax_without_memory_equals_library():
    batch = batch_of(0, 10)
    batch = batch._replace(components=batch.labels)
    bare = SupConLoss(0.05)(batch.embeddings, batch.labels)
    assert memory_loss(None, 0.1, loss="softmax")(batch).value.item() == pytest.approx(bare.item())


def test_softmax_gradient_equals_slope():
    batch, past = batch_of(5, 6), batch_of(6, 12, first_row=50)

    def value(embeddings):
        memory = CrossBatchMemory(20, 6)
        memory.add(past)
        loss = memory_loss(memory, None, loss="softmax", temperature=0.2)
        return loss(batch._replace(embeddings=embeddings)).value

    value(batch.embeddings.requires_grad_()).backward()
    step = torch.zeros(6, 6)
    step[2, 1] = 1e-2
    slope = (value(batch.embeddings + step) - value(batch.embeddings - step)).item() / 2e-2
    assert batch.embeddings.grad[2, 1].item() == pytest.approx(slope, rel=1e-2)


@pytest.mark.parametrize("labels", [[0, 0], [0, 1]])
def test_softmax_without_positive_or_negative_pair_is_zero_with_gradient(labels):
    embeddings = torch.eye(2).requires_grad_()
    batch = LabeledEmbeddings(embeddings, torch.tensor(labels), torch.tensor(labels), torch.arange(2))
    loss = memory_loss(None, 0.1, loss="softmax")(batch)
    loss.value.backward()
    assert loss.value.item() == 0
    assert not embeddings.grad.any()


def test_arcface_learns_directions():
    loss = make_loss(TrainingConfig(loss="arcface"), dim=6, groups=4, epoch=8)
    assert isinstance(loss, ArcFace)
    assert loss.memory is None
    assert torch.allclose(loss.arcface.W.norm(dim=0), torch.ones(4))
    batch = batch_of(3, 8)
    made = loss(batch._replace(embeddings=batch.embeddings.requires_grad_()))
    made.value.backward()
    assert made[1:] == (8, 24)
    assert loss.arcface.W.grad.abs().sum() > 0
    assert batch.embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("size", "entries"), [(0, 0), (0.001, 64), (0.25, 250), (1, 1000), (65, 65), (2, 64), (4096, 4096)]
)
def test_memory_size_is_share_or_number(size, entries):
    config = TrainingConfig(memory_size=size, batch_size=64)
    assert memory_entries(config, epoch=1000) == entries
    memory = make_loss(config, 6, 4, epoch=1000).memory
    assert (0 if memory is None else len(memory.labels)) == entries


def test_memory_holds_a_batch_larger_than_batch_size():
    config = TrainingConfig(memory_size=0.01, batch_size=4, listings_per_group=6)
    loss, batch = make_loss(config, 6, 4, epoch=12), batch_of(1, 6)
    assert loss(batch).value.isfinite()
    assert len(loss.memory) == 6


def test_cross_batch_normalize_matches_moments(monkeypatch):
    past, current = batch_of(1, 200, dim=5), batch_of(2, 100, dim=5).embeddings * torch.tensor([1, 2, 3, 1, 1]) + 0.5
    monkeypatch.setattr("shared.training.cross_batch_memory.functional.normalize", lambda values: values)
    moved = cross_batch_normalize(past, current).embeddings
    assert torch.allclose(moved.mean(dim=0), current.mean(dim=0), atol=1e-5)
    assert torch.allclose(moved.std(dim=0), current.std(dim=0), atol=1e-5)


def test_cross_batch_normalize_undoes_drift():
    """Embeddings that moved by a fixed step and were normalized again come back near to where they are now."""
    now = batch_of(4, 400, dim=8)
    drifted = now._replace(embeddings=functional.normalize(now.embeddings + torch.tensor([0.8] + [0.0] * 7)))
    back = cross_batch_normalize(drifted, now.embeddings[:200])
    before, after = ((now.embeddings * e).sum(dim=1).mean() for e in (drifted.embeddings, back.embeddings))
    assert after > before + 0.05
    assert torch.allclose(back.embeddings.norm(dim=1), torch.ones(400), atol=1e-6)
    assert torch.equal(back.labels, now.labels)


@pytest.mark.parametrize(("past", "current"), [(1, 8), (0, 8), (8, 1)])
def test_cross_batch_normalize_of_few_embeddings(past, current):
    entries = batch_of(1, past)
    assert torch.equal(cross_batch_normalize(entries, batch_of(2, current).embeddings).embeddings, entries.embeddings)


def test_loss_with_xbn():
    batch, memories = batch_of(3, 8), [CrossBatchMemory(20, 6) for _ in range(2)]
    for memory in memories:
        memory.add(batch_of(4, 12, first_row=50))
    plain, matched = (memory_loss(m, 0.1, xbn=a)(batch) for m, a in zip(memories, (False, True), strict=True))
    assert plain.value.item() != matched.value.item()
    assert torch.equal(memories[0].embeddings, memories[1].embeddings)  # what is stored is as the encoder made it
