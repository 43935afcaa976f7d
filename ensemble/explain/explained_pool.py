"""A matched pool with all that explains its matches: described pairs, scorer, decision, every branch's view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process

from branches import registry
from branches.base import BranchConfig
from branches.pool_stages import load_candidates, load_embeddings
from branches.stage_names import candidates_stage_name, embeddings_stage_name
from ensemble.answers.answers import Answers
from ensemble.answers.file import read_answers, run_answers
from ensemble.config import EnsembleConfig, ReviewConfig
from ensemble.decision.decision import Decision
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher, check_current
from ensemble.pair_stages import features_name, load_features
from ensemble.pool_views import BranchView, PoolViews
from ensemble.result_stages import load_scores, scores_name
from ensemble.scorer.model import StackedScorer
from ensemble.training_stages import DECISION, SCORER, load_decision
from ensemble.unlabeled_stages import START, scores_before_answers, start_settings
from shared.catalog.config import DataConfig, Duplicates
from shared.catalog.placeholders import set_aside
from shared.catalog.tables import printable
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import load_original
from shared.pipeline.pools import Pool, catalog_pool, holdout_pool, load_catalog, load_set_aside
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.schema import Catalog, PairFeatures, Rows


@dataclass(frozen=True)
class ExplainedPool:
    """The listings of a pool, their pairs and their matches, with all that they came from.

    A report reads no more than what matching has written: `ensemble.report.pool.MatchedPool`.

        pool = ExplainedPool.of_run(run, settings, catalog_pool())

    Args:
        views: The n listings with every branch's view of them.
        described: All candidate pairs with their features.
        scorer: What scored them; None in a run without labels, whose scores come from answers or similarities alone.
        decision: What decided the matches.
        result: The scored pairs and the matches, in the order of `described`, with people's answers if there are any.
        configs: Branch → its settings.
    """

    views: PoolViews
    described: PairFeatures
    scorer: StackedScorer | None
    decision: Decision
    result: MatchResult
    configs: Mapping[str, BranchConfig]

    @classmethod
    def of_run(cls, run: RunFolder, settings: Settings, pool: Pool) -> ExplainedPool:
        """Return a catalog or a holdout of a finished run.

        Args:
            run: The run; it is only read.
            settings: Its settings.
            pool: `catalog_pool(source)` or `holdout_pool(source)`.

        Raises:
            ArtifactError: A part of the run is missing, damaged, or older than what it was made from.
        """
        has_labels = scores_before_answers(run, pool.name) != START
        settings, decided = start_settings(settings), DECISION if has_labels else scores_name(pool.name)
        check_current(run, settings, (decided, scores_name(pool.name)))
        compute, names = settings[ComputeConfig], settings[EnsembleConfig].branches
        catalog, is_catalog = load_catalog(run.open(pool.stage)), pool == catalog_pool(pool.source)
        views = {
            name: BranchView(
                load_embeddings(run.open(embeddings_stage_name(name, pool))),
                load_candidates(run.open(candidates_stage_name(name, pool))),
            )
            for name in names
        }
        decision = load_decision(run.open(decided))
        duplicates = settings[DataConfig].duplicates if is_catalog else "unknown"
        scored, report = load_scores(run.open(scores_name(pool.name))), load_set_aside(run.open(pool.stage))
        path = run_answers(run.folder, settings[ReviewConfig]) if is_catalog else None
        given = Answers() if path is None else read_answers(path)
        holding = given.on(catalog) if path is None else given.on(catalog, load_original(run, pool.source))
        result = MatchResult.from_scores(decision, catalog, scored, report, duplicates, pins=holding.pins)
        return cls(
            PoolViews(catalog, views, compute.xp(), compute.cpu_threads),
            load_features(run.open(features_name(pool.name))),
            StackedScorer.load(run.open(SCORER)) if has_labels else None,
            decision,
            replace(result, answers=holding),
            _configs(settings, names),
        )

    @classmethod
    def of_match(
        cls, matcher: Matcher, catalog: Catalog, duplicates: Duplicates = "unknown", answers: Answers | None = None
    ) -> ExplainedPool:
        """Match a catalog, and return it with its matches.

        Args:
            matcher: Of a bundle or a finished run.
            catalog: The listings.
            duplicates: What the user knows of the catalog, see `Matcher.match`.
            answers: People's answers about pairs of the catalog; None: there are none.
        """
        original, (catalog, report) = catalog, set_aside(catalog)
        holding = (Answers() if answers is None else answers).on(catalog, original)
        views = matcher.embedded_pool(catalog, matcher.embed(catalog))
        described = matcher.describe(views, matcher.proposed(views))
        scored = matcher.scorer.score(described, views.xp, views.threads)
        result = MatchResult.from_scores(matcher.decision, catalog, scored, report, duplicates, pins=holding.pins)
        result = replace(result, answers=holding)
        configs = _configs(matcher.settings, matcher.branches)
        return cls(views, described, matcher.scorer, matcher.decision, result, configs)

    def __len__(self) -> int:
        return len(self.views)

    @property
    def copies(self) -> Rows:
        """Return for each listing the row of the one of equal content that stands for it in the pairs, int32 [n]."""
        copies = self.result.scored_pairs.copy_of
        return np.arange(len(self), dtype=np.int32) if copies is None else copies

    def row(self, posting_id: str) -> int:
        """Return the row of a listing.

        Raises:
            MatcherError: There is none with this id; the message names those with the nearest ids.
        """
        return row_of(self.views.catalog.ids, posting_id)


def row_of(ids: NDArray[Any], posting_id: str) -> int:
    """Return the row of a listing, the first one if there are several.

    Args:
        ids: Posting ids, str [n].
        posting_id: One of them.

    Raises:
        MatcherError: It is none of them; the message names the nearest ones.

    Examples:
        >>> row_of(np.array(["a", "b"], dtype=object), "b")
        1
    """
    rows = np.flatnonzero(ids == posting_id)
    if len(rows):
        return int(rows[0])
    nearest = [printable(each) for each, *_ in process.extract(posting_id, ids.tolist(), limit=3)]
    near = f"; the nearest ids are {', '.join(nearest)}" if nearest else ""
    raise MatcherError(f"there is no listing with the id {printable(posting_id)!r} among {len(ids):,}{near}")


def pool_with(run: RunFolder, sources: Sequence[str], posting_ids: Sequence[str], *, holdout: bool = False) -> Pool:
    """Return the pool of a run that holds some listings: of a run of several catalogs, the first one that does.

        pool_with(run, settings[DataConfig].sources, ["train_1", "train_2"])

    Args:
        run: A finished run.
        sources: Names of its catalogs.
        posting_ids: Ids of the listings.
        holdout: Whether to look among the holdouts instead of the catalogs.

    Raises:
        MatcherError: No pool has one of the listings, or none has all of them.
        ArtifactError: A pool is missing or damaged.
    """
    pools = [holdout_pool(source) if holdout else catalog_pool(source) for source in sources]
    ids = [load_catalog(run.open(pool.stage)).ids for pool in pools]
    for pool, of_pool in zip(pools, ids, strict=True):
        if set(posting_ids) <= set(of_pool):
            return pool
    for posting_id in posting_ids:
        row_of(np.concatenate(ids), posting_id)
    raise MatcherError(f"no catalog of the run has all of {', '.join(map(printable, posting_ids))}; name those of one")


def _configs(settings: Settings, names: Sequence[str]) -> dict[str, BranchConfig]:
    return {name: settings[registry.get(name).Config] for name in names}
