"""Memory: how much of it this process may still use, and whether a job will fit into it.

What a job needs is estimated; the constants are measured (`peak_memory_mb` of the stages' manifests). An estimate that
is too low ends in an error that says what to reduce (`shared.exits`) or, where the system kills the process, in nothing
at all. So the word comes before the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from shared.errors import MatcherError

GB = 10**9
_LIMIT_AND_USE = {  # version of the control groups → files with the limit and with what is in use
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}
_CACHE = ("inactive_file", "active_file")  # of files, which the system gives up when memory is needed


class Room(NamedTuple):
    """Memory that this process may still use.

    Args:
        free: Bytes.
        limit: What sets the limit, in words.
    """

    free: float
    limit: str


class Libraries(NamedTuple):
    """What the libraries take that a job loads.

    Args:
        bytes: In memory.
        addresses: Bytes of addresses beyond that, which a limit by `ulimit -v` counts as well.
    """

    bytes: float
    addresses: float


PLAIN = Libraries(0.4 * GB, 0.8 * GB)
TORCH = Libraries(1.0 * GB, 3.2 * GB)  # with timm, transformers and the weights of the default encoders


class Need(NamedTuple):
    """Memory that a piece of work needs.

    Args:
        bytes: Estimated bytes beyond the libraries.
        advice: What makes it less.
        libraries: Those that the work or an earlier one of the same job loads.
    """

    bytes: float
    advice: str
    libraries: Libraries = TORCH


def room(libraries: Libraries = TORCH, root: Path = Path("/")) -> Room:
    """Return the memory that this process may still use: the least of what machine, container and process are allowed.

    Args:
        libraries: Those that the process loads; their addresses count as used.
        root: Where the file systems of Linux are, of which control groups are read.

    Examples:
        >>> room().free > 0
        True
    """
    rooms = [
        Room(psutil.virtual_memory().available, "free on this machine"),
        *_of_groups(root),
        *_of_process(libraries),
    ]
    return min(rooms)


def require_libraries(libraries: Libraries) -> None:
    """Raise an error unless libraries fit into the memory of this process; loading them would end it without a word.

    Raises:
        MatcherError: They do not.

    Examples:
        >>> require_libraries(PLAIN)
    """
    _require(room(libraries))


def _require(available: Room) -> None:
    if available.free <= 0:
        raise MatcherError(f"the libraries do not fit into the memory that is {available.limit}; raise the limit")


def shortage(need: Need, what: str, available: Room | None = None) -> str | None:
    """Return in words that some work will not fit into memory; None if it will.

    Args:
        need: What the work needs.
        what: Its name.
        available: The memory to fit into; None: that of this process.

    Raises:
        MatcherError: Not even the libraries fit, whose loading would end the process without a word.

    Examples:
        >>> shortage(Need(4e9, "a smaller scorer.thinned"), "ensemble/scorer", Room(2e9, "free on this machine"))
        'ensemble/scorer needs about 5.0 GB of memory, and 2.0 GB are free on this machine: it may be killed \
half way; a smaller scorer.thinned needs less'
    """
    available = room(need.libraries) if available is None else available
    _require(available)
    total = need.libraries.bytes + need.bytes
    if total - psutil.Process().memory_info().rss <= available.free:
        return None
    return (
        f"{what} needs about {total / GB:.1f} GB of memory, and {available.free / GB:.1f} GB are {available.limit}: "
        f"it may be killed half way; {need.advice} needs less"
    )


def _of_process(libraries: Libraries) -> Iterator[Room]:
    """Yield what the limit of the process's address space leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        memory = psutil.Process().memory_info()
        reserved = max(0.0, libraries.addresses - (memory.vms - memory.rss))  # less what is mapped already
        yield Room(soft - memory.vms - reserved, f"left by the limit of {soft / GB:.1f} GB (ulimit -v)")


def _of_groups(root: Path) -> Iterator[Room]:
    """Yield what the control groups of Linux, which containers are made of, leave: version 2 and version 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        version = 1 if controllers else 2
        if version == 1 and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if version == 1 else "")
        own = mount / path.strip().lstrip("/")
        for folder in (own, *(parent for parent in own.parents if parent.is_relative_to(mount))):
            limit, used = (_text(folder / name).strip() for name in _LIMIT_AND_USE[version])
            if limit.isdigit() and used.isdigit():
                parts = dict(line.split() for line in _text(folder / "memory.stat").splitlines() if " " in line)
                held = int(used) - sum(int(parts.get(name, 0)) for name in _CACHE)
                yield Room(int(limit) - held, f"left by the container's limit of {int(limit) / GB:.1f} GB")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
