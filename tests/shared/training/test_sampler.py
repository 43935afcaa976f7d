import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.training.sampler import group_batches

LABELS = st.lists(st.integers(0, 12), max_size=60).map(lambda labels: np.array(labels, dtype=np.int64))


@given(labels=LABELS, k=st.integers(2, 5), epoch=st.integers(0, 3))
def test_epoch_covers_groups_of_two_or_more(labels, k, epoch):
    batches = group_batches(labels, 8, k, seed=0, epoch=epoch)
    drawn = set(np.concatenate([*batches, np.zeros(0, dtype=int)]).tolist())
    sizes = {label: int((labels == label).sum()) for label in labels.tolist()}
    assert drawn == {at for at, label in enumerate(labels.tolist()) if sizes[label] > 1}


@pytest.mark.fault(8)
@given(labels=LABELS, k=st.integers(2, 5))
def test_no_listing_is_alone_in_batch(labels, k):
    for batch in group_batches(labels, 8, k, seed=3, epoch=1):
        assert len(batch) <= max(8, k)
        for at in batch:
            assert len(set(batch[labels[batch] == labels[at]].tolist())) > 1


def test_epoch_depends_on_seed_and_epoch():
    labels = np.repeat(np.arange(20), 3)
    first, again = (group_batches(labels, 8, 2, seed=1, epoch=4) for _ in range(2))
    other_epoch, other_seed = group_batches(labels, 8, 2, 1, 5), group_batches(labels, 8, 2, 2, 4)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert len(other_epoch) == len(other_seed) == len(first)
    for other in (other_epoch, other_seed):
        assert any(len(a) != len(b) or (a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("labels", [[], [1], [1, 2, 3]])
def test_no_positive_pair_no_batch(labels):
    assert group_batches(np.array(labels, dtype=np.int64), 8, 2, seed=0, epoch=0) == []


def test_batch_sizes():
    sizes = [len(b) for b in group_batches(np.repeat(np.arange(33), 2), 16, 2, seed=0, epoch=0)]
    assert sum(sizes) == 66
    assert max(sizes) - min(sizes) <= 2
    assert max(sizes) <= 16


def test_sources_give_equally_many_listings():
    labels = np.repeat(np.arange(50), 2)
    sources = np.repeat([0, 1, -1], [60, 20, 20])
    drawn = [np.concatenate(group_batches(labels, 8, 2, 0, epoch, sources)) for epoch in range(20)]
    for positions in drawn:
        assert np.bincount(sources[positions] + 1).tolist() == [20, 40, 40]  # as many in all as without sources
        assert sorted(positions[sources[positions] == -1]) == list(range(80, 100))
    assert set(np.concatenate(drawn).tolist()) == set(range(100))
    assert {len(group_batches(labels, 8, 2, 0, epoch, sources)) for epoch in range(9)} == {13}


def test_one_source_is_drawn_as_without_sources():
    labels = np.repeat(np.arange(20), 3)
    plain = group_batches(labels, 8, 2, seed=1, epoch=0)
    for sources in (np.zeros(60, dtype=int), np.repeat([-1, 0], 30), np.full(60, -1)):
        again = group_batches(labels, 8, 2, 1, 0, sources)
        assert [batch.tolist() for batch in again] == [batch.tolist() for batch in plain]
