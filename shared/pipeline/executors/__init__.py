"""What does the shards of a stage: this process, several on this machine, or the workers of a cluster.

An executor knows nothing of stages. It gets a task, which can be sent to other processes, and numbers to do it for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

TRIES = 3  # how often a shard is tried whose worker dies


class Task(Protocol):
    """What is to be done for each of several numbers, each of which writes a part of the results to files."""

    @property
    def name(self) -> str:
        """Return what it is a part of, for messages."""
        ...

    def __call__(self, number: int) -> None:
        """Do one of them.

        Raises:
            MatcherError: It is refused.
        """
        ...

    def release(self) -> None:
        """Drop what this process has loaded for it."""
        ...


class Executor(Protocol):
    """Does the parts of a task, in any order and anywhere."""

    def execute(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        """Do a task for some numbers; yield each once it is done.

        Raises:
            MatcherError: One is refused, or its worker died `TRIES` times.
        """
        ...

    def close(self) -> None:
        """End all workers, whatever they are at."""
        ...
