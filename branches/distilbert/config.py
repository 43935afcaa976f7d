"""Settings of the DistilBERT branch."""

from typing import Annotated, ClassVar

from pydantic import Field

from branches.base import BranchConfig, Variants
from shared.config import AffectsFrom, Weights
from shared.training.config import LOSSES, LossName, TrainingConfig

# Bytes per token of a batch, measured with the default encoder and titles of `max_tokens`.
TRAINING_BYTES, EMBEDDING_BYTES = 380_000, 40_000


class Config(TrainingConfig, BranchConfig):
    """Match titles that mean the same product."""

    variants: ClassVar[Variants] = {
        "contrastive loss": {"loss": "contrastive"},
        "negative margin 0": {"loss": "contrastive", "negative_margin": 0.0},
        "negative margin 0.3": {"loss": "contrastive", "negative_margin": 0.3},
        "margin ramp": {"loss": "contrastive", "margin_ramp": 0.5},
        "dropout 0.1": {"dropout": 0.1},
        "half the learning rate": {"learning_rate": 5e-5},
        "twice the learning rate": {"learning_rate": 2e-4},
        "6 epochs": {"epochs": 6},
        "no n-grams": {"ngrams": 0.0},
    }

    model: Annotated[str, Weights()] = Field(
        "minilm", description="minilm (packaged, no network needed), a Hugging Face name, or a folder with its files"
    )
    max_tokens: int = Field(48, ge=8, description="longer titles are cut")
    epochs: int = Field(3, ge=0, description="passes over the training listings; 0 keeps the pretrained weights")
    loss: LossName = Field("multi_similarity", description=LOSSES)
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the units left out in training")
    learning_rate: float = Field(1e-4, ge=0, description="peak learning rate of the pretrained part")
    memory_size: float = Field(
        0.25,
        ge=0,
        description="past embeddings compared with each batch: up to 1 a share of the listings of an epoch, which "
        "gives at most 32,768, above 1 a number; 0: the batch alone",
    )
    ngrams: Annotated[float, AffectsFrom("embed")] = Field(
        0.4, ge=0, lt=1, description="share of words and character n-grams in the similarity of two titles; 0: none"
    )
    negative_margin: float = Field(
        0.5, ge=-1, le=1, description="of loss=contrastive: a non-match with a cosine below this costs nothing"
    )

    @property
    def batch_bytes(self) -> int:
        """The memory that the largest batch takes in training or embedding, estimated in bytes."""
        embedding = self.embed_batch * self.max_tokens * EMBEDDING_BYTES
        return max(embedding, self.batch_size * self.max_tokens * TRAINING_BYTES if self.epochs else 0)
