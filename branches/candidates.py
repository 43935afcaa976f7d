"""Candidate pairs of a branch: each listing's nearest by its similarity."""

from __future__ import annotations

from branches.base import BranchConfig
from shared.compute import ComputeConfig
from shared.schema import Candidates, Embeddings
from shared.search.exact import nearest


def propose(embeddings: Embeddings, config: BranchConfig, compute: ComputeConfig) -> Candidates:
    """Return the pairs in which one listing is among the other's nearest, or tied with the last of them.

    Args:
        embeddings: Of a pool.
        config: How many neighbors each listing proposes, and how similar they must be.
        compute: Where the work runs.
    """
    return nearest(embeddings, config.neighbors, compute.xp(), minimum=config.minimum)
