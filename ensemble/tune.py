"""Tunes the decision: the rule and threshold with the best mean row F1 on the out-of-fold scores of the fold pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.config import EnsembleConfig, Rule, TuneConfig
from ensemble.decide import RULES, Decision, capped
from ensemble.train import load_fold_scores, train_all
from shared.branch import encoder_digests
from shared.command import step_command
from shared.metrics import label_codes, midways, row_scores
from shared.pools import fold_pools, load_split, pool_rows, train_catalog
from shared.run import Run, write_json
from shared.schema import Pairs
from shared.settings import Settings

LEAST = 0.05  # thresholds below this are not tried
ScoredPool = tuple[Pairs, NDArray[np.integer]]  # scored pairs, label codes [n]


@dataclass(frozen=True)
class Tuned:
    """A decision and how it was found.

    Args:
        decision: The best one.
        row_f1: Its mean row F1 on the pools it was tuned on.
        pool_sizes: Listings of each of those pools.
        curves: Of every rule, (threshold, mean row F1) with rising threshold.
    """

    decision: Decision
    row_f1: float
    pool_sizes: list[int]
    curves: dict[Rule, list[tuple[float, float]]]


def cuts(scores: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """Thresholds to try: at most `count`, each midway between two neighbouring distinct scores.

    They are spread evenly over the ranks of the scores above `LEAST`; the lowest one selects all of these.
    """
    above = np.asarray(scores, dtype=np.float64)
    middles = midways(np.append(above[above >= LEAST], LEAST))
    if len(middles) == 0:
        return np.array([0.5])
    return np.unique(middles[np.linspace(0, len(middles) - 1, min(count, len(middles))).round().astype(int)])


def tune(pools: Sequence[ScoredPool], config: TuneConfig) -> Tuned:
    """Try every rule with every threshold; the first of equals wins.

    Args:
        pools: Scored pairs and labels of pools on which no score was trained.
        config: Section `tune`.
    """
    thresholds = cuts(np.concatenate([_scores(pairs) for pairs, _ in pools]), config.thresholds)
    curves = {rule: _curve(rule, pools, thresholds, config.max_matches) for rule in config.rules}
    best = max(config.rules, key=lambda rule: max(f1 for _, f1 in curves[rule]))
    threshold, f1 = max(curves[best], key=lambda point: point[1])
    return Tuned(Decision(best, threshold, config.max_matches), f1, [pairs.n for pairs, _ in pools], curves)


def _curve(
    rule: Rule, pools: Sequence[ScoredPool], thresholds: NDArray[np.float64], most: int
) -> list[tuple[float, float]]:
    ready = [(RULES[rule](pairs), codes) for pairs, codes in pools]
    points = []
    for threshold in thresholds.tolist():
        rows = [row_scores(capped(made.matches(threshold), most), codes)[:, 2] for made, codes in ready]
        points.append((threshold, float(np.nanmean(np.concatenate(rows)))))
    return points


def _scores(pairs: Pairs) -> NDArray[np.floating]:
    return pairs.score if pairs.score is not None else np.zeros(0, dtype=np.float32)


def fold_codes(run: Run, settings: Settings) -> list[NDArray[np.integer]]:
    """Label codes of the listings of every fold pool."""
    codes, split = label_codes(train_catalog(run).labels), load_split(run)
    return [codes[pool_rows(split, pool)] for pool in fold_pools(settings)]


def tune_stage(run: Run, settings: Settings) -> None:
    """Tune the decision of a run; keeps the whole curve of every rule beside it."""
    config, pools = settings[TuneConfig], fold_pools(settings)

    def work(out: Path) -> Mapping[str, Any]:
        scored = [load_fold_scores(run, pool) for pool in pools]
        tuned = tune(list(zip(scored, fold_codes(run, settings), strict=True)), config)
        tuned.decision.save(out / "decision.json")
        write_json(out / "curves.json", {"row_f1": tuned.row_f1, "pool_sizes": tuned.pool_sizes, "rules": tuned.curves})
        sizes = " + ".join(f"{size:,}" for size in tuned.pool_sizes)
        return {
            "rule": tuned.decision.rule,
            "threshold": tuned.decision.threshold,
            "row F1 out of fold": tuned.row_f1,
            "in pools of": sizes,
        }

    inputs = {name: run.digest_of(name) for name in ("ensemble/scorer", "split", "catalogue/train")}
    inputs |= encoder_digests(run, settings[EnsembleConfig].branches)  # for `match`, which must find them unchanged
    run.stage("ensemble/decision", "ensemble.tune", inputs, {"tune": config.model_dump(mode="json")}, work)


def load_decision(run: Run) -> Decision:
    """The tuned decision of a run."""
    return Decision.load(run.open("ensemble/decision") / "decision.json")


def tune_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the decision."""
    train_all(run, settings)
    tune_stage(run, settings)


def main() -> int:
    """The command `python -m ensemble.tune`."""
    about = "Tune the decision rule and its threshold on out-of-fold scores; does the steps before it if needed."
    return step_command(
        tune_all, "ensemble/decision", about, ["tune", "scorer", "ensemble", "compute"], usage="python -m ensemble.tune"
    )


if __name__ == "__main__":
    raise SystemExit(main())
