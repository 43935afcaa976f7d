"""Settings of the perceptual-hash branch."""

from pydantic import Field

from shared.section import Section


class Config(Section):
    """Section `phash`: pictures that look the same, by the bits in which their perceptual hashes differ."""

    radius: int = Field(12, ge=0, le=31, description="most bits of 64 in which the hashes of a candidate pair differ")
    neighbours: int = Field(50, ge=1, description="nearest listings that each listing proposes, beside ties")
