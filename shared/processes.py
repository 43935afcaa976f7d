"""The processes that work on one command: those that `torchrun` started, or a single one.

The first process (rank 0) runs the command; it alone holds the run folder, writes to it and prints. The others follow:
they wait until it assigns a task that all work on together.
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

# Followers may wait long for a task. They need no short timeout: when a process dies, its connections close at once,
# and that ends the others.
TIMEOUT = timedelta(days=7)


def size() -> int:
    """Return the number of processes, at least 1."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


@contextmanager
def connect() -> Iterator[None]:
    """Connect to the other processes, if there are any; within the block, followers print nothing.

    When one process fails, all end: the first to fail raises its error, the others exit silently.

    Raises:
        MatcherError: Another process was killed.
        SystemExit: Another process has failed and reports why.
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
    dist.init_process_group(backend, store=store, rank=rank(), world_size=size(), timeout=TIMEOUT)
    try:
        with _silence() if rank() else contextlib.nullcontext():
            yield
    except SystemExit:
        raise
    except BaseException as error:
        if not _is_first_to_fail(store):
            raise SystemExit(1) from None
        if _is_lost_connection(error):
            raise MatcherError(
                "another process of this training was killed (the system may be short of memory); "
                "the same command resumes from the last checkpoint"
            ) from error
        raise
    dist.destroy_process_group()


def take_device(compute: ComputeConfig) -> None:
    """Give each process of a machine its own GPU, where they work on GPUs.

    Raises:
        MatcherError: The machine has fewer GPUs than processes.
    """
    if size() == 1 or compute.torch_device().type != "cuda":
        return
    import torch

    local_rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local_rank >= gpus:
        raise MatcherError(
            f"torchrun started process {local_rank + 1} on a machine with {gpus} GPU{'s' if gpus > 1 else ''}; "
            f"use --nproc-per-node {gpus}, or compute.device=cpu"
        )
    torch.cuda.set_device(local_rank)


def broadcast(value: Any) -> Any:
    """Return the first process's value in every process.

    Args:
        value: JSON-compatible; only that of the first process counts.

    Examples:
        >>> broadcast([1, None])  # a single process gets its own value back
        [1, None]
    """
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
    """Assign a task to all followers, which receive its name from `assignments`; called by the first process."""
    broadcast(task)


def release() -> None:
    """Tell the followers that no task comes any more; called by the first process."""
    broadcast(None)


def assignments() -> Iterator[str]:
    """Yield the tasks that the first process assigns, until it releases its followers; called by a follower."""
    while (task := broadcast(None)) is not None:
        yield task


@contextmanager
def _silence() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: SIM117 - the file is needed first
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield


def _is_first_to_fail(store: Any) -> bool:
    """Return whether no other process has failed before, according to the store that torchrun keeps for all."""
    try:
        return bool(store.add("failed", 1) == 1)
    except RuntimeError:  # the store ended with the process that held it
        return False


def _is_lost_connection(error: BaseException) -> bool:
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
