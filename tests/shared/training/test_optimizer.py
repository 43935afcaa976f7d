"""Learning rates: their course, and whose they are."""

import numpy as np
import pytest
import torch
from torch import nn

from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder
from shared.training.optimizer import learning_rate_scale, make_optimizer, optimizer_tensors, set_learning_rates


class Toy(Encoder):
    dim = 4

    def __init__(self) -> None:
        super().__init__(self.dim)
        self.backbone = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, values):
        return self.head(self.backbone(values))


def stepped(config, loss=None):
    torch.manual_seed(0)
    encoder, loss = Toy(), loss or nn.Identity()
    optimizer = make_optimizer(encoder, loss, config)
    set_learning_rates(optimizer, config, 1.0)
    cost = encoder(torch.ones(2, 6)).sum() + sum(p.sum() for p in loss.parameters())
    cost.backward()
    optimizer.step()
    torch.manual_seed(0)
    fresh = Toy()
    return {name for name, value in encoder.named_parameters() if not torch.equal(value, fresh.get_parameter(name))}


@pytest.mark.parametrize(("rate", "moving"), [("learning_rate", "backbone"), ("head_learning_rate", "head")])
def test_backbone_and_head_have_separate_rates(rate, moving):
    rates = {"learning_rate": 0.0, "head_learning_rate": 0.0} | {rate: 1e-2}
    assert stepped(TrainingConfig(**rates)) == {f"{moving}.weight", f"{moving}.bias"}


def test_loss_weights_have_rate_of_head():
    loss = nn.Linear(2, 2)
    before = loss.weight.clone()
    stepped(TrainingConfig(head_learning_rate=1e-2), loss)
    assert not torch.equal(loss.weight, before)
    loss = nn.Linear(2, 2)
    before = loss.weight.clone()
    stepped(TrainingConfig(head_learning_rate=0.0), loss)
    assert torch.equal(loss.weight, before)


def test_frozen_weights_and_biases():
    encoder = Toy()
    encoder.backbone.weight.requires_grad_(False)
    groups = make_optimizer(encoder, nn.Identity(), TrainingConfig(weight_decay=0.3)).param_groups
    held = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert held == {id(encoder.backbone.bias): 0, id(encoder.head.weight): 0.3, id(encoder.head.bias): 0}


@pytest.mark.fault(24)
def test_optimizer_tensors_are_the_state_itself():
    encoder = Toy()
    optimizer = make_optimizer(encoder, nn.Identity(), TrainingConfig())
    held = optimizer_tensors(optimizer)
    assert not any(value.any() for value in held.values())
    encoder(torch.ones(2, 6)).sum().backward()
    set_learning_rates(optimizer, TrainingConfig(), 1.0)
    optimizer.step()
    assert all(held[name] is value for name, value in optimizer_tensors(optimizer).items())
    assert any(value.any() for value in held.values())


def test_learning_rate_scale():
    scales = [learning_rate_scale(step, 100, 0.1) for step in range(100)]
    assert scales[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(scales[10:]) < 0).all()
    assert scales[55] == pytest.approx(0.5)
    assert 0 < scales[99] < 0.001
    assert [learning_rate_scale(0, 1, 0.0)] == [1.0]
