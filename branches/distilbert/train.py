"""Train the title encoder: titles of one label group together, others apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from branches.distilbert.config import Config
from branches.distilbert.data import Titles
from branches.distilbert.model import create_model, describe
from branches.distilbert.ngrams import Ngrams
from shared.compute import ComputeConfig
from shared.schema import Catalog
from shared.training.trainer import Training, TrainingSet, label_numbers


def train(
    catalog: Catalog, components: NDArray[np.int32], config: Config, compute: ComputeConfig, out: Path
) -> dict[str, Any]:
    """Train on the listings that have a title and a label group, and write the encoder.

    Without two titles of one group there is nothing to learn, and the encoder is the pretrained one.

    Args:
        catalog: Training listings.
        components: Connected component of each, int32 [n].
        config: The branch's settings.
        compute: Device, threads, seed.
        out: Folder for `encoder.json`, `encoder.safetensors`, the tokenizer and the weights of n-grams; what a killed
            training left in it is taken up.

    Returns:
        Metrics of the training, JSON-able.
    """
    torch.manual_seed(compute.seed)
    encoder, tokenizer = create_model(config)
    if compute.torch_device().type == "cpu":  # the backward pass of torch's fused attention takes half of a step there
        encoder.backbone.set_attn_implementation("eager")  # type: ignore[operator]
    labeled = np.flatnonzero(catalog.labels != None)  # noqa: E711 - elementwise
    titles = Titles(catalog.normalized_titles[labeled], tokenizer, config.max_tokens)
    rows = labeled[titles.rows]
    data = TrainingSet(
        label_numbers(catalog.labels[rows]),
        components[rows].astype(np.int64),
        lambda positions, epoch: titles.inputs(titles.title[positions]),
        lambda positions: titles.inputs(titles.title[positions]),
        sources=catalog.source_numbers()[rows] if catalog.sources else None,
    )
    metrics = Training("distilbert", encoder, data, config, compute, out).run()
    tokenizer.save_pretrained(out / "tokenizer")
    Ngrams.of(titles.texts).save(out)
    encoder.save(out, describe(encoder, config))
    return {"listings": len(rows), "titles": len(titles), **metrics}


if __name__ == "__main__":
    from branches.cli import main_train

    raise SystemExit(main_train("distilbert"))
