"""Settings of the demo marketplace."""

from pydantic import Field

from shared.config import ConfigSection


class DemoConfig(ConfigSection):
    """ConfigSection `demo`: the made-up marketplace that is matched when no data is named."""

    listings: int = Field(1000, ge=2, description="listings to make")
    seed: int = Field(0, ge=0, description="same seed, same bytes")
