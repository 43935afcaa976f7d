"""The types that cross stage borders: frozen, checked when made, saved without pickle.

    Catalog → Embeddings → Candidates → CandidatePairs → PairFeatures → ScoredPairs → Matches

Every type speaks of listings by their **row** in the catalog (or pool) it belongs to: row order is identity.
"""

from shared.schema.catalog import CATALOG_SCHEMA, NORMALIZED_TITLE, UNUSED, Catalog
from shared.schema.embeddings import Embeddings
from shared.schema.matches import Matches
from shared.schema.pairs import (
    CandidatePairs,
    Candidates,
    PairFeatures,
    ScoredPairs,
    locate,
    pair_key,
    place_pairs,
)
from shared.schema.types import Flags, Floats, Mask, Rows, Vectors

__all__ = [
    "CATALOG_SCHEMA",
    "NORMALIZED_TITLE",
    "UNUSED",
    "CandidatePairs",
    "Candidates",
    "Catalog",
    "Embeddings",
    "Flags",
    "Floats",
    "Mask",
    "Matches",
    "PairFeatures",
    "Rows",
    "ScoredPairs",
    "Vectors",
    "locate",
    "pair_key",
    "place_pairs",
]
