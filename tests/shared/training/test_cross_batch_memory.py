from collections import deque
from typing import Any

import pytest
import torch

from shared.training.cross_batch_memory import CrossBatchMemory, Listed


def listed(start: int, count: int, dim: int = 3) -> Listed:
    rows = torch.arange(start, start + count)
    return Listed(torch.randn(count, dim), rows // 2, rows // 4, rows)


def test_it_holds_the_latest_entries_like_a_deque():
    memory, oracle = CrossBatchMemory(7, 3), deque[Any](maxlen=7)
    for start, count in [(0, 4), (4, 2), (6, 5), (11, 7), (18, 1)]:
        batch = listed(start, count)
        memory.add(batch)
        oracle.extend(zip(*batch, strict=True))
        held = memory.without(torch.tensor([], dtype=torch.long))
        assert len(memory) == len(oracle)
        assert sorted(held.rows.tolist()) == sorted(int(row) for *_, row in oracle)
        for embedding, label, component, row in oracle:
            at = held.rows.tolist().index(int(row))
            assert torch.equal(held.embeddings[at], embedding)
            assert (held.labels[at], held.components[at]) == (label, component)


def test_listings_of_the_batch_are_left_out():
    memory = CrossBatchMemory(8, 3)
    memory.add(listed(0, 6))
    assert memory.without(torch.tensor([1, 4, 99])).rows.tolist() == [0, 2, 3, 5]


def test_what_is_saved_and_loaded_goes_on_the_same():
    one, other = CrossBatchMemory(5, 3), CrossBatchMemory(5, 3)
    one.add(listed(0, 4))
    other.load_state_dict(one.state_dict())
    batch = listed(4, 3)
    for memory in (one, other):
        memory.add(batch)
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())
    assert int(other.pointer) == 2
    assert len(other) == 5


def test_entries_carry_no_gradient():
    memory = CrossBatchMemory(4, 3)
    batch = listed(0, 2)
    memory.add(batch._replace(embeddings=batch.embeddings.requires_grad_()))
    assert not memory.embeddings.requires_grad


def test_a_batch_larger_than_the_memory_is_refused():
    with pytest.raises(ValueError, match="5 listings does not fit into a memory of 4"):
        CrossBatchMemory(4, 3).add(listed(0, 5))
