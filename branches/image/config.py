"""Settings of the image branch."""

from typing import Annotated, Literal

from pydantic import Field

from branches.base import BranchConfig
from shared.config import AffectsFrom
from shared.training.config import TrainingConfig


class Config(TrainingConfig, BranchConfig):
    """ConfigSection `image`: pictures that show the same product."""

    backbone: str = Field(
        "tf_efficientnet_lite0", description="timm's name of the network, or a folder with config.json and its weights"
    )
    pooling: Literal["gem", "avg"] = Field(
        "gem", description="gem: generalized mean with a learned exponent; avg: the network's own pooling"
    )
    dim: int = Field(256, ge=2, description="length of an embedding")
    size: int = Field(160, ge=32, description="pixels, width and height, in training")
    embed_size: Annotated[int, AffectsFrom("embed")] = Field(
        192, ge=32, description="pixels, width and height, when embedding"
    )
    mirror: Annotated[bool, AffectsFrom("embed")] = Field(
        True, description="embed each picture and its mirror image and take the mean, in twice the time"
    )
    augmentation: float = Field(1.0, ge=0, le=1, description="how often training pictures are altered; 0: never")
    frozen_stages: int = Field(2, ge=0, description="keep the stem and so many stages as pretrained; 0: all is trained")
