from collections import deque
from typing import Any

import pytest
import torch

from shared.training.cross_batch_memory import CrossBatchMemory, LabeledEmbeddings


def batch_of(start: int, count: int, dim: int = 3) -> LabeledEmbeddings:
    rows = torch.arange(start, start + count)
    return LabeledEmbeddings(torch.randn(count, dim), rows // 2, rows // 4, rows)


def test_add_keeps_latest_like_deque():
    memory, oracle = CrossBatchMemory(7, 3), deque[Any](maxlen=7)
    for start, count in [(0, 4), (4, 2), (6, 5), (11, 7), (18, 1)]:
        batch = batch_of(start, count)
        memory.add(batch)
        oracle.extend(zip(*batch, strict=True))
        held = memory.exclude(torch.tensor([], dtype=torch.long))
        assert len(memory) == len(oracle)
        assert sorted(held.rows.tolist()) == sorted(int(row) for *_, row in oracle)
        for embedding, label, component, row in oracle:
            at = held.rows.tolist().index(int(row))
            assert torch.equal(held.embeddings[at], embedding)
            assert (held.labels[at], held.components[at]) == (label, component)


def test_exclude_rows():
    memory = CrossBatchMemory(8, 3)
    memory.add(batch_of(0, 6))
    assert memory.exclude(torch.tensor([1, 4, 99])).rows.tolist() == [0, 2, 3, 5]


@pytest.mark.fault(24)
def test_state_dict_continues_exactly():
    one, other = CrossBatchMemory(5, 3), CrossBatchMemory(5, 3)
    one.add(batch_of(0, 4))
    other.load_state_dict(one.state_dict())
    batch = batch_of(4, 3)
    for memory in (one, other):
        memory.add(batch)
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())
    assert int(other.pointer) == 2
    assert len(other) == 5


def test_add_detaches():
    memory = CrossBatchMemory(4, 3)
    batch = batch_of(0, 2)
    memory.add(batch._replace(embeddings=batch.embeddings.requires_grad_()))
    assert not memory.embeddings.requires_grad


def test_add_batch_larger_than_memory():
    with pytest.raises(ValueError, match="5 listings does not fit into a memory of 4"):
        CrossBatchMemory(4, 3).add(batch_of(0, 5))
