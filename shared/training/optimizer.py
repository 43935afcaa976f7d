"""AdamW as every encoder is trained with it: a learning rate for what is pretrained, another for what is new."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from shared.training.config import TrainingConfig
from shared.training.encoder import Encoder


def learning_rate_scale(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at a step: a linear rise over the first `warmup`, then half a cosine to zero."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def make_optimizer(encoder: Encoder, loss: nn.Module, recipe: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over an encoder and what weights its loss has; biases and scales do not decay."""
    parts: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in [*encoder.named_parameters(), *loss.named_parameters()]:
        if parameter.requires_grad:
            rate = "learning_rate" if name.startswith("backbone.") else "head_learning_rate"
            parts.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    groups = [
        {"params": parameters, "rate": rate, "weight_decay": recipe.weight_decay if decays else 0.0}
        for (rate, decays), parameters in sorted(parts.items(), key=lambda part: part[0], reverse=True)
    ]
    return torch.optim.AdamW(groups, fused=True)


def set_learning_rates(optimizer: torch.optim.Optimizer, recipe: TrainingConfig, scale: float) -> None:
    """Give every parameter a share of its peak learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = getattr(recipe, group["rate"]) * scale


def moments(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """What the optimizer remembers of each parameter, by name: its present state itself, not a copy."""
    tensors: dict[str, Tensor] = {}
    for at, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        state = optimizer.state[parameter] or _first_moments(parameter)
        optimizer.state[parameter] = state
        tensors |= {f"optimizer.{at}.{name}": value for name, value in state.items()}
    return tensors


def _first_moments(parameter: nn.Parameter) -> dict[str, Tensor]:
    """What AdamW holds of a parameter before its first step."""
    zeros = [torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2)]
    return {"step": torch.tensor(0.0, device=parameter.device), "exp_avg": zeros[0], "exp_avg_sq": zeros[1]}
