"""Settings of the perceptual-hash branch."""

from pydantic import Field

from branches.base import BranchConfig

BITS = 64  # of a hash


class Config(BranchConfig):
    """ConfigSection `phash`: pictures that look the same, by the bits in which their perceptual hashes differ."""

    radius: int = Field(12, ge=0, le=31, description="most bits of 64 in which the hashes of a candidate pair differ")

    @property
    def minimum(self) -> float:
        """The cosine of two hashes that differ in `radius` bits."""
        return 1 - 2 * self.radius / BITS
