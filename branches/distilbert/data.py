"""Titles as token ids, padded batch by batch."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from shared.training.encoder import Inputs, full_batches

STEP = 8  # batches are padded to a multiple of this many tokens
Numbers = TypeVar("Numbers", int, NDArray[np.int64], Tensor)


def padded_length(tokens: Numbers) -> Numbers:
    """Return to how many tokens titles are padded.

    Args:
        tokens: Of a title, or of each of several titles: int64 [b].

    Examples:
        >>> padded_length(17)
        24
    """
    return -(-tokens // STEP) * STEP


class Titles:
    """The distinct normalized titles of some listings, in the order of their text, as token ids.

    Args:
        titles: Normalized titles, str [n]; empty ones are left out.
        tokenizer: The encoder's.
        max_tokens: Longer titles are cut.

    Attributes:
        rows: Listings that have a title, int64 [m].
        title: Index of each of their titles in `tokens`, int64 [m].
        tokens: Token ids of each distinct title.
    """

    def __init__(self, titles: NDArray[Any], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.rows = np.flatnonzero(titles != "")
        texts, title = np.unique(titles[self.rows].astype(str), return_inverse=True)
        self.title = title.astype(np.int64)
        self.tokens: list[list[int]] = []
        if len(texts):
            self.tokens = tokenizer(texts.tolist(), truncation=True, max_length=max_tokens)["input_ids"]
        self._padding = int(tokenizer.pad_token_id or 0)

    def __len__(self) -> int:
        return len(self.tokens)

    def batches(self, size: int) -> list[NDArray[np.int64]]:
        """Return batches of exactly `size` titles that are padded to the same length, the shortest first.

        Kernels may round differently for another length, so this keeps a title's embedding independent of the others.

        Args:
            size: Titles per batch.

        Returns:
            Indices of titles, int64 arrays.
        """
        lengths = padded_length(np.array([len(tokens) for tokens in self.tokens], dtype=np.int64))
        by_length = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        return [batch for titles in by_length for batch in full_batches(titles, size)]

    def inputs(self, titles: NDArray[np.int64]) -> Inputs:
        """Return the encoder's inputs: `input_ids` and `attention_mask`, int64 [b, t].

        Args:
            titles: Indices of titles, int64 [b].
        """
        batch = [self.tokens[title] for title in titles]
        length = padded_length(max(len(tokens) for tokens in batch))
        ids = torch.full((len(batch), length), self._padding)
        mask = torch.zeros((len(batch), length), dtype=torch.long)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return {"input_ids": ids, "attention_mask": mask}
