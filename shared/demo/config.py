"""Settings of the demo marketplace."""

from typing import Literal

from pydantic import Field

from shared.config import ConfigSection

Kind = Literal["marketplace", "shops", "mixed"]


class DemoConfig(ConfigSection):
    """The invented listings that are matched when no data is named."""

    kind: Kind = Field(
        "mixed",
        description="marketplace: every product in two listings or more; shops: lists of several shops, most products "
        "in one or two, with model numbers and specifications; mixed: one catalog, half of each",
    )
    listings: int = Field(1000, ge=2, description="number of listings")
    seed: int = Field(0, ge=0, description="the same seed gives the same files, byte for byte")
