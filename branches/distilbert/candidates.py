"""Candidate pairs: listings whose titles are most similar in meaning."""

from __future__ import annotations

from branches.distilbert.config import Config
from shared.compute import ComputeConfig
from shared.schema import Candidates, Embeddings
from shared.search.exact import nearest


def candidates(embeddings: Embeddings, config: Config, compute: ComputeConfig) -> Candidates:
    """The pairs in which one listing is among the other's `neighbors` nearest, or tied with the last of them."""
    return nearest(embeddings, config.neighbors, compute.xp())


if __name__ == "__main__":
    from branches.stages import main_candidates

    raise SystemExit(main_candidates("distilbert"))
