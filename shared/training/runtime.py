"""How torch is set up before a training or an embedding."""

from __future__ import annotations

import contextlib
import ctypes

import torch

from shared.compute import ComputeConfig

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def prepare(compute: ComputeConfig) -> torch.device:
    """Set torch's threads and return the device to work on."""
    device: torch.device = compute.torch_device()
    torch.set_num_threads(compute.cpu_threads)
    if device.type == "cpu":
        _keep_freed_memory()
    return device


def bfloat16_pays(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16 rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check() for check in checks if check)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision as a setting asks: "bfloat16", "float32", or "auto" for what the processor is made for."""
    wanted = precision == "bfloat16" or (precision == "auto" and bfloat16_pays(device))
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def _keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the kernel, which costs a training much of its time.

    Activations are allocated and freed by the megabyte in every step, each time paged in anew by default.
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**28)):
            libc.mallopt(option, value)
