"""What every section of the settings is made of."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

Step = Literal["train", "embed", "candidates"]
STEPS: tuple[Step, ...] = ("train", "embed", "candidates")


@dataclass(frozen=True)
class AffectsFrom:
    """Name the first step of a branch that reads a field; without it a field is read from `train` on.

    A change of the field leaves the results of earlier steps up to date.

    Examples:
        >>> from typing import Annotated
        >>> class Config(ConfigSection):
        ...     epochs: int = 3
        ...     embed_batch: Annotated[int, AffectsFrom("embed")] = 64
        >>> Config().cache_key("train")
        {'epochs': 3}
        >>> Config().cache_key()
        {'epochs': 3, 'embed_batch': 64}
    """

    step: Step


@dataclass(frozen=True)
class Weights:
    """Mark a field that names pretrained weights: a network that a library has, or a folder.

    Examples:
        >>> from typing import Annotated
        >>> class Config(ConfigSection):
        ...     epochs: int = 3
        ...     backbone: Annotated[str, Weights()] = "tf_efficientnet_lite0"
        >>> weights_fields(Config)
        ['backbone']
    """


class ConfigSection(BaseModel):
    """A named group of settings: typed, documented field by field; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def cache_key(self, step: Step | None = None) -> dict[str, Any]:
        """Return the fields on which the results of a step depend, as JSON-compatible values.

        Args:
            step: `train`, `embed` or `candidates`: only fields first read by this step or an earlier one. None: all.

        Raises:
            ValueError: There is no such step.
        """
        later = STEPS[STEPS.index(step) + 1 :] if step is not None else ()
        exclude = {name for name, field in type(self).model_fields.items() if first_step(field) in later}
        return self.model_dump(mode="json", exclude=exclude)


def first_step(field: FieldInfo) -> Step:
    """Return the first step that reads a field: that of its `AffectsFrom`, else `train`."""
    return next((mark.step for mark in field.metadata if isinstance(mark, AffectsFrom)), "train")


def weights_fields(section: type[ConfigSection]) -> list[str]:
    """Return the names of the fields of a section that name pretrained weights."""
    fields = section.model_fields.items()
    return [name for name, field in fields if any(isinstance(mark, Weights) for mark in field.metadata)]
