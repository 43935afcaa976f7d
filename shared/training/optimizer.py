"""AdamW with two learning rates: one for pretrained layers, one for new layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder


def learning_rate_scale(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: a linear rise, then half a cosine down to zero.

    Args:
        step: The step, from 0.
        steps: Number of steps of the training.
        warmup: Share of the steps in which it rises, in [0, 1].

    Examples:
        >>> [round(learning_rate_scale(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def make_optimizer(encoder: Encoder, loss: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters of an encoder and its loss.

    Parameters of `backbone` get `learning_rate`, all others `head_learning_rate`. Biases and scales do not decay.
    """
    parts: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in [*encoder.named_parameters(), *loss.named_parameters()]:
        if parameter.requires_grad:
            rate = "learning_rate" if name.startswith("backbone.") else "head_learning_rate"
            parts.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    groups = [
        {"params": parameters, "rate": rate, "weight_decay": config.weight_decay if decays else 0.0}
        for (rate, decays), parameters in sorted(parts.items(), key=lambda part: part[0], reverse=True)
    ]
    return torch.optim.AdamW(groups, fused=True)


def set_learning_rates(optimizer: torch.optim.Optimizer, config: TrainingConfig, scale: float) -> None:
    """Set each parameter group's learning rate to a share of its peak.

    Args:
        optimizer: From `make_optimizer`.
        config: The peak learning rates.
        scale: Share of the peak, in [0, 1].
    """
    for group in optimizer.param_groups:
        group["lr"] = getattr(config, group["rate"]) * scale


def optimizer_tensors(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Return the optimizer's state of each parameter by name: the tensors themselves, not copies.

    Before the first step they are created, as AdamW would create them.
    """
    tensors: dict[str, Tensor] = {}
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        state = optimizer.state[parameter] or _initial_state(parameter)
        optimizer.state[parameter] = state
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    return tensors


def _initial_state(parameter: nn.Parameter) -> dict[str, Tensor]:
    """Return AdamW's state of a parameter before its first step."""
    zeros = [torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2)]
    return {"step": torch.tensor(0.0, device=parameter.device), "exp_avg": zeros[0], "exp_avg_sq": zeros[1]}
