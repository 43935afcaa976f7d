"""Settings of the DistilBERT branch."""

from pydantic import Field

from shared.config import BranchConfig
from shared.training.config import TrainingConfig


class Config(TrainingConfig, BranchConfig):
    """Match titles that mean the same product."""

    model: str = Field(
        "minilm", description="minilm (packaged, no network needed), a Hugging Face name, or a folder with its files"
    )
    max_tokens: int = Field(48, ge=8, description="longer titles are cut")
    epochs: int = Field(3, ge=0, description="passes over the training listings; 0 keeps the pretrained weights")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the units left out in training")
    learning_rate: float = Field(1e-4, ge=0, description="peak learning rate of the pretrained part")
    negative_margin: float = Field(0.5, ge=-1, le=1, description="a non-match with a cosine below this costs nothing")
