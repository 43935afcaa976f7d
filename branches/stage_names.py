"""Names of the stages that every branch goes through."""

from collections.abc import Sequence

from branches import registry
from shared.pipeline.pools import ALL, Pool


def encoder_stage_name(branch: str, encoder: str) -> str:
    """Return the name of the stage that trains an encoder (`fold0`, …, or `all`) of a branch.

    Examples:
        >>> encoder_stage_name("image", "fold0")
        'image/encoder/fold0'
    """
    return f"{branch}/encoder/{encoder}"


def embeddings_stage_name(branch: str, pool: Pool) -> str:
    """Return the name of the stage that embeds a pool by a branch.

    Examples:
        >>> from shared.pipeline.pools import holdout_pool
        >>> embeddings_stage_name("image", holdout_pool())
        'image/embeddings/holdout'
    """
    return f"{branch}/embeddings/{pool.name}"


def candidates_stage_name(branch: str, pool: Pool) -> str:
    """Return the name of the stage that proposes pairs of a pool by a branch.

    Examples:
        >>> from shared.pipeline.pools import holdout_pool
        >>> candidates_stage_name("image", holdout_pool())
        'image/candidates/holdout'
    """
    return f"{branch}/candidates/{pool.name}"


def new_catalog_encoders(names: Sequence[str]) -> list[str]:
    """Return the stages with the encoders that new catalogs are embedded with, for some branches.

    Examples:
        >>> new_catalog_encoders(["image", "tfidf"])
        ['image/encoder/all']
    """
    return [encoder_stage_name(name, ALL) for name in names if registry.get(name).learns]
