"""What every section of the settings is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Step = Literal["train", "embed", "candidates"]
STEPS: tuple[Step, ...] = ("train", "embed", "candidates")


@dataclass(frozen=True)
class AffectsFrom:
    """Marks a setting of a branch that training does not read: `Annotated[int, AffectsFrom("embed")]`.

    A change of such a setting does not train the encoder again.

    Args:
        step: The first step that reads the setting.
    """

    step: Step


class ConfigSection(BaseModel):
    """A named group of settings: typed, documented field by field, refused when a name is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def cache_key(self, step: Step | None = None) -> dict[str, Any]:
        """Return the settings that a result depends on, JSON-able.

        Args:
            step: For a branch: the step whose result it is; settings that only later steps read are left out.
        """
        later = set(STEPS[STEPS.index(step) + 1 :]) if step else set()
        left_out = {
            name
            for name, field in type(self).model_fields.items()
            if any(isinstance(mark, AffectsFrom) and mark.step in later for mark in field.metadata)
        }
        return self.model_dump(mode="json", exclude=left_out)
