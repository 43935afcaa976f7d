"""How a system is judged."""

import numpy as np

from ensemble.ablation.scoring import Material, judge
from ensemble.config import TuneConfig
from ensemble.decision.guard import is_unlike
from ensemble.decision.tuning import tune
from tests.support.catalogs import titled
from tests.support.scored_pairs import Edges, pool, scored


def test_threshold_of_a_system_is_the_one_that_was_used() -> None:
    """The guard raises it on listings whose scores chain products."""
    right: Edges = {(i, i + 1): 0.5 + i / 250 for i in range(0, 100, 2)}
    wrong: Edges = {(i, i + 3): 0.3 for i in range(0, 97, 2)}
    folds = [pool(100, right | wrong, [i // 2 for i in range(100)])]
    rng = np.random.default_rng(0)
    drawn = np.sort(np.stack([rng.choice(200, 2, replace=False) for _ in range(200)]), axis=1)
    chains: Edges = {(int(i), int(j)): float(rng.uniform(0.5, 0.9)) for i, j in drawn}
    holdout = scored(200, chains | {(i, i + 1): 0.97 for i in range(0, 200, 2)})
    catalog = titled([f"mug {i}" for i in range(200)], label_group=[f"g{i // 2}" for i in range(200)])
    tuning = TuneConfig(rules=["average_link"], resamples=2, prior_shift=0, smoothing=0)
    metrics, _ = judge("scorer", [], Material([folds[0][0], holdout], [], {}, [folds[0][1]], tuning), catalog)
    decision = tune(folds, tuning).decision
    outcome = decision.decide(holdout, catalog.ids)
    assert is_unlike(outcome.agreement)
    assert metrics["threshold"] == outcome.threshold > decision.threshold
