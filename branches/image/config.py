"""Settings of the image branch."""

from typing import Annotated, Literal

from pydantic import Field

from shared.config import AffectsFrom, BranchConfig
from shared.training.config import TrainingConfig


class Config(TrainingConfig, BranchConfig):
    """Match images that show the same product."""

    backbone: str = Field(
        "tf_efficientnet_lite0", description="timm's name of the network, or a folder with config.json and its weights"
    )
    pooling: Literal["gem", "avg"] = Field(
        "gem", description="gem: generalized mean with a learned exponent; avg: the network's own pooling"
    )
    dim: int = Field(256, ge=2, description="length of an embedding")
    size: int = Field(160, ge=32, description="width and height of an image in training, in pixels")
    embed_size: Annotated[int, AffectsFrom("embed")] = Field(
        192, ge=32, description="width and height of an image when embedding, in pixels"
    )
    mirror: Annotated[bool, AffectsFrom("embed")] = Field(
        True, description="embed each image and its mirror image and take the mean, in twice the time"
    )
    augmentation: float = Field(
        1.0, ge=0, le=1, description="factor of the probability of each augmentation of a training image; 0: none"
    )
    frozen_stages: int = Field(
        2, ge=0, description="stages kept as pretrained, together with the stem; 0: all layers are trained"
    )
