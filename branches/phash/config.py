"""Settings of the perceptual-hash branch."""

from typing import ClassVar

from pydantic import Field

from branches.base import BranchConfig

BITS = 64  # per hash


class Config(BranchConfig):
    """Match images whose perceptual hashes differ in few bits."""

    hashes: ClassVar[bool] = True

    radius: int = Field(12, ge=0, le=31, description="largest number of differing bits, of 64, in a candidate pair")

    @property
    def minimum(self) -> float:
        """The cosine of two hashes that differ in `radius` bits."""
        return 1 - 2 * self.radius / BITS
