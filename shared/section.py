"""What every section of the settings is made of."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A named group of settings: typed, documented field by field, refused when a name is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)
