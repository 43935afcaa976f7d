"""Train the image encoder: images of one label group together, others apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from branches.image.config import Config
from branches.image.data import Pixels, augment, distinct_images, lost_images, read_all, resize
from branches.image.model import ImageEncoder, Preprocessing, create_model, describe
from shared.compute import ComputeConfig
from shared.schema import Catalog
from shared.training.encoder import Inputs
from shared.training.runtime import autocast, prepare
from shared.training.trainer import Training, TrainingSet, label_numbers


def train(
    catalog: Catalog, components: NDArray[np.int32], config: Config, compute: ComputeConfig, out: Path
) -> dict[str, Any]:
    """Train on the listings that have an image and a label group, and write the encoder.

    The linear layer starts as the PCA whitening of what the pretrained network sees in the images. Without two
    images of one group, that and the whitening of these features is all there is to learn; without any image, the
    encoder is the pretrained network.

    Args:
        catalog: Training listings.
        components: Connected component of each, int32 [n].
        config: The branch's settings.
        compute: Device, threads, seed.
        out: Folder for `encoder.json` and `encoder.safetensors`; what a killed training left in it is taken up.

    Returns:
        Metrics of the training, JSON-able.

    Raises:
        MatcherError: Many images changed or went since the catalog was read.
    """
    device = prepare(compute)
    torch.manual_seed(compute.seed)
    encoder, preprocessing = create_model(config)
    encoder.mirror = config.mirror  # as it is whitened and will embed
    rows = np.flatnonzero(catalog.has_image & (catalog.labels != None))  # noqa: E711 - elementwise
    stored, image = distinct_images(catalog, rows)
    overflow = out / "checkpoint" / "images"
    images, usable = read_all(stored, config.side, preprocessing.interpolation, compute.cpu_threads, overflow)
    lost = lost_images(stored, usable)
    rows, image = rows[usable[image]], image[usable[image]]
    encoder.to(device).start_head(_features(encoder, preprocessing, images, np.flatnonzero(usable), config, device))
    data = TrainingSet(
        label_numbers(catalog.labels[rows]),
        components[rows].astype(np.int64),
        lambda positions, epoch: _inputs(images, image, positions, epoch, preprocessing, config, compute.seed),
        lambda positions: {
            "images": preprocessing(np.stack([resize(images[i], config.embed_size) for i in image[positions]]))
        },
        sources=catalog.source_numbers()[rows] if catalog.sources else None,
    )
    training = Training("image", encoder, data, config, compute, out)
    metrics = training.run()
    if not metrics["steps"]:
        training.whiten()  # the features of a network as it comes gain by it, too
    encoder.save(out, describe(encoder, preprocessing, config))
    told = {"images_changed_or_gone_since_the_catalog_was_read": lost} if lost else {}
    return {"listings": len(rows), "images": int(usable.sum()), **told, **metrics}


def _inputs(
    images: Pixels,
    image: NDArray[np.int64],
    positions: NDArray[np.int64],
    epoch: int,
    preprocessing: Preprocessing,
    config: Config,
    seed: int,
) -> Inputs:
    """Return augmented images of some listings; how they are altered depends on seed, epoch and listing alone."""
    batch = []
    for position in positions:
        rng = np.random.default_rng([seed, epoch, int(position)])
        another = images[rng.integers(len(images))]
        batch.append(augment(images[image[position]], another, config.size, config.augmentation, rng))
    return {"images": preprocessing(np.stack(batch))}


@torch.inference_mode()
def _features(
    encoder: ImageEncoder,
    preprocessing: Preprocessing,
    images: Pixels,
    rows: NDArray[np.int64],
    config: Config,
    device: torch.device,
) -> torch.Tensor:
    """Return the pretrained network's features of some images at the size of embedding, float32 [n, c].

    The images may lie on the disk, so no more than a batch of them is copied at a time.
    """
    encoder.eval()
    features = [torch.zeros(0, encoder.project.in_features, device=device)]
    for start in range(0, len(rows), config.embed_batch):
        shown = [resize(images[row], config.embed_size) for row in rows[start : start + config.embed_batch]]
        batch = preprocessing(np.stack(shown)).to(device)
        with autocast(device, config.precision):
            features.append(encoder.features(batch))
    return torch.cat(features)


if __name__ == "__main__":
    from branches.cli import main_train

    raise SystemExit(main_train("image"))
