"""Settings of the demo marketplace."""

from pydantic import Field

from shared.config import ConfigSection


class DemoConfig(ConfigSection):
    """The invented marketplace that is matched when no data is named."""

    listings: int = Field(1000, ge=2, description="number of listings")
    seed: int = Field(0, ge=0, description="the same seed gives the same files, byte for byte")
