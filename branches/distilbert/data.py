"""Titles as token numbers, padded batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from shared.training.encoder import Inputs, full_batches

STEP = 8  # batches are padded to a multiple of this many tokens


class Titles:
    """The different normalized titles of some listings, in the order of their text, as token numbers.

    Args:
        titles: Normalized titles, str [n]; empty ones are left out.
        tokenizer: The encoder's.
        max_tokens: Longer titles are cut.

    Attributes:
        rows: Listings that have a title, int64 [m].
        title: Which title each of them has, int64 [m].
        tokens: Token numbers of each different title.
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
        """Batches of exactly `size` titles that are padded to one length, the shortest first.

        A kernel may round differently for another length, so a title's embedding depends on no other title.
        """
        lengths = np.array([self._padded(tokens) for tokens in self.tokens], dtype=np.int64)
        of_length = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        return [batch for titles in of_length for batch in full_batches(titles, size)]

    def inputs(self, titles: NDArray[np.int64]) -> Inputs:
        """A batch of titles: `input_ids` and `attention_mask`, int64 [b, t]."""
        chosen = [self.tokens[at] for at in titles]
        longest = max(self._padded(tokens) for tokens in chosen)
        ids = torch.full((len(chosen), longest), self._padding)
        mask = torch.zeros((len(chosen), longest), dtype=torch.long)
        for row, tokens in enumerate(chosen):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    @staticmethod
    def _padded(tokens: list[int]) -> int:
        return -(-len(tokens) // STEP) * STEP
