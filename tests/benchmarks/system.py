"""The system that the benchmarks match with: a scorer and a decision that were trained on two small catalogs.

Its encoders are missing, since embeddings are given (`catalogs.py`). So it is trained in half a minute, on titles,
hashes and embeddings of the same kind as those that are matched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from branches import registry
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.tuning import tune
from ensemble.matcher import Matcher
from ensemble.scorer.experience import Experience
from ensemble.scorer.training import LabeledPool, train_scorer
from ensemble.sections import sections
from ensemble.thinning import described_pool
from ensemble.training_stages import DECISION, SCORER
from shared.catalog.config import DataConfig
from shared.catalog.copies import copy_of
from shared.catalog.reader import frame_catalog
from shared.compute import ComputeConfig
from shared.folders import atomic_folder
from shared.metrics.matching import label_codes
from shared.pipeline.settings import Settings
from shared.schema import Catalog, Embeddings
from tests.benchmarks.catalogs import CLOUDS, TABLE, make_catalog

LISTINGS, ROUNDS = 2000, 200  # of each of the two pools; trees at most
COLUMNS = ["posting_id", "title", "image_phash"]  # what the matcher reads; labels only judge


class Parts:
    """The trained parts of a system, as a bundle has them.

    Args:
        folder: With the folders `ensemble/scorer` and `ensemble/decision`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, stage: str) -> Path:
        """Return the folder of a stage."""
        return self.folder / stage

    def files(self, stage: str) -> dict[str, str]:
        """Return no checksums: nobody else writes to it."""
        return {}


def settings_of(given: dict[str, dict[str, Any]], threads: int = 0) -> Settings:
    """Return the settings of a measurement on the CPU: section → key → value, all others by default."""
    compute = {"device": "cpu", "threads": threads} | given.get("compute", {})
    return Settings(given | {"compute": compute}, sections())


def system_folder(cache: Path, settings: Settings) -> Path:
    """Return where a cache has the system of the branches that the settings name."""
    return cache / f"system {','.join(settings[EnsembleConfig].branches)}"


def open_matcher(cache: Path, settings: Settings) -> Matcher:
    """Return the matcher whose parts `make_system` wrote into a cache."""
    return Matcher(Parts(system_folder(cache, settings)), settings)


def read_frame(folder: Path) -> pd.DataFrame:
    """Return the table of a catalog as a user has it."""
    return pd.read_parquet(folder / TABLE, columns=COLUMNS)


def labels_of(folder: Path) -> Any:
    """Return the label codes of a catalog's listings, int [n]."""
    return label_codes(pd.read_parquet(folder / TABLE, columns=["label_group"])["label_group"].to_numpy())


def given_embeddings(folder: Path) -> dict[str, Embeddings]:
    """Return the embeddings that stand for those of encoders: branch → embeddings."""
    return {name: Embeddings.load(folder / f"{name}.safetensors") for name in CLOUDS}


def embed(matcher: Matcher, catalog: Catalog, folder: Path) -> dict[str, Embeddings]:
    """Return the embeddings of every branch in the order of the matcher, given or computed."""
    every = given_embeddings(folder) | matcher.embed(catalog, [name for name in matcher.branches if name not in CLOUDS])
    return {name: every[name] for name in matcher.branches}


def make_system(cache: Path, given: dict[str, dict[str, Any]], listings: int = LISTINGS) -> None:
    """Train the scorer, tune the decision and write both into a cache; do nothing where they are.

        make_system(Path("cache"), {"ensemble": {"branches": ["distilbert", "tfidf", "phash"]}})

    Args:
        cache: Gets the folder of the system, and the catalogs of the two pools.
        given: Settings, of which the branches count: section → key → value.
        listings: Of each pool.
    """
    settings = settings_of({"ensemble": {"branches": settings_of(given)[EnsembleConfig].branches}})
    folder = system_folder(cache, settings)
    if folder.exists():
        return
    with atomic_folder(folder) as partial:
        for stage in (SCORER, DECISION):
            (partial / stage).mkdir(parents=True)
        pools = [_labeled_pool(cache / f"training{seed}", listings, seed, settings, seed - 1) for seed in (1, 2)]
        scorer, scored, _ = train_scorer(pools, ScorerConfig(rounds=ROUNDS), settings[ComputeConfig])
        scorer.save(partial / SCORER)
        _experience(pools, scorer.first.importance()).save(partial / SCORER)
        judged = [(pairs.with_copies(pool.copies), pool.codes) for pairs, pool in zip(scored, pools, strict=True)]
        tuned = tune(judged, TuneConfig(rules=["average_link"], resamples=10))
        tuned.decision.save(partial / DECISION / "decision.json")


def _experience(pools: Sequence[LabeledPool], importance: dict[str, float]) -> Experience:
    return Experience.of_pools([pool.pairs for pool in pools], [pool.fold for pool in pools], importance)


def _labeled_pool(folder: Path, listings: int, seed: int, settings: Settings, fold: int) -> LabeledPool:
    """Return a described pool of a catalog that is made for it."""
    make_catalog(folder, listings, seed)
    ensemble, compute = settings[EnsembleConfig], settings[ComputeConfig]
    configs = {name: settings[registry.get(name).Config] for name in ensemble.branches}
    catalog = frame_catalog(read_frame(folder), None, settings[DataConfig], compute)
    embeddings = {name: given for name, given in given_embeddings(folder).items() if name in configs}
    pairs = described_pool(catalog, embeddings, configs, ensemble.features, compute)
    return LabeledPool(pairs, labels_of(folder), fold, copies=copy_of(catalog))
