"""Which listings judge a training, and how they are judged."""

import numpy as np
import pytest
import torch
from torch import nn

from shared.compute import ComputeConfig
from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder
from shared.training.validation import held_out, judge


def groups(count, size=2):
    return np.repeat(np.arange(count), size)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_about_a_share_is_held_out_in_whole_components(share):
    labels = groups(100)
    components = labels // 4  # eight listings each
    chosen = held_out(labels, components, share, seed=3)
    assert share * 200 - 8 < len(chosen) <= share * 200
    assert not set(components[chosen]) & set(np.delete(components, chosen))


def test_the_seed_decides_and_rises_with_the_share():
    labels = groups(50)
    small, large, other = (set(held_out(labels, labels, *of).tolist()) for of in ((0.2, 0), (0.4, 0), (0.2, 1)))
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
def test_nothing_is_held_out_where_a_side_would_have_no_pair(labels, share):
    assert len(held_out(labels, labels, share, seed=0)) == 0


class Fixed(Encoder):
    dim = 4

    def __init__(self):
        super().__init__(self.dim)
        self.backbone = nn.Identity()

    def forward(self, values):
        return self.backbone(values)


def test_an_encoder_is_judged_by_what_it_makes_of_these_listings_alone():
    vectors = torch.eye(4)[[0, 0, 1, 2, 3, 3]]
    positions, labels = np.array([0, 1, 2, 4, 5]), np.array([7, 7, 7, 8, 8])
    compute = ComputeConfig(device="cpu", threads=1)
    recipe = TrainingConfig(embed_batch=2, precision="float32")
    found = judge(Fixed(), lambda at: {"values": vectors[at]}, positions, labels, recipe, compute, "toy")
    assert found.pool_size == 5
    assert found.recall_at_1 == pytest.approx(4 / 5)  # the third is alone in its direction
    assert found.row_f1 == pytest.approx((0.8 * 2 + 0.5 + 2) / 5)
