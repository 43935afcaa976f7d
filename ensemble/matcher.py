"""Matches a catalog with the encoders, the scorer and the decision of a bundle or of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import pandas as pd
from threadpoolctl import threadpool_limits

from branches import registry
from branches.base import Embedder
from branches.candidates import propose
from branches.stage_names import encoder_stage_name, new_catalog_encoders
from branches.stages import embed_catalog
from ensemble.answers.answers import Answers
from ensemble.answers.file import answers_of
from ensemble.bundle.archive import Bundle
from ensemble.candidate_pairs import union
from ensemble.config import EnsembleConfig
from ensemble.decision.pins import Pins
from ensemble.features.assemble import Description
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView, PoolViews, Surroundings
from ensemble.scorer.blocks import FirstScores, rescore
from ensemble.scorer.experience import FILE as EXPERIENCE
from ensemble.scorer.experience import Experience, Unlikeness
from ensemble.scorer.gate import first_scores
from ensemble.scorer.model import StackedScorer
from ensemble.sections import sections
from ensemble.training_stages import DECISION, SCORER, load_decision
from shared.artifacts import damage, digest
from shared.catalog.config import DataConfig, Duplicates
from shared.catalog.copies import copy_of
from shared.catalog.placeholders import set_aside
from shared.catalog.reader import frame_catalog
from shared.compute import ComputeConfig
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.catalog_stages import require_labeled_run
from shared.pipeline.pools import ALL
from shared.pipeline.run import ArtifactStore, RunFolder, remembered
from shared.pipeline.settings import Settings, merge, portable
from shared.schema import CandidatePairs, Candidates, Catalog, Embeddings, PairFeatures, Rows, ScoredPairs

READ = {SCORER: ("first.txt", "second.txt", EXPERIENCE), DECISION: ("decision.json",)}  # stage → files; of others: all


class Matcher:
    """Matches catalogs; it holds nothing of a catalog once that is matched.

        from ensemble import Matcher

        matched = Matcher.load("bundle").match(listings, images="photos")

    Encoders are read when they are needed. Where one is no longer what it was when the matcher was made, that is an
    `ArtifactError`: scorer and decision would not fit it.

    Args:
        store: A bundle, or a run whose decision was tuned with its present encoders and scorer.
        settings: Its settings.
    """

    def __init__(self, store: ArtifactStore, settings: Settings) -> None:
        self.settings, self.branches = settings, settings[EnsembleConfig].branches
        self._store, self._compute = store, settings[ComputeConfig]
        self._files = matching_files(store, self.branches)
        self.scorer, self.decision = StackedScorer.load(store.open(SCORER)), load_decision(store.open(DECISION))
        self.experience = Experience.load(store.open(SCORER))

    @classmethod
    def load(cls, bundle: str | Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", threads: int = 0) -> Self:
        """Return the matcher of a bundle.

        Args:
            bundle: Its folder.
            device: Where the work runs; `auto` takes an NVIDIA GPU if there is one.
            threads: Number of CPU threads; 0: one for each core.

        Raises:
            ArtifactError: The folder is no bundle, or a file in it was altered.
            MatcherError: `device` or `threads` is not an allowed value.
        """
        store = Bundle(Path(bundle))
        compute = {"compute": {"device": device, "threads": threads}}
        return cls(store, Settings(merge(remembered(store.folder), compute), sections()))

    @classmethod
    def of_run(cls, run: RunFolder, settings: Settings) -> Self:
        """Return the matcher of a finished run.

        Raises:
            ArtifactError: A part of the run is missing, damaged, or was made again since the decision was tuned.
            MatcherError: It is a run without labels.
        """
        require_labeled_run(run)
        check_current(run, settings)
        return cls(run, settings)

    @property
    def digest(self) -> str:
        """Return the digest of all that scores and matches depend on; it is the same for a run and its bundle."""
        return _digest(self._files, self.settings)

    def match(
        self,
        listings: pd.DataFrame,
        images: str | Path | None = None,
        duplicates: Duplicates = "unknown",
        answers: Answers | str | Path | None = None,
        follow_links: bool = False,
    ) -> MatchResult:
        """Match the listings of a frame.

        Args:
            listings: With the columns `posting_id` and `title`, `image` or both; `image_phash` if there are hashes.
                A cell may be empty; other columns are not read.
            images: Folder with the files that `image` names; None or "": do without images.
            duplicates: What you know of the catalog: `all`, every listing has a match; `pairs`, no product has more
                than two listings (two lists with one listing of each product); `unknown`.
            answers: People's answers about pairs of listings, or the file with them: what they say holds.
            follow_links: Whether to use images that are links to files outside of their folder.

        Returns:
            The result, whose `groups`, `matches` and `pairs` are frames with ids of the dtype that they have in
            `listings`. Its frame `not_used` lists what could not be read or was set aside.

        Raises:
            MatcherError: The frame has faults (one error names all of them), there is no such folder or file, or
                `duplicates` is another word.
            ArtifactError: The file of answers is damaged, or an encoder changed since the matcher was made.
        """
        if duplicates not in get_args(Duplicates):
            raise MatcherError(f"duplicates={duplicates!r}: one of {', '.join(get_args(Duplicates))} is needed")
        with threadpool_limits(self._compute.cpu_threads):
            catalog = self.read(listings, images, follow_links=follow_links)
            result = self.match_catalog(catalog, duplicates, answers_of(answers))
        return replace(result, caller_ids=listings[DataConfig().id_column].array.copy())

    def read(self, listings: pd.DataFrame, images: str | Path | None = None, *, follow_links: bool = False) -> Catalog:
        """Return the catalog of a frame; arguments and errors as for `match`."""
        config = DataConfig(max_pixels=self.settings[DataConfig].max_pixels, follow_links=follow_links)
        return frame_catalog(listings, Path(images) if images else None, config, self._compute)

    def match_catalog(
        self, catalog: Catalog, duplicates: Duplicates = "unknown", answers: Answers | None = None
    ) -> MatchResult:
        """Return the matches of listings as a pool of their own; their labels are not used.

        What many unlike listings share is set aside; the catalog of the result is without it.

        Args:
            catalog: The listings.
            duplicates: As for `match`.
            answers: As for `match`.
        """
        pool, report = set_aside(catalog)
        holding = None if answers is None else answers.on(pool, catalog)
        matched = self.match_embedded(pool, self.embed(pool), duplicates, None if holding is None else holding.pins)
        return replace(matched, set_aside=report, answers=holding)

    def embed(self, catalog: Catalog, names: Sequence[str] | None = None) -> dict[str, Embeddings]:
        """Embed listings as a pool of their own, by each branch.

        Args:
            catalog: n listings.
            names: Branches; all that take part if None.

        Returns:
            Branch → embeddings, n rows each. Those by an encoder depend on each listing alone, those of a branch that
            does not learn on the whole catalog.
        """
        branches = self.branches if names is None else names
        return {
            name: embed_catalog(
                registry.get(name),
                catalog,
                self._encoder(name),
                self.settings[registry.get(name).Config],
                self._compute,
            )
            for name in branches
        }

    def embedder(self, name: str, pool: Catalog) -> Embedder:
        """Return the embedder of a branch for listings that are to be compared with those of a pool."""
        branch = registry.get(name)
        return branch.fit(pool, self._encoder(name), self.settings[branch.Config], self._compute)

    def _encoder(self, name: str) -> Path | None:
        if not registry.get(name).learns:
            return None
        stage = encoder_stage_name(name, ALL)
        folder = self._store.open(stage)
        if fault := damage(folder, self._files[stage]):
            raise ArtifactError(
                f"{self._store.folder} changed since it was opened ({stage}: {fault}); open it again, "
                "or repeat the command"
            )
        return folder

    def match_embedded(
        self,
        catalog: Catalog,
        embeddings: Mapping[str, Embeddings],
        duplicates: Duplicates = "unknown",
        pins: Pins | None = None,
    ) -> MatchResult:
        """Return the matches of listings that are embedded already.

        Args:
            catalog: n listings.
            embeddings: Of every branch, in the order of `branches`, n rows each.
            duplicates: As for `match`.
            pins: Pairs whose match people decided.
        """
        return self.match_pool(self.embedded_pool(catalog, embeddings), duplicates, pins)

    def embedded_pool(self, catalog: Catalog, embeddings: Mapping[str, Embeddings]) -> PoolViews:
        """Return listings that are embedded already with every branch's candidates; arguments as above."""
        copies = copy_of(catalog)
        views = {
            name: BranchView(embeddings[name], self.candidates(name, embeddings[name], copies))
            for name in self.branches
        }
        return self.pool(catalog, views)

    def candidates(self, name: str, embeddings: Embeddings, copies: Rows | None = None) -> Candidates:
        """Return the pairs that a branch proposes among embedded listings.

        Args:
            name: The branch.
            embeddings: Of n listings.
            copies: For each listing the row of the one of equal content that stands for it, int32 [n]; None: itself.
        """
        return propose(embeddings, self.settings[registry.get(name).Config], self._compute, copies)

    def pool(
        self, catalog: Catalog, views: Mapping[str, BranchView], surroundings: Surroundings | None = None
    ) -> PoolViews:
        """Return listings with every branch's view of them, in the order of `branches`."""
        return PoolViews(catalog, views, self._compute.xp(), self._compute.cpu_threads, surroundings)

    def match_pool(self, pool: PoolViews, duplicates: Duplicates = "unknown", pins: Pins | None = None) -> MatchResult:
        """Return the matches of listings with every branch's embeddings and candidates; see `match_embedded`."""
        scored, unlikeness = self.score(pool, self.first_scores(pool, self.proposed(pool)))
        return MatchResult.from_scores(
            self.decision, pool.catalog, scored, duplicates=duplicates, unlikeness=unlikeness, pins=pins
        )

    def proposed(self, pool: PoolViews) -> CandidatePairs:
        """Return the pairs that the branches propose."""
        return union((view.candidates for view in pool.branches.values()), len(pool))

    def first_scores(self, pool: PoolViews, pairs: CandidatePairs) -> FirstScores:
        """Return the first scores of pairs of a pool; of very many, those that a gate drops score 0."""
        return first_scores(self.description(pool, pairs), self.scorer, self._compute.seed, pool.threads)

    def score(self, pool: PoolViews, first: FirstScores) -> tuple[ScoredPairs, Unlikeness]:
        """Return all pairs of a pool with their final scores, and how far the pool is from the training."""
        return rescore(first, self.scorer, self.experience, pool.xp, pool.threads)

    def description(self, pool: PoolViews, pairs: CandidatePairs) -> Description:
        """Return what describes pairs of a pool by their features, a range of pairs at a time."""
        return Description(pool, pairs, self.settings[EnsembleConfig].features)

    def describe(self, pool: PoolViews, pairs: CandidatePairs) -> PairFeatures:
        """Return pairs of a pool with their features, all in memory."""
        return self.description(pool, pairs).whole()


