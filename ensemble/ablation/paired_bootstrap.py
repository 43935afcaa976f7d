"""The difference between two systems that were measured on the same listings, with its confidence interval.

The difference is taken listing by listing, so that what makes a listing hard for both systems cancels. Listings of one
label group are not independent; hence the bootstrap (Efron and Tibshirani 1993, chapter 13, percentile interval) draws
whole label groups. The interval covers the choice of products, not the chance in a training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
BLOCK = 100  # resamples drawn at a time
MISSED = ("missed_never_proposed", "missed_scored_wrong")
INSIDE = 0.95  # share of the resamples that lie in the interval
COLUMNS = ("pool", "row F1", "±", "at its best", "never proposed", "decided wrong", "difference", "95 % interval")


@dataclass(frozen=True)
class SystemResult:
    """The result of one system that was trained and tuned on one part and measured on the others.

    Args:
        metrics: As by `evaluate_matches`, with rule and threshold, and `at_best`: row F1 at the best threshold there.
        posting_id: str [n].
        row_f1: Of each listing, float64 [n].

    Examples:
        >>> result = SystemResult({"row_f1": 0.75}, np.array(["p1", "p2"], dtype=object), np.array([1.0, 0.5]))
        >>> float(result.row_f1.mean()) == result.metrics["row_f1"]
        True
    """

    metrics: Mapping[str, Any]
    posting_id: NDArray[Any]
    row_f1: NDArray[np.float64]


def intervals(difference: NDArray[np.float64], group: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
    """Return the confidence interval of each mean difference.

    Args:
        difference: A listing's score by one system less that by the other, float64 [systems, m]. A listing that was
            measured several times occurs as often.
        group: Its label group, int [m].
        seed: Of the resampling; all systems have the same resamples.

    Returns:
        Lower and upper end, float64 [systems, 2].

    Examples:
        >>> intervals(np.array([[0.5, 0.5, 0.5]]), np.array([0, 0, 1]), seed=0).tolist()
        [[0.5, 0.5]]
    """
    _, group_index = np.unique(group, return_inverse=True)
    count = np.bincount(group_index)
    total = np.stack([np.bincount(group_index, weights=row, minlength=len(count)) for row in difference])
    rng = np.random.default_rng(seed)
    equal = np.full(len(count), 1 / len(count))
    resamples = [rng.multinomial(len(count), equal, size=BLOCK).astype(np.float64) for _ in range(RESAMPLES // BLOCK)]
    means = np.concatenate([times @ total.T / (times @ count)[:, None] for times in resamples])
    return np.asarray(np.quantile(means, [(1 - INSIDE) / 2, (1 + INSIDE) / 2], axis=0).T)


def compare(
    results: Mapping[str, Sequence[SystemResult]], label: Mapping[str, int], seed: int
) -> dict[str, dict[str, Any]]:
    """Return the metrics of every system over all fits, and its difference from the first one.

    Args:
        results: System → its result of each fit, all in the same order.
        label: Posting id → number of its label group.
        seed: Of the bootstrap.

    Returns:
        Of each system: mean `row_f1` over listings, standard deviation `sd` over fits, `difference` to the first with
        its `interval`, and the metrics of all `fits`.

    Examples:
        >>> ids = np.array(["p1", "p2"], dtype=object)
        >>> whole = [SystemResult({"row_f1": 0.75}, ids, np.array([1.0, 0.5])) for _ in range(2)]
        >>> part = [SystemResult({"row_f1": 0.5}, ids, np.array([0.5, 0.5])) for _ in range(2)]
        >>> compare({"whole": whole, "part": part}, {"p1": 0, "p2": 1}, seed=0)["part"]["difference"]
        -0.25
    """
    rows = np.stack([np.concatenate([fit.row_f1 for fit in fits]) for fits in results.values()])
    group = np.array([label[name] for fit in next(iter(results.values())) for name in fit.posting_id])
    difference = rows - rows[0]
    ends = intervals(difference, group, seed)
    return {
        name: {
            "row_f1": float(rows[index].mean()),
            "sd": float(np.std([fit.metrics["row_f1"] for fit in fits], ddof=1)),
            "difference": float(difference[index].mean()),
            "interval": ends[index].tolist(),
            "fits": [fit.metrics for fit in fits],
        }
        for index, (name, fits) in enumerate(results.items())
    }


def table(comparison: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the comparison that `compare` made as a Markdown table with one line per system."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for index, (name, system) in enumerate(comparison.items()):
        fits = system["fits"]
        best = f"{np.mean([fit['at_best'] for fit in fits]):.3f}"
        missed_shares = [f"{np.mean([fit[key] for fit in fits]):.1%}" for key in MISSED]
        low, high = system["interval"]
        against = [f"{system['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}"] if index else ["", ""]
        cells = [_sizes(fits), f"{system['row_f1']:.3f}", f"{system['sd']:.3f}", best, *missed_shares, *against]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sizes(fits: Iterable[Mapping[str, Any]]) -> str:
    sizes = sorted({int(fit["pool_size"]) for fit in fits})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}–{sizes[-1]:,}"
