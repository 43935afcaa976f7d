"""Searches the settings of the scorer for those whose out-of-fold scores are the best probabilities.

What is made small is the log loss of the out-of-fold scores, not row F1: it moves with every pair, while row F1 moves
with the few that cross the threshold and is mostly noise between settings that are alike. Settings are proposed by
tree-structured Parzen estimators (Bergstra, Bardenet, Bengio and Kégl 2011, Algorithms for Hyper-Parameter
Optimization, section 4), those of the run first. The proposal of a trial depends on the seed, its number and the trials
before it alone, so a search that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from sklearn.metrics import log_loss

from ensemble.config import ScorerConfig, TuneConfig
from ensemble.decision.tuning import tune
from ensemble.features import features_all
from ensemble.scorer.training import LabeledPool, excluded_features, labeled_pools, train_scorer
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import same_product
from shared.pipeline.cli import command
from shared.pipeline.pools import fold_pools
from shared.pipeline.run import Run, code_digest, digest, write_json
from shared.pipeline.settings import Settings
from shared.schema import ScoredPairs

FOLDER = "ensemble/search"
SPACE: dict[str, FloatDistribution | IntDistribution] = {
    "learning_rate": FloatDistribution(0.01, 0.2, log=True),
    "leaves": IntDistribution(8, 128, log=True),
    "min_pairs_in_leaf": IntDistribution(5, 200, log=True),
    "feature_fraction": FloatDistribution(0.2, 1.0),
    "row_fraction": FloatDistribution(0.4, 1.0),
    "l2": FloatDistribution(0.1, 100.0, log=True),
    "group_size_power": FloatDistribution(0.0, 1.0),
}

Trial = dict[str, Any]  # settings, log_loss


def proposed(trials: Sequence[Trial], start: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The settings to try next.

    Args:
        trials: Those that were tried, in order.
        start: What is tried first; a value outside of `SPACE` is brought to its nearest end.
        seed: Of the search.
    """
    if not trials:
        return {name: min(max(start[name], space.low), space.high) for name, space in SPACE.items()}
    space: dict[str, BaseDistribution] = {**SPACE}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed + len(trials)))
    for trial in trials:
        study.add_trial(optuna.create_trial(params=trial["settings"], distributions=space, value=trial["log_loss"]))
    return study.ask(space).params


def log_loss_of(scored: Sequence[ScoredPairs], pools: Sequence[LabeledPool]) -> float:
    """Return the mean log loss in nats over all pairs of all pools, whatever they weigh in training."""
    match = np.concatenate([same_product(pairs.left, pairs.right, codes) for pairs, codes in pools])
    score = np.concatenate([pairs.score for pairs in scored]).astype(np.float64)
    return float(log_loss(match, np.clip(score, 1e-7, 1 - 1e-7), labels=[False, True]))  # float32 rounds to 0 or 1


class Search:
    """A search below a run's folder; every finished trial is kept.

    Args:
        run: The run, its pair features described.
        settings: Its settings; what `SPACE` does not name stays as it is there.
    """

    def __init__(self, run: Run, settings: Settings) -> None:
        self.run, self.settings, self.compute = run, settings, settings[ComputeConfig]
        self.config = settings[ScorerConfig]
        self.pools = labeled_pools(run, fold_pools(settings))
        self.exclude = excluded_features(settings)
        self.path = run.folder / FOLDER / "trials.json"
        inputs = [run.digest_of(f"ensemble/features/{pool.name}") for pool in fold_pools(settings)]
        about = [self.config.model_dump(mode="json"), self.compute.seed, code_digest("ensemble.search")]
        self.key = digest([inputs, about])
        self.trials: list[Trial] = [] if "" in run.force else self._kept()

    def _kept(self) -> list[Trial]:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            key, trials = kept["key"], kept["trials"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise MatcherError(f"{self.path} is damaged ({error}); --force begins a new search") from error
        return trials if key == self.key else []

    def go_on(self, count: int) -> None:
        """Try settings until `count` trials are there."""
        while len(self.trials) < count:
            settings = proposed(self.trials, self.config.model_dump(), self.compute.seed)
            scored = self.scored(settings)
            self.trials.append({"settings": settings, "log_loss": log_loss_of(scored, self.pools)})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"key": self.key, "trials": self.trials})
            shown = " ".join(f"{name}={value:.3g}" for name, value in settings.items())
            self.run.say(f"  trial {len(self.trials):>3}  log loss {self.trials[-1]['log_loss']:.5f}  {shown}")

    def scored(self, settings: Mapping[str, Any]) -> list[ScoredPairs]:
        """The out-of-fold scores of all pools by a scorer with these settings."""
        config = self.config.model_copy(update=dict(settings))
        return train_scorer(self.pools, config, self.compute, self.exclude)[1]

    @property
    def best(self) -> Trial:
        """The trial with the least log loss; of equals the first."""
        return min(self.trials, key=lambda trial: trial["log_loss"])

    def row_f1(self, settings: Mapping[str, Any]) -> float:
        """Out-of-fold row F1 with these settings, by the decision that is then tuned."""
        pools = [(pairs, codes) for pairs, (_, codes) in zip(self.scored(settings), self.pools, strict=True)]
        return tune(pools, self.settings[TuneConfig], self.compute.seed).chosen.row_f1


def conclude(search: Search) -> Path:
    """Say what was found, and write the best settings as a file for `--config`."""
    first, best = search.trials[0], search.best
    path = search.run.folder / FOLDER / "best.yaml"
    path.write_text(yaml.safe_dump({"scorer": best["settings"]}, sort_keys=False), encoding="utf-8")
    pools = f"out of fold in pools of {' + '.join(f'{pairs.n:,}' for pairs, _ in search.pools)}"
    for name, trial in (("as set", first), ("best", best)):
        f1 = search.row_f1(trial["settings"])
        search.run.say(f"  {name:<7} log loss {trial['log_loss']:.5f}, row F1 {f1:.3f}, {pools}")
    return path


def main() -> int:
    """The command `python -m ensemble.search`."""

    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--trials", type=int, default=30, metavar="N", help="settings to try in all (default: 30)")

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        if arguments.trials < 1:
            raise MatcherError(f"--trials={arguments.trials}: at least one is needed, the settings as they are")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        features_all(run, settings)
        run.force = ("",) if arguments.force else ()
        search = Search(run, settings)
        search.go_on(arguments.trials)
        path = conclude(search)
        run.say(f"\nto use the best: ./run_all.sh --run {run.folder} --config {path}")

    about = "Search the scorer's settings for the best out-of-fold probabilities; goes on where it was stopped."
    sections = ["scorer", "ensemble", "compute"]
    return command(body, about, sections, usage="python -m ensemble.search", options=options)


if __name__ == "__main__":
    raise SystemExit(main())
