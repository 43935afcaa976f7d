"""Features of the image files of a pair: equal content, and how alike they are in size, shape and bytes."""

from __future__ import annotations

import numpy as np

from ensemble.pool_views import PoolViews
from shared.schema import CandidatePairs, Floats


def of_images(pool: PoolViews, pairs: CandidatePairs) -> dict[str, Floats]:
    """Return the features of the files, float32 [p] by name `image_<feature>`; NaN where an image is missing.

    Examples:
        >>> from shared.schema import Catalog
        >>> files = {"image_sha": ["x", "y"], "width": [10, 10], "height": [5, 10], "bytes": [99, 99]}
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "image": ["a.jpg", "b.jpg"], **files})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> features = of_images(PoolViews(catalog, {}), pairs)
        >>> features["image_equal"].tolist(), features["image_bytes_gap"].tolist()
        ([0.0], [0.0])
    """
    facts = pool.catalog.table.select(["width", "height", "bytes"]).to_pandas().to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        width, height, size = np.log(facts.T)
    contents, has_image = pool.catalog.column("image_sha"), pool.catalog.has_image
    both = has_image[pairs.left] & has_image[pairs.right]
    features: dict[str, np.ndarray] = {"equal": contents[pairs.left] == contents[pairs.right]}
    for name, of_listing in (
        ("aspect", width - height),
        ("pixels", width + height),
        ("bytes", size),
        ("bytes_per_pixel", size - width - height),
    ):
        features[f"{name}_gap"] = np.abs(of_listing[pairs.left] - of_listing[pairs.right])
    return {f"image_{name}": np.where(both, column, np.nan).astype(np.float32) for name, column in features.items()}
