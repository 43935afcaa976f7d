"""What every section of the settings is made of."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

STEPS = ("train", "embed", "candidates")


class ConfigSection(BaseModel):
    """A named group of settings: typed, documented field by field, refused when a name is unknown.

    Attributes:
        first_read: For a branch: the step that first reads a field, where that is not training. A change of such a
            field does not train the encoder again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    first_read: ClassVar[Mapping[str, str]] = {}

    def until(self, step: str) -> dict[str, Any]:
        """The fields that a branch has read once `step` (`train`, `embed` or `candidates`) is done, JSON-able."""
        later = set(STEPS[STEPS.index(step) + 1 :])
        return self.model_dump(mode="json", exclude={name for name, at in self.first_read.items() if at in later})


class BranchConfig(ConfigSection):
    """The section of a branch: which pairs it proposes, and whatever else it has."""

    neighbors: int = Field(50, ge=1, description="nearest listings that each listing proposes, beside ties")

    @property
    def minimum(self) -> float:
        """The least similarity of a pair that the branch proposes."""
        return 0.0
