from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import pytest

from ensemble.features.images import of_images
from ensemble.pool_views import PoolViews

Make = Callable[..., Any]


def test_images_are_compared_by_content_size_and_shape(make_catalog: Make, every_pair: Make) -> None:
    files = {"image_sha": ["a", "a", "b"], "width": [100, 100, 400], "height": [50, 50, 100], "bytes": [900, 900, 1800]}
    features = of_images(PoolViews(make_catalog(["x", "y", "z"], **files), {}), every_pair(3))(slice(None))
    assert features["image_equal"].tolist() == [1, 0, 0]
    assert features["image_aspect_gap"].tolist() == pytest.approx([0, log(2), log(2)])
    assert features["image_pixels_gap"].tolist() == pytest.approx([0, log(8), log(8)])
    assert features["image_bytes_gap"].tolist() == pytest.approx([0, log(2), log(2)])
    assert features["image_bytes_per_pixel_gap"].tolist() == pytest.approx([0, log(4), log(4)])


@pytest.mark.parametrize("shas", [[None, None], ["a", None], [None, "a"]])
def test_a_missing_image_is_unknown_not_equal(make_catalog: Make, every_pair: Make, shas: list[str | None]) -> None:
    facts = {name: [10 if sha else None for sha in shas] for name in ("width", "height", "bytes")}
    features = of_images(PoolViews(make_catalog(["x", "y"], image_sha=shas, **facts), {}), every_pair(2))(slice(None))
    assert all(np.isnan(column).all() for column in features.values())
