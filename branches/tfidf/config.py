"""Settings of the TF-IDF branch."""

from typing import Self

from pydantic import Field, model_validator

from branches.base import BranchConfig


class Config(BranchConfig):
    """Match titles that share rare words and character sequences."""

    words: int = Field(1, ge=1, description="longest sequence of words that counts as a term")
    min_chars: int = Field(3, ge=1, description="shortest sequence of characters that counts as a term")
    max_chars: int = Field(4, ge=1, description="longest sequence of characters that counts as a term")
    word_weight: float = Field(0.3, ge=0, le=1, description="weight of words in the similarity; the rest: characters")
    min_listings: int = Field(1, ge=1, description="a term in fewer listings is ignored")
    sublinear: bool = Field(True, description="count a term that occurs t times in a title as 1 + ln t")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars={self.min_chars} is above max_chars={self.max_chars}")
        return self
