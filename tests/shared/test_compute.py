import os
from collections.abc import Iterator

import joblib
import numpy as np
import pytest

from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.memory import Room


@pytest.fixture
def one_core() -> Iterator[None]:
    """Let this process use one core only."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("the system does not bind processes to cores")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def test_threads_default_to_available_cores(one_core: None) -> None:
    assert ComputeConfig().cpu_threads == 1
    assert ComputeConfig(threads=3).cpu_threads == 3


@pytest.mark.parametrize(("processes", "threads"), [("1", 8), ("3", 2), ("16", 1)])
def test_threads_are_shared_among_the_processes_of_a_machine(
    processes: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert ComputeConfig().cpu_threads == threads


def test_memory_defaults_to_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.memory.room", lambda libraries: Room(6e9, "free"))
    assert ComputeConfig().memory_bytes == 3e9
    assert ComputeConfig(memory_gb=2.5).memory_bytes == 2.5e9
    assert ComputeConfig(memory_gb=2.5).cache_key() == ComputeConfig().cache_key()


def test_cpu_takes_numpy_and_the_processor() -> None:
    compute = ComputeConfig(device="cpu")
    assert compute.xp() is np
    assert compute.torch_device().type == "cpu"


def test_cuda_is_refused_where_torch_finds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(MatcherError, match=r"compute\.device=cuda, but torch finds no NVIDIA GPU"):
        ComputeConfig(device="cuda").torch_device()
    assert ComputeConfig(device="auto").torch_device().type == "cpu"
