"""Which listings judge a training, and how they are judged."""

import numpy as np
import pytest
import torch
from torch import nn

from shared.compute import ComputeConfig
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder
from shared.training.validation import evaluate, validation_listings


def groups(count, size=2):
    return np.repeat(np.arange(count), size)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_validation_share_in_whole_components(share):
    labels = groups(100)
    components = labels // 4  # eight listings each
    chosen = validation_listings(labels, components, share, seed=3)
    assert share * 200 - 8 < len(chosen) <= share * 200
    assert not set(components[chosen]) & set(np.delete(components, chosen))


def test_validation_by_seed_and_share():
    labels = groups(50)
    small, large, other = (
        set(validation_listings(labels, labels, *of).tolist()) for of in ((0.2, 0), (0.4, 0), (0.2, 1))
    )
    assert small < large
    assert small != other


@pytest.mark.parametrize(
    ("labels", "share"),
    [
        (groups(10), 0.0),
        (groups(10), 0.05),  # too small for a pair
        (groups(1, 40), 0.9),  # one component, which does not fit
        (np.arange(40), 0.5),  # no pair at all
        (np.concatenate([groups(1), np.arange(1, 30)]), 0.97),  # its one pair is needed for learning, or for judging
        (groups(0), 0.5),
    ],
)
def test_validation_without_pairs_is_empty(labels, share):
    assert len(validation_listings(labels, labels, share, seed=0)) == 0


class Fixed(Encoder):
    dim = 4

    def __init__(self):
        super().__init__(self.dim)
        self.backbone = nn.Identity()

    def forward(self, values):
        return self.backbone(values)


def test_evaluate_searches_among_given_listings():
    vectors = torch.eye(4)[[0, 0, 1, 2, 3, 3]]
    positions, labels = np.array([0, 1, 2, 4, 5]), np.array([7, 7, 7, 8, 8])
    compute = ComputeConfig(device="cpu", threads=1)
    config = TrainingConfig(embed_batch=2, precision="float32")
    found = evaluate(Fixed(), lambda at: {"values": vectors[at]}, positions, labels, config, compute, "toy")
    assert found.pool_size == 5
    assert found.recall_at_1 == pytest.approx(4 / 5)  # the third is alone in its direction
    assert found.row_f1 == pytest.approx((0.8 * 2 + 0.5 + 2) / 5)