def matcher_digest(store: ArtifactStore, settings: Settings) -> str:
    """Return `Matcher.digest` of a run or a bundle without loading its models.

        matcher_digest(Bundle(Path("bundle")), settings)

    Raises:
        ArtifactError: A part of it is missing or altered.
    """
    return _digest(matching_files(store, settings[EnsembleConfig].branches), settings)


def _digest(files: Mapping[str, Mapping[str, str]], settings: Settings) -> str:
    """Return the digest of the files of `matching_files` with the settings that matching depends on."""
    names = settings[EnsembleConfig].branches
    plain = Settings(portable(settings.values, registry.names()), settings.sections)
    read = {name: plain[registry.get(name).Config].cache_key("candidates") for name in names}
    return digest([files, names, read])


def matching_files(store: ArtifactStore, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the files of a run or a bundle that matching reads: stage → name → SHA-256.

    Raises:
        ArtifactError: One of them is missing or altered.
    """
    return {
        stage: {name: sha for name, sha in store.files(stage).items() if stage not in READ or name in READ[stage]}
        for stage in (*new_catalog_encoders(names), SCORER, DECISION)
    }


def check_current(run: RunFolder, settings: Settings, stages: Sequence[str] = (DECISION,)) -> None:
    """Raise an error unless some stages of a run, and all that they were made from, fit each other and the settings.

    The user's data is not looked at.

    Args:
        run: A finished run.
        settings: What the stages must have been made with; settings of data and demo are not compared.
        stages: Names of the stages.

    Raises:
        ArtifactError: One is missing, damaged, made with other settings, or older than what it was made from.
    """
    queue, checked = list(stages), set[str]()
    while queue:
        name = queue.pop()
        if name in checked:
            continue
        checked.add(name)
        run.open(name)
        key = (run.manifest(name) or {})["key"]
        newer = [stage for stage, stage_digest in key["inputs"].items() if run.digest_of(stage) != stage_digest]
        if newer:
            raise _not_current(run, f"{', '.join(newer)} changed after {name} was made")
        if other := _other_settings(key["settings"], settings):
            raise _not_current(run, f"{name} was made with another {other}")
        queue += key["inputs"]


def _other_settings(made_with: Mapping[str, Mapping[str, Any]], settings: Settings) -> str | None:
    """Return the first setting that differs from those that a stage was made with; None where none does."""
    for section, values in made_with.items():
        if section not in ("data", "demo") and section in settings.sections:
            current = settings[settings.sections[section]].cache_key()
            for key, value in values.items():
                if current.get(key) != value:
                    return f"{section}.{key}"
    return None


def _not_current(run: RunFolder, what: str) -> ArtifactError:
    return ArtifactError(f"{run.folder}: {what}; ./run_all.sh --run {run.folder} brings the run up to date")
