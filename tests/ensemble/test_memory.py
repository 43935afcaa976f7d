"""The estimate of a job's memory, against the peaks of jobs that were measured."""

from typing import Any

import pytest
import torch

from branches.image.config import IN_MEMORY
from branches.memory import PER_LISTING
from ensemble.memory import candidate_pairs, matching_need, need_of
from ensemble.sections import sections
from shared.memory import GB
from shared.pipeline.settings import Settings

NO_EPOCHS = {"image": {"epochs": 0}, "distilbert": {"epochs": 0}}
ON_CPU = {"compute": {"device": "cpu"}}


def peak(listings: int, values: dict[str, Any]) -> float:
    """The largest need of any stage, with the libraries, in GB."""
    settings = Settings(values | ON_CPU, sections())
    stages = ("image/encoder/all", "distilbert/encoder/all", "image/embeddings/catalog", "ensemble/scorer")
    needs = [need for stage in stages if (need := need_of(stage, listings, settings))]
    return max(need.libraries.bytes + need.bytes for need in needs) / GB


@pytest.mark.parametrize(
    ("listings", "values", "measured"),
    [
        (200, NO_EPOCHS, 2.1),  # the demo
        (1000, {}, 4.5),  # the demo
        (27_400, NO_EPOCHS, 8.8),  # titles of the competition
    ],
)
def test_estimate_is_near_the_peak_that_was_measured(listings: int, values: dict[str, Any], measured: float) -> None:
    assert measured / 1.25 < peak(listings, values) < measured * 1.25


def test_smaller_settings_need_less() -> None:
    changes: tuple[dict[str, dict[str, Any]], ...] = (
        {"image": {"batch_size": 16}},
        {"image": {"size": 64}},
        {"distilbert": {"max_tokens": 16}},
        {"tfidf": {"neighbors": 10}},
        {"scorer": {"thinned": []}},
    )
    for less in changes:
        [section] = less
        name = f"{section}/encoder/all" if section in ("image", "distilbert") else "ensemble/scorer"
        own, other = (need_of(name, 1000, Settings(values | ON_CPU, sections())) for values in (less, {}))
        assert own is not None
        assert other is not None
        assert own.bytes < other.bytes, less


@pytest.mark.parametrize("name", ["image", "distilbert"])
def test_batches_on_a_gpu_take_none_of_the_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    need = need_of(f"{name}/encoder/all", 1000, Settings({}, sections()))
    assert need is not None
    decoded = 1000 * 3 * 224**2 if name == "image" else 0  # images are kept beside the GPU
    assert need.bytes == 1000 * PER_LISTING + decoded


def test_decoded_images_are_counted_up_to_what_stays_in_memory() -> None:
    def images(stage: str, listings: int) -> int:
        need = need_of(f"image/{stage}", listings, Settings(ON_CPU, sections()))
        assert need is not None
        return int(need.bytes) - listings * PER_LISTING

    assert images("encoder/all", 8000) - images("encoder/all", 1000) == IN_MEMORY - 1000 * 3 * 224**2 > 0.8 * GB
    assert images("encoder/all", 50_000) == images("encoder/all", 8000)  # more are in a file
    assert images("embeddings/catalog", 50_000) == images("embeddings/catalog", 1000)


def test_pairs_of_a_small_catalog_are_at_most_all() -> None:
    assert candidate_pairs(3, Settings({}, sections())) == 3


def test_branches_without_encoders_load_little() -> None:
    settings = Settings({"ensemble": {"branches": ["tfidf", "phash"]}}, sections())
    assert matching_need(1000, settings).libraries.bytes < 0.5 * GB
    assert need_of("matches", 1000, settings) is None
