"""Where the work runs: processor, threads, and the array library `xp`."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any, Literal

import numpy as np
from pydantic import Field

from shared.config import ConfigSection, Step
from shared.errors import MatcherError


class ComputeConfig(ConfigSection):
    """Section `compute`: where the work runs. In the training of encoders it changes more than the speed."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes an NVIDIA GPU when there is one")
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of a process; 0: one for each core it may use. An encoder that is trained with "
        "another number of threads is another one, see README",
    )
    memory_gb: float = Field(
        0.0,
        ge=0,
        description="GB that a step may take for blocks of its work; 0: half of what is free. It changes no result",
    )
    shard_rows: int = Field(
        50_000,
        ge=1,
        description="listings of a pool that one process embeds as a shard, or twice as many that it searches. It "
        "changes no result",
    )
    seed: int = Field(0, ge=0, description="seed of every random choice of a run")

    @property
    def cpu_threads(self) -> int:
        """Return the number of threads to use, at least 1.

        By default one for each core that this process may use, by its affinity and by the limit of its container.
        Processes that work together on a machine share them.
        """
        if self.threads:
            return self.threads
        from joblib import cpu_count  # takes 0.1 s to import

        cores: int = cpu_count()
        return max(1, cores // _processes())

    @property
    def memory_bytes(self) -> float:
        """Return the memory that blocks of work get their sizes from: by default half of what this process may use.

        Processes that work together on a machine share it.
        """
        from shared.memory import GB, PLAIN, room  # what a budget is made of is no part of what a stage computes

        return (self.memory_gb * GB if self.memory_gb else max(room(PLAIN).free, 0.0) / 2) / _processes()

    def cache_key(self, step: Step | None = None) -> dict[str, Any]:
        """Return the seed alone: a change of device, threads, memory or shards makes no stage run again."""
        return {"seed": self.seed}

    def torch_device(self) -> Any:
        """The torch device to use.

        Raises:
            MatcherError: `cuda` was asked for and torch sees no GPU.
        """
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise MatcherError("compute.device=cuda, but torch finds no NVIDIA GPU; use compute.device=cpu")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")

    def xp(self) -> ModuleType:
        """The array library: CuPy on an NVIDIA GPU where it is installed, else numpy.

        Raises:
            MatcherError: `cuda` was asked for and CuPy is missing or finds no GPU.
        """
        if self.device == "cpu":
            return np
        try:
            import cupy  # type: ignore[import-not-found,unused-ignore]

            if cupy.cuda.runtime.getDeviceCount() > 0:
                return cupy  # type: ignore[no-any-return,unused-ignore]
            fault = "CuPy finds no NVIDIA GPU"
        except Exception as error:  # CuPy raises its own types when the driver or a library is missing
            fault = f"CuPy cannot be used ({error})"
        if self.device == "cuda":
            raise MatcherError(f"compute.device=cuda, but {fault}; pip install '.[gpu]' or use compute.device=cpu")
        return np


def _processes() -> int:
    """Return how many processes work together on this machine: those of `torchrun`, or workers that do shards."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
