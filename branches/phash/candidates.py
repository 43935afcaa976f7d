"""Candidate pairs: listings whose perceptual hashes differ in few bits."""

from __future__ import annotations

from branches.phash.config import Config
from shared.compute import ComputeConfig
from shared.schema import Candidates, Embeddings
from shared.search.exact import nearest


def candidates(embeddings: Embeddings, config: Config, compute: ComputeConfig) -> Candidates:
    """The pairs within `radius` bits, of which each listing proposes its `neighbors` nearest and their ties.

    All of this runs as a matrix product of ±1/8, which is exact in float32 and no slower than counting bits.
    """
    return nearest(embeddings, config.neighbors, compute.xp(), minimum=config.minimum)


if __name__ == "__main__":
    from branches.stages import main_candidates

    raise SystemExit(main_candidates("phash"))
