"""Features of the picture files: equal content, and how alike they are in size, shape and bytes."""

from __future__ import annotations

import numpy as np

from ensemble.pool_views import PoolViews
from shared.schema import CandidatePairs, Floats


def of_pictures(pool: PoolViews, pairs: CandidatePairs) -> dict[str, Floats]:
    """The features of the files, named `picture_<feature>`, float32 [p]; NaN where a picture is missing."""
    facts = pool.catalog.table.select(["width", "height", "bytes"]).to_pandas().to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        width, height, size = np.log(facts.T)
    contents = pool.catalog.column("image_sha")
    known = pool.catalog.has_image[pairs.left] & pool.catalog.has_image[pairs.right]
    features: dict[str, np.ndarray] = {"equal": contents[pairs.left] == contents[pairs.right]}
    for name, of_listing in (
        ("aspect", width - height),
        ("pixels", width + height),
        ("bytes", size),
        ("bytes_per_pixel", size - width - height),
    ):
        features[f"{name}_gap"] = np.abs(of_listing[pairs.left] - of_listing[pairs.right])
    return {f"picture_{name}": np.where(known, column, np.nan).astype(np.float32) for name, column in features.items()}
