"""The contract of a branch: what a folder of `branches/` provides, as types.

A branch turns the listings of a pool into unit vectors; the dot product of two is their similarity. It says in its
settings how many neighbors each listing proposes. Nothing else is known about it: not here, and not in the ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.compute import ComputeConfig
from shared.config import AffectsFrom, ConfigSection
from shared.schema import Catalog, Embeddings

Variants = Mapping[str, Mapping[str, Any]]  # name of a variant → the settings in which it differs


class BranchConfig(ConfigSection):
    """The settings that every branch has.

    Attributes:
        hashes: Whether its vectors are bits: all numbers of a row positive or negative and of one size.
        variants: What `python -m branches.ablation` compares the settings with.
    """

    hashes: ClassVar[bool] = False
    variants: ClassVar[Variants] = {}

    neighbors: Annotated[int, AffectsFrom("candidates")] = Field(
        50, ge=1, description="nearest neighbors that each listing proposes; ties with the last are added"
    )
    search: Annotated[Literal["auto", "exact", "approximate"], AffectsFrom("candidates")] = Field(
        "auto",
        description="how neighbors are searched; auto: approximately from approximate_from listings on, but on a GPU "
        "exactly what fits into it. By hashes it is always exact, and by words on a GPU",
    )
    approximate_from: Annotated[int, AffectsFrom("candidates")] = Field(
        50_000, ge=0, description="listings from which on search=auto is approximate"
    )

    @property
    def minimum(self) -> float:
        """The least similarity of a pair that the branch proposes."""
        return 0.0

    def kept_bytes(self, listings: int) -> int:
        """The memory that a training keeps for all listings beside their titles and embeddings, in bytes."""
        return 0

    @property
    def batch_bytes(self) -> int:
        """The memory that the largest batch takes in training or embedding, estimated in bytes."""
        return 0


class Embedder(Protocol):
    """Embeds listings to be compared with those of the pool that it was made for."""

    def transform(self, listings: Catalog) -> Embeddings:
        """Return one row per listing.

        With an encoder, a listing's row depends on no other listing, to the bit.

        Args:
            listings: n listings: those of the pool, some of them, or others.
        """
        ...


class Branch(Protocol):
    """One branch."""

    @property
    def name(self) -> str:
        """Its folder, and its section of the settings."""
        ...

    @property
    def Config(self) -> type[BranchConfig]:
        """The class of that section."""
        ...

    @property
    def learns(self) -> bool:
        """Whether it has an encoder to train."""
        ...

    def train(
        self,
        catalog: Catalog,
        components: NDArray[np.int32],
        config: ConfigSection,
        compute: ComputeConfig,
        out: Path,
    ) -> Mapping[str, Any]:
        """Train an encoder; under `torchrun` every process calls this, and the folder of the first one is kept.

        Args:
            catalog: n labeled listings.
            components: Connected component of each listing, int32 [n]; what shares one says nothing about others.
            config: The branch's settings.
            compute: Device, threads and seed.
            out: Folder to write the encoder into. It may hold a folder `checkpoint` that a killed training left, and
                may be left with one.

        Returns:
            Metrics of the training, JSON-able.
        """
        ...

    def fit(self, pool: Catalog, encoder: Path | None, config: ConfigSection, compute: ComputeConfig) -> Embedder:
        """Return what embeds the listings of a pool, and others to be compared with them.

        Args:
            pool: The listings that are searched among themselves.
            encoder: Folder that `train` wrote; None for a branch that does not learn.
            config: The branch's settings.
            compute: Device and threads.

        Raises:
            ArtifactError: The encoder is missing or cannot be used.
        """
        ...
