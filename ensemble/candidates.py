"""The candidate pairs of a pool: the union of what the branches propose, and what that union misses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches import stages as branch
from ensemble.config import EnsembleConfig
from ensemble.pool_views import BranchView, PoolViews
from shared.compute import ComputeConfig
from shared.metrics.matching import count_true_pairs, label_codes, same_product
from shared.pipeline.cli import step_command
from shared.pipeline.pools import Pool, all_pools, pool_catalog, pool_inputs, prepare
from shared.pipeline.run import Run, write_json
from shared.pipeline.settings import Settings
from shared.schema import CandidatePairs, Candidates
from shared.search.sorting import distinct

RANKS = (1, 2, 5, 10, 20, 50)  # neighbors a listing for which recall is told


def union(proposals: Iterable[Candidates], n: int) -> CandidatePairs:
    """Every pair that at least one branch proposes, sorted by (left, right).

    Args:
        proposals: The branches' candidates of one pool of `n` listings.
        n: Listings in the pool.
    """
    key = distinct(np.concatenate([np.zeros(0, dtype=np.int64), *(proposal.key for proposal in proposals)]))
    return CandidatePairs(n, (key // max(n, 1)).astype(np.int32), (key % max(n, 1)).astype(np.int32))


def recall(left: NDArray[np.int32], right: NDArray[np.int32], codes: NDArray[np.integer]) -> float:
    """Share of the true pairs that are among the given ones; 1 where there is none to find."""
    true = count_true_pairs(codes)
    return int(same_product(left, right, codes).sum()) / true if true else 1.0


def recall_by_branch(pool: PoolViews, pairs: CandidatePairs) -> dict[str, float]:
    """Recall of true pairs by each branch's candidates and by their union."""
    codes = label_codes(pool.catalog.labels)
    by_branch = {name: recall(e.candidates.left, e.candidates.right, codes) for name, e in pool.branches.items()}
    return by_branch | {"union": recall(pairs.left, pairs.right, codes)}


def recall_by_rank(pool: PoolViews) -> dict[str, list[Any]]:
    """Recall of true pairs when each listing proposes no more than its k nearest by a branch, and their ties.

    Returns:
        The `RANKS` as `k`, and in their order the recall of each branch and of the `union` of them all.
    """
    codes = label_codes(pool.catalog.labels)
    table: dict[str, list[Any]] = {"k": list(RANKS)} | {name: [] for name in [*pool.branches, "union"]}
    for k in RANKS:
        near = {name: nearest_of(view.candidates, k) for name, view in pool.branches.items()}
        for name, pairs in (near | {"union": union(near.values(), len(pool))}).items():
            table[name].append(recall(pairs.left, pairs.right, codes))
    return table


def nearest_of(found: Candidates, k: int) -> Candidates:
    """The candidates of which one listing is among the k nearest of the other, or tied with the k-th."""
    sides = (found.rank_left, found.rank_right)
    return found.only(np.any([(rank > 0) & (rank <= k) for rank in sides], axis=0))


def missed(proposed: float, found: float) -> dict[str, float]:
    """Shares of the true pairs that were missed, apart by whether they were ever proposed.

    Args:
        proposed: Share of the true pairs among the candidates. A rule may find pairs beyond them.
        found: Share of the true pairs among the matches.
    """
    never = min(1 - proposed, 1 - found)
    return {"missed_never_proposed": never, "missed_scored_wrong": 1 - found - never}


def load_pool(run: Run, settings: Settings, pool: Pool) -> PoolViews:
    """A pool of a run with every branch's view of it."""
    views = {
        name: BranchView(branch.load_embeddings(run, name, pool), branch.load_candidates(run, name, pool))
        for name in settings[EnsembleConfig].branches
    }
    compute = settings[ComputeConfig]
    return PoolViews(pool_catalog(run, settings, pool), views, compute.xp(), compute.cpu_threads)


def load_pairs(run: Run, pool: Pool) -> CandidatePairs:
    """The candidate pairs of a pool of a run."""
    return CandidatePairs.load(run.open(f"ensemble/candidates/{pool.name}") / "pairs.parquet")


def candidates_stage(run: Run, settings: Settings, pool: Pool) -> None:
    """Unite the branches' candidates of one pool."""

    def work(out: Path) -> Mapping[str, Any]:
        evidence = load_pool(run, settings, pool)
        pairs = union((view.candidates for view in evidence.branches.values()), len(evidence))
        pairs.save(out / "pairs.parquet")
        if not any(label is not None for label in evidence.catalog.labels):
            return {"pairs": len(pairs)}
        recalls = recall_by_branch(evidence, pairs)
        write_json(out / "recall.json", recalls | {"by_rank": recall_by_rank(evidence)})
        return {"pairs": len(pairs), "recall of true pairs": recalls["union"]}

    names = settings[EnsembleConfig].branches
    inputs = pool_inputs(run, settings, pool)
    inputs |= {name: run.digest_of(f"{name}/candidates/{pool.name}") for name in names}
    run.stage(f"ensemble/candidates/{pool.name}", "ensemble.candidates", inputs, {"branches": names}, work)


def candidates_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the candidate pairs of all pools."""
    for name in settings[EnsembleConfig].branches:
        settings.branch(name)
    prepare(run, settings)
    for name in settings[EnsembleConfig].branches:
        branch.candidates_all(run, settings, name)
    for pool in all_pools(settings):
        candidates_stage(run, settings, pool)


def main() -> int:
    """The command `python -m ensemble.candidates`."""
    about = "Unite the candidate pairs of all branches; does the steps before it if needed."
    return step_command(
        candidates_all, "ensemble/candidates", about, ["ensemble", "compute"], usage="python -m ensemble.candidates"
    )


if __name__ == "__main__":
    raise SystemExit(main())
