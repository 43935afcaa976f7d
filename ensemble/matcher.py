"""What matches a catalog: the encoders, the scorer and the decision of a bundle or of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import pandas as pd
from threadpoolctl import threadpool_limits

from branches import stages as branch
from ensemble.bundle.archive import Bundle
from ensemble.candidates import union
from ensemble.config import EnsembleConfig
from ensemble.decision.tuning import load_decision
from ensemble.features import pair_features
from ensemble.match_result import Result
from ensemble.pool_views import BranchView, PoolViews, Surroundings
from ensemble.scorer.training import load_scorer
from shared.catalog.reader import DataConfig, frame_catalog
from shared.compute import ComputeConfig
from shared.errors import ArtifactError
from shared.pipeline.pools import ALL
from shared.pipeline.run import Run, digest
from shared.pipeline.settings import Settings, merge, portable, remembered
from shared.schema import Candidates, Catalog, Embedder, Embeddings, Pairs

SCORER, DECISION = "ensemble/scorer", "ensemble/decision"
READ = {SCORER: ("first.txt", "second.txt"), DECISION: ("decision.json",)}  # stage → files; of others: all


@dataclass(frozen=True)
class Matched:
    """A matched catalog as frames.

    Attributes:
        matches: `posting_id`, `match`, `score`: a row for each match of each listing, the best first. The score is NaN
            where two listings match by their group and not by a scored pair.
        groups: `posting_id`, `group_id`: every listing once, in the order given. A group is named by its smallest id.
        pairs: `left`, `right`, `score`: every candidate pair.
    """

    matches: pd.DataFrame
    groups: pd.DataFrame
    pairs: pd.DataFrame


class Matcher:
    """Matches catalogs; keeps nothing of what it matched.

        from ensemble import Matcher

        matched = Matcher.load("bundle").match(listings, images="photos")

    Args:
        run: A bundle, or a run whose decision was tuned with its present encoders and scorer.
        settings: Its settings.
    """

    def __init__(self, run: Run, settings: Settings) -> None:
        self.settings, self.branches = settings, settings[EnsembleConfig].branches
        self._run, self._compute = run, settings[ComputeConfig]
        self.scorer, self.decision = load_scorer(run), load_decision(run)

    @classmethod
    def load(cls, bundle: str | Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", threads: int = 0) -> Self:
        """Open a bundle.

        Args:
            bundle: Its folder.
            device: Where the work runs; auto takes an NVIDIA GPU when there is one.
            threads: CPU threads; 0: one for each core.

        Raises:
            ArtifactError: It is no bundle, or not as it was made.
            MatcherError: `device` or `threads` is no such value.
        """
        opened = Bundle(Path(bundle))
        compute = {"compute": {"device": device, "threads": threads}}
        return cls(opened, Settings(merge(remembered(opened.folder), compute)))

    @classmethod
    def of_run(cls, run: Run, settings: Settings) -> Self:
        """Open a bundle or a finished run that was opened before.

        Raises:
            ArtifactError: A part of it is missing, damaged, or was made again since the decision was tuned.
        """
        if not isinstance(run, Bundle):
            check_current(run, settings[EnsembleConfig].branches)
        return cls(run, settings)

    @property
    def digest(self) -> str:
        """Digest of all that its scores and matches depend on; the same for a run and for the bundle made of it."""
        return matcher_digest(self._run, self.settings)

    def match(self, listings: pd.DataFrame, images: str | Path | None = None) -> Matched:
        """Match the listings of a frame.

        Args:
            listings: With the columns `posting_id` and `title`, `image` or both; `image_phash` where hashes are known.
                A cell may be empty; other columns are not read.
            images: Folder with the files that `image` names; None: do without pictures.

        Raises:
            MatcherError: The frame has faults (one error names all of them), or there is no such folder.
        """
        with threadpool_limits(self._compute.cpu_threads):
            config = DataConfig(max_pixels=self.settings[DataConfig].max_pixels)
            folder = None if images is None else Path(images)
            result = self.match_catalog(frame_catalog(listings, folder, config, self._compute))
        return Matched(**{name: table.to_pandas() for name, table in result.tables().items()})

    def match_catalog(self, catalog: Catalog) -> Result:
        """Match listings, as a pool of their own; their labels are not used."""
        return self.match_embedded(catalog, self.embed(catalog))

    def embed(self, catalog: Catalog, names: Sequence[str] | None = None) -> dict[str, Embeddings]:
        """Embed listings by branch.

        Args:
            catalog: n listings.
            names: Branches; all that take part if None.

        Returns:
            Branch → embeddings, n rows each. An encoder's depend on each listing alone, those of a branch that does not
            learn on the whole catalog.
        """
        chosen = self.branches if names is None else names
        return {name: branch.embed(self._run, self.settings, name, catalog, ALL) for name in chosen}

    def embedder(self, name: str, pool: Catalog) -> Embedder:
        """What embeds other listings by one branch, to be compared with those of a pool."""
        return branch.embedder(self._run, self.settings, name, pool)

    def match_embedded(self, catalog: Catalog, embeddings: Mapping[str, Embeddings]) -> Result:
        """Match listings that are embedded already.

        Args:
            catalog: n listings.
            embeddings: Of every branch, in the order of `branches`, n rows each.
        """
        views = {name: BranchView(embeddings[name], self.candidates(name, embeddings[name])) for name in self.branches}
        return self.match_pool(self.pool(catalog, views))

    def candidates(self, name: str, embeddings: Embeddings) -> Candidates:
        """The pairs that a branch proposes among embedded listings."""
        return branch.candidates(self.settings, name, embeddings)

    def pool(
        self, catalog: Catalog, views: Mapping[str, BranchView], surroundings: Surroundings | None = None
    ) -> PoolViews:
        """Listings with every branch's view of them, in the order of `branches`."""
        return PoolViews(catalog, views, self._compute.xp(), self._compute.cpu_threads, surroundings)

    def match_pool(self, pool: PoolViews) -> Result:
        """Match listings of which every branch's embeddings and candidates are known."""
        described = self.describe(pool, self.proposed(pool))
        return Result.decided(self.decision, pool.catalog, self.scorer.score(described, pool.xp, pool.threads))

    def proposed(self, pool: PoolViews) -> Pairs:
        """The pairs that the branches propose."""
        return union((view.candidates for view in pool.branches.values()), len(pool))

    def describe(self, pool: PoolViews, pairs: Pairs) -> Pairs:
        """Pairs of a pool with their features."""
        return pair_features(pool, pairs, self.settings[EnsembleConfig].features)


