"""Measures a system on a pool that is made of a run's holdout: as decided, and at the best threshold in hindsight.

A pool is matched as a catalog of its own: whatever depends on the pool, such as how rare a word is, neighbors and
ranks, is worked out anew. The embeddings by trained encoders depend on each listing alone and are those of the run, and
shared evidence that was set aside in the holdout stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from branches import registry
from branches.pool_stages import load_embeddings
from branches.stage_names import embeddings_stage_name
from ensemble.config import EnsembleConfig, TuneConfig
from ensemble.decision.bootstrap import objective_interval, product_codes
from ensemble.decision.curves import RuleOnPools, ScoredPool, thresholds_to_try
from ensemble.decision.decision import Decision
from ensemble.decision.objective import Objective, listing_metrics, row_f1
from ensemble.evaluation.holdout import evaluate_matches
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher
from shared.compute import ComputeConfig
from shared.metrics.matching import group_sizes, label_codes
from shared.pipeline.pools import holdout_pool, load_catalog
from shared.pipeline.run import ArtifactStore
from shared.pipeline.settings import Settings
from shared.schema import Catalog, Embeddings

NO_MATCH = 1.0  # a threshold that hardly any pair reaches


@dataclass(frozen=True)
class LabeledListings:
    """Listings with labels, and their embeddings by the trained encoders.

    Args:
        catalog: n listings.
        learned: Embeddings by each branch with an encoder, n rows each.

    Examples:
        >>> listings = LabeledListings(Catalog.from_columns({"posting_id": ["a", "b", "c"]}), {})
        >>> listings.take(np.array([0, 2])).catalog.ids.tolist()
        ['a', 'c']
    """

    catalog: Catalog
    learned: Mapping[str, Embeddings]

    @classmethod
    def of_holdout(cls, run: ArtifactStore, settings: Settings, source: str) -> Self:
        """Return the holdout of a catalog of a run.

        Args:
            run: A finished run.
            settings: Its settings.
            source: Name of the catalog; "" in a run of one.

        Raises:
            ArtifactError: A part of the run is missing or damaged.
        """
        pool = holdout_pool(source)
        learning = [name for name in settings[EnsembleConfig].branches if registry.get(name).learns]
        learned = {name: load_embeddings(run.open(embeddings_stage_name(name, pool))) for name in learning}
        return cls(load_catalog(run.open(pool.stage)), learned)

    def take(self, rows: NDArray[np.integer]) -> LabeledListings:
        """Return some of the listings, in the given order."""
        return LabeledListings(
            self.catalog.take(rows), {name: embeddings.take(rows) for name, embeddings in self.learned.items()}
        )


def match_pool(matcher: Matcher, listings: LabeledListings) -> MatchResult:
    """Return the matches of listings as a pool of their own; their labels are not used.

    match_pool(Matcher(run, settings), LabeledListings.of_holdout(run, settings, "").take(rows))
    """
    others = [name for name in matcher.branches if name not in listings.learned]
    embeddings = {**listings.learned, **matcher.embed(listings.catalog, others)}
    return matcher.match_embedded(listings.catalog, {name: embeddings[name] for name in matcher.branches})


def measure_pool(matcher: Matcher, listings: LabeledListings) -> dict[str, Any]:
    """Return the metrics of a system on listings that it was neither trained nor tuned on.

        measure_pool(Matcher(run, settings), LabeledListings.of_holdout(run, settings, ""))["row_f1"]

    Args:
        matcher: With the scorer and the decision of the system.
        listings: A pool of their own.

    Returns:
        Those of `evaluate_matches`; `with_match`: share of the labeled listings that have a match; `rule` and
        `threshold`; `interval`: 90 % bootstrap interval over products of the row F1; `at_best` and `best_threshold`:
        row F1 of the same rule at its best threshold on this very pool; `loss`: what the row F1 falls short of that.
    """
    result, codes = match_pool(matcher, listings), label_codes(listings.catalog.labels)
    tuning, decision = matcher.settings[TuneConfig], matcher.decision
    metrics = evaluate_matches(result.match_rows, result.scored_pairs, codes)
    threshold = decision.threshold if result.threshold is None else result.threshold
    best, best_threshold = hindsight(decision, (result.scored_pairs, codes), tuning.thresholds)
    if metrics["row_f1"] >= best:
        best, best_threshold = metrics["row_f1"], threshold
    rows, seed = listing_metrics(result.match_rows, codes), matcher.settings[ComputeConfig].seed
    return metrics | {
        "with_match": float((group_sizes(codes[codes >= 0]) > 1).mean()),
        "rule": decision.rule,
        "threshold": threshold,
        "interval": objective_interval(rows, product_codes([codes]), Objective(), tuning.resamples, seed),
        "at_best": best,
        "best_threshold": best_threshold,
        "loss": best - metrics["row_f1"],
    }


def hindsight(decision: Decision, pool: ScoredPool, count: int) -> tuple[float, float]:
    """Return the best row F1 of a decision's rule on a pool, and the lowest threshold where it has it.

    That nothing but equal content matches is among the thresholds, which is best where no listing has a match.

    Args:
        decision: The decision; its threshold is not used.
        pool: Scored pairs and label codes.
        count: Maximum number of other thresholds to try.

    Examples:
        >>> from shared.schema import ScoredPairs
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.75, 0.25], np.float32))
        >>> hindsight(Decision("threshold", 0.1), (pairs, np.array([0, 0, 1])), 10)
        (1.0, 0.5)
        >>> hindsight(Decision("threshold", 0.1), (pairs, np.array([0, 1, 2])), 10)
        (1.0, 1.0)
    """
    rule = RuleOnPools(replace(decision, prior_shift=0.0, singles_shift=0.0, least=0.0), [pool])
    thresholds = [*thresholds_to_try(pool[0].score, count).tolist(), NO_MATCH]
    values = [float(row_f1(rule.sums(threshold))) for threshold in thresholds]
    best = int(np.argmax(values))
    return values[best], thresholds[best]
