"""Settings of the image branch."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from branches.base import BranchConfig, Variants
from shared.config import Weights
from shared.training.config import TrainingConfig

# Bytes per pixel of a batch, measured with the default network.
TRAINING_BYTES, EMBEDDING_BYTES = 1400, 400
MARGIN = 1.15  # training images are kept at least this much larger than the size of training, to crop from
IN_MEMORY = 2**30  # bytes of decoded images; more than that go to a file


class Config(TrainingConfig, BranchConfig):
    """Match images that show the same product."""

    variants: ClassVar[Variants] = {
        "negative margin 0.5": {"negative_margin": 0.5},
        "no augmentation": {"augmentation": 0.0},
        "multi-similarity loss": {"loss": "multi_similarity"},
        "average pooling": {"pooling": "avg"},
        "every stage trained": {"frozen_stages": 0},
        "half the learning rates": {"learning_rate": 1.5e-4, "head_learning_rate": 5e-4},
        "twice the learning rates": {"learning_rate": 6e-4, "head_learning_rate": 2e-3},
        "8 epochs": {"epochs": 8},
        "embedded without its mirror image": {"mirror": False},
        "the mirror image shows all": {"mirror_part": 1.0},
        "embedded at 192 px": {"embed_size": 192},
        "trained at 160 px, embedded at 192": {"size": 160, "embed_size": 192},
    }

    backbone: Annotated[str, Weights()] = Field(
        "tf_efficientnet_lite0", description="timm's name of the network, or a folder with config.json and its weights"
    )
    pooling: Literal["gem", "avg"] = Field(
        "gem", description="gem: generalized mean with a learned exponent; avg: the network's own pooling"
    )
    dim: int = Field(
        640,
        ge=2,
        description="length of a whitened embedding; a network with fewer features has embeddings of their number",
    )
    head_dim: int = Field(
        256, ge=2, description="length of the embeddings that are trained, and with whitening=false of all embeddings"
    )
    size: int = Field(192, ge=32, description="width and height of an image in training, in pixels")
    embed_size: int = Field(224, ge=32, description="width and height of an image when embedding, in pixels")
    mirror: bool = Field(True, description="embed each image and its mirror image and take the mean, in twice the time")
    mirror_part: float = Field(
        0.8, ge=0.1, le=1, description="share of width and height that the mirror image shows, enlarged from the middle"
    )
    augmentation: float = Field(
        1.0, ge=0, le=1, description="factor of the probability of each augmentation of a training image; 0: none"
    )
    frozen_stages: int = Field(
        2, ge=0, description="stages kept as pretrained, together with the stem; 0: all layers are trained"
    )

    @property
    def side(self) -> int:
        """Width and height at which images are kept for training, in pixels: larger than needed, to crop from."""
        return max(round(self.size * MARGIN), self.embed_size)

    def kept_bytes(self, listings: int) -> int:
        """The memory that a training keeps decoded images in, in bytes, if every listing has an image of its own."""
        return min(listings * 3 * self.side**2, IN_MEMORY)

    @property
    def batch_bytes(self) -> int:
        """The memory that the largest batch takes in training or embedding, estimated in bytes."""
        embedding = self.embed_batch * self.embed_size**2 * EMBEDDING_BYTES
        return max(embedding, self.batch_size * self.size**2 * TRAINING_BYTES if self.epochs else 0)
