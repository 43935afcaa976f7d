"""Blocks of array work in threads, with the same bytes for any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Block = TypeVar("Block")
Result = TypeVar("Result")


def map_blocks(work: Callable[[Block], Result], blocks: Sequence[Block], threads: int) -> list[Result]:
    """Return the results of some work for each block, in the order of the blocks.

    The libraries of linear algebra have one thread meanwhile, since how they round depends on how many they share a
    product between. What is done for a block must not depend on other blocks.

    Args:
        work: Takes a block; most of its time must be spent in numpy, which lets other threads run.
        blocks: As many as there are, whatever the number of threads.
        threads: At least 1.

    Examples:
        >>> map_blocks(lambda block: sum(block), [[1, 2], [3]], threads=2)
        [3, 3]
    """
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, blocks))
