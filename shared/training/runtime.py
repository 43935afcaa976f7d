"""Set torch up before a training or an embedding."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Mapping

import torch

from shared.compute import ComputeConfig

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def prepare(compute: ComputeConfig) -> torch.device:
    """Set the number of torch's threads and return the device to work on."""
    device: torch.device = compute.torch_device()
    torch.set_num_threads(compute.cpu_threads)
    if device.type == "cpu":
        _keep_free_memory()
    return device


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check() for check in checks if check)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a context in which torch computes in mixed precision, or does not.

    Args:
        device: The device to work on.
        precision: "bfloat16", "float32", or "auto" for bfloat16 where the device computes in it.
    """
    enabled = precision == "bfloat16" or (precision == "auto" and computes_in_bfloat16(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def pinned(tensors: Mapping[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Return tensors in memory that a GPU copies from while it computes; for a CPU they stay as they are.

    Args:
        tensors: In the processor's memory, by name.
        device: The device that works on them.

    Examples:
        >>> pinned({"a": torch.zeros(2)}, torch.device("cpu"))["a"].is_pinned()
        False
    """
    return {name: tensor.pin_memory() if device.type == "cuda" else tensor for name, tensor in tensors.items()}


def _keep_free_memory() -> None:
    """Let glibc keep the memory that torch frees instead of returning it to the system; elsewhere do nothing.

    Each step allocates and frees activations by the megabyte, and by default the system maps their pages anew each
    time, which takes much of a training's time.
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**28)):
            libc.mallopt(option, value)
