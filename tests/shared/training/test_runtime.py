from typing import Any

import numpy as np
import pytest
import torch

from branches.image.config import Config
from branches.image.model import PACKAGED_INPUT, create_model
from shared.training.runtime import autocast, computes_in_bfloat16, pinned

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_computes_in_bfloat16_where_it_need_not_emulate_it(
    supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **given: asked.append(given) or supported)
    assert computes_in_bfloat16(CUDA) is supported
    assert asked == [{"including_emulation": False}]


@pytest.mark.parametrize(("precision", "enabled"), [("auto", True), ("bfloat16", True), ("float32", False)])
def test_autocast_of_a_gpu(precision: str, enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: given.append((args, kwargs)))
    autocast(CUDA, precision)
    assert given == [(("cuda",), {"dtype": torch.bfloat16, "enabled": enabled})]


def test_pinned_for_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"images": torch.zeros(2, 3, 4, 4), "ids": torch.zeros(2, dtype=torch.long)}
    copies: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: copies.append(self.clone()) or copies[-1])
    assert all(pinned(tensors, CPU)[name] is tensor for name, tensor in tensors.items())
    assert copies == []
    assert [id(tensor) for tensor in pinned(tensors, CUDA).values()] == [id(copy) for copy in copies]
    assert len(copies) == 2


def test_images_and_weights_are_channels_last() -> None:
    images = PACKAGED_INPUT(np.zeros((2, 32, 32, 3), dtype=np.uint8))
    assert images.shape == (2, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    encoder, _ = create_model(Config(size=32, embed_size=32, dim=8))
    weights = [module.weight for module in encoder.backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(weights) > 40
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
