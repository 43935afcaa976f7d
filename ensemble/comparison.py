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
INSIDE = 0.95  # share of the resamples that lie in the interval
COLUMNS = ("pool", "row F1", "± halves", "never proposed", "decided wrong", "difference", "95 % interval")


@dataclass(frozen=True)
class Judged:
    """One system on one half.

    Args:
        figures: As by `figures_of`, with rule and threshold.
        posting_id: str [n].
        row_f1: Of each listing, float64 [n].
    """

    figures: Mapping[str, Any]
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
    """Figures of every system over all halves, and how far it is from the first one.

    Args:
        judged: System → what was found on each half, all in the same order.
        label: Posting id → number of its label group.
        seed: Of the bootstrap.

    Returns:
        Of each system: mean `row_f1` over listings, standard deviation `sd` over halves, `difference` to the first with
        its `interval`, and the figures of all `halves`.
    """
    rows = np.stack([np.concatenate([half.row_f1 for half in found]) for found in judged.values()])
    group = np.array([label[name] for half in next(iter(judged.values())) for name in half.posting_id])
    difference = rows - rows[0]
    ends = intervals(difference, group, seed)
    return {
        name: {
            "row_f1": float(rows[at].mean()),
            "sd": float(np.std([half.figures["row_f1"] for half in found], ddof=1)),
            "difference": float(difference[at].mean()),
            "interval": ends[at].tolist(),
            "halves": [half.figures for half in found],
        }
        for at, (name, found) in enumerate(judged.items())
    }


def table(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """The comparison as a Markdown table, a line a system."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for at, (name, system) in enumerate(compared.items()):
        missed = [
            f"{np.mean([half[key] for half in system['halves']]):.1%}"
            for key in ("missed_never_proposed", "missed_scored_wrong")
        ]
        low, high = system["interval"]
        against = [f"{system['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}"] if at else ["", ""]
        cells = [_sizes(system["halves"]), f"{system['row_f1']:.3f}", f"{system['sd']:.3f}", *missed, *against]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sizes(halves_: Iterable[Mapping[str, Any]]) -> str:
    sizes = sorted({int(half["pool_size"]) for half in halves_})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}–{sizes[-1]:,}"