def matcher_digest(run: Run, settings: Settings) -> str:
    """`Matcher.digest` of a run or a bundle that is not opened yet.

    Raises:
        ArtifactError: A part of it is missing or altered.
    """
    names, plain = settings[EnsembleConfig].branches, Settings(portable(settings.values))
    read = {name: plain.branch(name).until("candidates") for name in names}
    return digest([matching_files(run, names), names, read])


def matching_files(run: Run, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The files of a run or a bundle that matching reads: stage → name → SHA-256.

    Raises:
        ArtifactError: One of them is missing or altered.
    """
    found: dict[str, dict[str, str]] = {}
    for stage in (*branch.encoder_stages(names), SCORER, DECISION):
        run.open(stage)
        outputs = (run.manifest(stage) or {})["outputs"]
        found[stage] = {name: sha for name, sha in outputs.items() if name in READ.get(stage, outputs)}
    return found


def check_current(run: Run, names: Sequence[str]) -> None:
    """Make sure that a run's encoders and scorer are those its decision was tuned with.

    Raises:
        ArtifactError: One of them is missing, damaged, or was made again since.
    """
    run.open(DECISION)
    tuned_with = (run.manifest(DECISION) or {})["key"]["inputs"]
    now = {SCORER: run.digest_of(SCORER)} | branch.encoder_digests(run, names)
    newer = [stage for stage, digest in now.items() if tuned_with.get(stage) != digest]
    if newer:
        made = f"{', '.join(newer)} changed after the decision was tuned"
        raise ArtifactError(f"{run.folder}: {made}; ./run_all.sh --run {run.folder} brings the rest up to date")
