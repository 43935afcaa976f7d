"""How far two systems differ that were judged on the same listings, and how sure that is.

The difference is taken listing by listing, so that what makes a listing hard for both cancels. Listings of a label
group stand or fall together and are no independent evidence; hence the bootstrap (Efron and Tibshirani 1993, chapter
13, percentile interval) draws whole label groups. It says how much depends on which products were judged, not on the
chance in a training.
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
class Judged:
    """One system as trained and tuned on one part, on all that was judged.

    Args:
        metrics: As by `metrics_of_matches`, with rule and threshold, and `at_best`: row F1 at the best threshold there.
        posting_id: str [n].
        row_f1: Of each listing, float64 [n].
    """

    metrics: Mapping[str, Any]
    posting_id: NDArray[Any]
    row_f1: NDArray[np.float64]


def intervals(difference: NDArray[np.float64], group: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
    """The interval of each mean difference.

    Args:
        difference: A listing's score by one system less that by the other, float64 [systems, m]. A listing that was
            judged several times stands there as often.
        group: Its label group, int [m].
        seed: Of the resampling; all systems are judged on the same resamples.

    Returns:
        Lower and upper end, float64 [systems, 2].
    """
    _, at = np.unique(group, return_inverse=True)
    count = np.bincount(at)
    total = np.stack([np.bincount(at, weights=row, minlength=len(count)) for row in difference])
    rng = np.random.default_rng(seed)
    equal = np.full(len(count), 1 / len(count))
    drawn = [rng.multinomial(len(count), equal, size=BLOCK).astype(np.float64) for _ in range(RESAMPLES // BLOCK)]
    means = np.concatenate([times @ total.T / (times @ count)[:, None] for times in drawn])
    return np.asarray(np.quantile(means, [(1 - INSIDE) / 2, (1 + INSIDE) / 2], axis=0).T)


def compare(judged: Mapping[str, Sequence[Judged]], label: Mapping[str, int], seed: int) -> dict[str, dict[str, Any]]:
    """Figures of every system over all fits, and how far it is from the first one.

    Args:
        judged: System → what was found by each fit, all in the same order.
        label: Posting id → number of its label group.
        seed: Of the bootstrap.

    Returns:
        Of each system: mean `row_f1` over listings, standard deviation `sd` over fits, `difference` to the first with
        its `interval`, and the metrics of all `fits`.
    """
    rows = np.stack([np.concatenate([fit.row_f1 for fit in found]) for found in judged.values()])
    group = np.array([label[name] for fit in next(iter(judged.values())) for name in fit.posting_id])
    difference = rows - rows[0]
    ends = intervals(difference, group, seed)
    return {
        name: {
            "row_f1": float(rows[at].mean()),
            "sd": float(np.std([fit.metrics["row_f1"] for fit in found], ddof=1)),
            "difference": float(difference[at].mean()),
            "interval": ends[at].tolist(),
            "fits": [fit.metrics for fit in found],
        }
        for at, (name, found) in enumerate(judged.items())
    }


def table(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """The comparison as a Markdown table, a line a system."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for at, (name, system) in enumerate(compared.items()):
        fits = system["fits"]
        best = f"{np.mean([fit['at_best'] for fit in fits]):.3f}"
        missed = [f"{np.mean([fit[key] for fit in fits]):.1%}" for key in MISSED]
        low, high = system["interval"]
        against = [f"{system['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}"] if at else ["", ""]
        cells = [_sizes(fits), f"{system['row_f1']:.3f}", f"{system['sd']:.3f}", best, *missed, *against]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sizes(fits: Iterable[Mapping[str, Any]]) -> str:
    sizes = sorted({int(fit["pool_size"]) for fit in fits})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}–{sizes[-1]:,}"
