"""The processes that work on one command: those that `torchrun` started, or just this one.

The first (rank 0) does what the command says, and it alone holds the run folder, writes to it and prints. The others
follow: they wait until it calls them to a piece of work that all do together.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from shared.compute import ComputeConfig
from shared.errors import MatcherError

# A process that dies ends the others at once, by its closed connections; the followers' wait for work is to last.
PATIENCE = timedelta(days=7)


def size() -> int:
    """How many processes there are, at least 1."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


@contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes, if there are any. What a follower prints in the block is not shown.

    When one process fails, so do all: the first to fail raises its error, the others end without a word.

    Raises:
        MatcherError: Another process was killed.
        SystemExit: Another process has failed and says why.
    """
    if size() == 1:
        yield
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    store, *_ = next(rendezvous("env://"))
    on_gpu = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank(), world_size=size(), timeout=PATIENCE)
    try:
        with _silence() if rank() else contextlib.nullcontext():
            yield
    except SystemExit:
        raise
    except BaseException as error:
        if not _first_to_fail(store):
            raise SystemExit(1) from None
        if _is_lost_connection(error):
            raise MatcherError(
                "another process of this training was killed (the system may be short of memory); "
                "the same command goes on from the last checkpoint"
            ) from error
        raise
    dist.destroy_process_group()


def take_device(compute: ComputeConfig) -> None:
    """Give each process of a machine a GPU of its own, where they work on GPUs.

    Raises:
        MatcherError: The machine has fewer GPUs than processes.
    """
    if size() == 1 or compute.torch_device().type != "cuda":
        return
    import torch

    own, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if own >= there:
        raise MatcherError(
            f"torchrun started process {own + 1} on a machine with {there} GPU{'s' if there > 1 else ''}; "
            f"use --nproc-per-node {there}, or compute.device=cpu"
        )
    torch.cuda.set_device(own)


def broadcast(value: Any) -> Any:
    """What the first process has, in every process: JSON-able."""
    if size() == 1:
        return value
    import torch
    import torch.distributed as dist

    data = bytearray(json.dumps(value).encode()) if rank() == 0 else bytearray()
    length = torch.tensor(len(data))
    dist.broadcast(length, 0)
    content = torch.frombuffer(data, dtype=torch.uint8) if rank() == 0 else torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(content, 0)
    return json.loads(bytes(content.numpy()))


def assign(task: str) -> None:
    """Call the followers to a piece of work; they get its name from `calls`."""
    broadcast(task)


def release() -> None:
    """Let the followers go."""
    broadcast(None)


def assignments() -> Iterator[str]:
    """What the first process calls its followers to, until it lets them go."""
    while (task := broadcast(None)) is not None:
        yield task


@contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: SIM117 - the file is needed first
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield


def _first_to_fail(store: Any) -> bool:
    """Whether no other process has failed before, by the store that torchrun keeps for all."""
    try:
        return bool(store.add("failed", 1) == 1)
    except RuntimeError:  # the store is gone with the process that held it
        return False


def _is_lost_connection(error: BaseException) -> bool:
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
