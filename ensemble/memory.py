"""What a job needs in memory, by its stages: the training of encoders, and tables of candidate pairs."""

from __future__ import annotations

from branches import registry
from branches.memory import PER_LISTING, branch_need
from ensemble.config import EnsembleConfig, ScorerConfig
from ensemble.thinning import kinds_of
from shared.memory import GB, PLAIN, TORCH, Libraries, Need
from shared.pipeline.settings import Settings

# Measured on 27,400 titles of the competition and on the demo, with 112 features.
PROPOSED = 1 / 3  # candidate pairs per neighbor that the branches propose: many propose the same, and most both ways
IN_FOLDS, THINNED = 0.8, 0.28  # pairs of all fold pools per pair of the catalog; of a thinned pool per pair of its fold
LEARNED = 1500  # bytes per candidate pair while a scorer is trained on it
MATCHED, DESCRIBED = 8000, 70  # bytes per listing and per candidate pair while a catalog is matched
BLOCK = 0.5 * GB  # of pairs with their features


def need_of(stage: str, listings: int, settings: Settings) -> Need | None:
    """Return the memory that a stage needs beyond the libraries; None if it is little.

        need_of("ensemble/scorer", 34_250, settings)

    Args:
        stage: Name of the stage.
        listings: Of the whole run.
        settings: Of the run.
    """
    if need := branch_need(stage, listings, settings):
        return need
    if stage == "ensemble/scorer":
        thinned = len(kinds_of(settings[ScorerConfig].thinned))
        pairs = candidate_pairs(listings, settings) * IN_FOLDS * (1 + THINNED * thinned)
        advice = "a lower `neighbors` of the branches, or a shorter scorer.thinned"
        return Need(listings * PER_LISTING + pairs * LEARNED, advice, _libraries(settings))
    return matching_need(listings, settings) if stage.startswith(("ensemble/features", "ensemble/scores")) else None


def matching_need(listings: int, settings: Settings) -> Need:
    """Return the memory that it takes to match a catalog in one pool, beyond the libraries.

        matching_need(34_250, settings)

    Args:
        listings: Of the catalog.
        settings: With those of the branches that take part.
    """
    pairs = candidate_pairs(listings, settings)
    memory = listings * MATCHED + pairs * DESCRIBED + BLOCK
    return Need(memory, "a lower `neighbors` of the branches", _libraries(settings))


def _libraries(settings: Settings) -> Libraries:
    learn = any(registry.get(name).learns for name in settings[EnsembleConfig].branches)
    return TORCH if learn else PLAIN


def candidate_pairs(listings: int, settings: Settings) -> float:
    """Return about how many pairs the branches propose in one pool.

        candidate_pairs(34_250, settings)

    Args:
        listings: Of the pool.
        settings: With those of the branches that take part.
    """
    neighbors = sum(settings[registry.get(name).Config].neighbors for name in settings[EnsembleConfig].branches)
    return min(listings * neighbors * PROPOSED, listings * (listings - 1) / 2)
