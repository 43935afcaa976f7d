"""Searches the settings of the scorer for those whose out-of-fold scores are the best probabilities.

It minimizes the log loss of the out-of-fold scores, not row F1: the log loss depends on every pair, while row F1
depends on the few pairs near the threshold and is mostly noise between settings that are alike. Settings are proposed
by tree-structured Parzen estimators (Bergstra, Bardenet, Bengio and Kégl 2011, Algorithms for Hyper-Parameter
Optimization, section 4); the first trial has the settings of the run. The proposal of a trial depends only on the
seed, its number and the earlier trials, so a killed search continues with the same proposals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from sklearn.metrics import log_loss

from ensemble.cli import update_run
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.tuning import tune
from ensemble.features.assemble import excluded_features
from ensemble.pair_stages import features_name
from ensemble.scorer.training import train_scorer
from ensemble.sections import sections
from ensemble.thinning import kinds_of
from ensemble.training_stages import labeled_pools, thinned_stages
from shared.artifacts import digest, read_json, write_json
from shared.catalog.config import DataConfig
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.metrics.matching import same_product
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.code_digest import code_digest
from shared.pipeline.pools import fold_pools
from shared.pipeline.run import RunFolder
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
    """Return the settings to try next.

    Args:
        trials: The earlier trials, in order.
        start: The settings of the first trial; a value outside of `SPACE` is moved to the nearest end of its range.
        seed: Of the search.

    Examples:
        >>> proposed([], ScorerConfig(leaves=500).model_dump(), seed=0)["leaves"]
        128
    """
    if not trials:
        return {name: min(max(start[name], space.low), space.high) for name, space in SPACE.items()}
    space: dict[str, BaseDistribution] = {**SPACE}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed + len(trials)))
    for trial in trials:
        study.add_trial(optuna.create_trial(params=trial["settings"], distributions=space, value=trial["log_loss"]))
    return study.ask(space).params


def log_loss_of(pools: Sequence[ScoredPairs], codes: Sequence[NDArray[np.integer]]) -> float:
    """Return the mean log loss in nats over all pairs of all pools, whatever their weight in training.

    Args:
        pools: The scored pairs of each pool.
        codes: The label codes of each pool's listings.

    Examples:
        >>> row = np.array([0], np.int32)
        >>> pairs = ScoredPairs(2, row, row + 1, np.array([0.5], np.float32))
        >>> round(log_loss_of([pairs], [np.array([5, 5])]), 3)
        0.693
    """
    match = [same_product(pairs.left, pairs.right, of_pool) for pairs, of_pool in zip(pools, codes, strict=True)]
    score = np.concatenate([pairs.score for pairs in pools]).astype(np.float64)
    return float(
        log_loss(np.concatenate(match), np.clip(score, 1e-7, 1 - 1e-7), labels=[False, True])
    )  # float32 rounds to 0 or 1


class Search:
    """A search below a run's folder; every finished trial is kept.

        search = Search(run, settings)
        search.go_on(30)
        search.best["settings"]

    Args:
        run: The run, with the features of its fold pools.
        settings: Its settings; what `SPACE` does not name stays as it is there.
        anew: Whether to begin a new search even if there are trials of an earlier one.
    """

    def __init__(self, run: RunFolder, settings: Settings, *, anew: bool = False) -> None:
        self.run, self.settings, self.compute = run, settings, settings[ComputeConfig]
        self.config = settings[ScorerConfig]
        folds = fold_pools(settings[SplitConfig].folds, settings[DataConfig].sources)
        stages = [(pool.name, pool.fold, pool.source) for pool in folds]
        self.pools = labeled_pools(run.open, stages, thinned=bool(self.config.thinned))
        self._thinned = len(kinds_of(self.config.thinned))  # after each whole pool come those thinned from it
        self._codes = [pool.codes for pool in self.pools]
        self.left_out = excluded_features(settings[EnsembleConfig], self.config)
        self.path = run.folder / FOLDER / "trials.json"
        inputs = [run.digest_of(name) for name in described_stages(settings)]
        code = [code_digest(["ensemble.scorer.training"], work) for work in (proposed, log_loss_of)]
        space = {name: repr(values) for name, values in SPACE.items()}
        self.key = digest([inputs, self.config.cache_key(), self.compute.seed, space, code])
        self.trials: list[Trial] = [] if anew else self._kept()

    def _kept(self) -> list[Trial]:
        if not self.path.exists():
            return []
        content = read_json(self.path, "--force begins a new search")
        if not isinstance(content.get("trials"), list):
            raise ArtifactError(f"{self.path} is damaged; --force begins a new search")
        return content["trials"] if content.get("key") == self.key else []

    def go_on(self, count: int) -> None:
        """Try settings until there are `count` trials."""
        while len(self.trials) < count:
            settings = proposed(self.trials, self.config.model_dump(), self.compute.seed)
            pairs = self.scored(settings)
            self.trials.append({"settings": settings, "log_loss": log_loss_of(pairs, self._codes)})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"key": self.key, "trials": self.trials})
            values = " ".join(f"{name}={value:.3g}" for name, value in settings.items())
            self.run.say(f"  trial {len(self.trials):>3}  log loss {self.trials[-1]['log_loss']:.5f}  {values}")

    def scored(self, settings: Mapping[str, Any]) -> list[ScoredPairs]:
        """Return the out-of-fold scores of all pools by a scorer with these settings."""
        config = self.config.model_copy(update=dict(settings))
        return train_scorer(self.pools, config, self.compute, self.left_out)[1]

    @property
    def best(self) -> Trial:
        """Return the trial with the least log loss; of equals the first."""
        return min(self.trials, key=lambda trial: trial["log_loss"])

    def row_f1(self, settings: Mapping[str, Any]) -> float:
        """Return the out-of-fold row F1 with these settings, after the decision is tuned for them."""
        scored = zip(self.scored(settings), self.pools, strict=True)
        pools = [(pairs.with_copies(pool.copies), pool.codes) for pairs, pool in scored]
        parts = [pools[start : start + self._thinned + 1] for start in range(0, len(pools), self._thinned + 1)]
        whole, thinned = [part[0] for part in parts], [part[1:] for part in parts]
        sources = [pool.source for pool in self.pools[:: self._thinned + 1]]
        return tune(whole, self.settings[TuneConfig], self.compute.seed, thinned, sources).row_f1


def described_stages(settings: Settings) -> list[str]:
    """Return the names of the stages with the pairs that a scorer learns from."""
    folds = fold_pools(settings[SplitConfig].folds, settings[DataConfig].sources)
    thinned = [stage.name for stage in thinned_stages(folds, settings)]
    return [*(features_name(pool.name) for pool in folds), *thinned]


def conclude(search: Search) -> Path:
    """Print the result of a search, and write the best settings into a file for `--config`, whose path it returns."""
    first, best = search.trials[0], search.best
    path = search.run.folder / FOLDER / "best.yaml"
    path.write_text(yaml.safe_dump({"scorer": best["settings"]}, sort_keys=False), encoding="utf-8")
    whole = search.pools[:: 1 + len(kinds_of(search.config.thinned))]
    pools = f"out of fold in pools of {' + '.join(f'{pool.pairs.n:,}' for pool in whole)}"
    for name, trial in (("run", first), ("best", best)):
        f1 = search.row_f1(trial["settings"])
        search.run.say(f"  {name:<7} log loss {trial['log_loss']:.5f}, row F1 {f1:.3f}, {pools}")
    return path


def main() -> int:
    """Search the settings of a run's scorer."""

    def options(parser: Parser) -> None:
        parser.add_argument("--trials", type=int, default=30, metavar="N", help="number of trials in all (default: 30)")

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        if arguments.trials < 1:
            raise MatcherError(
                f"--trials={arguments.trials}: at least one trial is needed, with the settings of the run"
            )
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        update_run(run, settings, described_stages(settings), labels=True)
        search = Search(run, settings, anew=arguments.force)
        search.go_on(arguments.trials)
        path = conclude(search)
        run.say(f"\nto use the best settings: ./run_all.sh --run {run.folder} --config {path}")

    about = "Search the scorer's settings for the best out-of-fold probabilities; a stopped search continues."
    help_sections = ["scorer", "ensemble", "compute"]
    return Command(
        "python -m ensemble.search", about, sections(), help_sections, body, options=options, stages="alone"
    ).run()


if __name__ == "__main__":
    raise SystemExit(main())
