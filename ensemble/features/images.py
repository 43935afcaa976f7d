"""Features of the image files of a pair: equal content, and how alike they are in size, shape and bytes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ensemble.pool_views import Chosen, Describe, PoolViews
from shared.schema import CandidatePairs, Floats


def of_images(pool: PoolViews, pairs: CandidatePairs) -> Describe:
    """Return what describes some of the pairs by their files: `image_<feature>`, float32; NaN where one is missing.

    Examples:
        >>> from shared.schema import Catalog
        >>> files = {"image_sha": ["x", "y"], "width": [10, 10], "height": [5, 10], "bytes": [99, 99]}
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"], "image": ["a.jpg", "b.jpg"], **files})
        >>> pairs = CandidatePairs(2, np.array([0], np.int32), np.array([1], np.int32))
        >>> features = of_images(PoolViews(catalog, {}), pairs)(slice(None))
        >>> features["image_equal"].tolist(), features["image_bytes_gap"].tolist()
        ([0.0], [0.0])
    """
    facts = pool.catalog.table.select(["width", "height", "bytes"]).to_pandas().to_numpy(dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        width, height, size = np.log(facts.T)
    contents, has_image = pd.factorize(pool.catalog.column("image_sha"))[0], pool.catalog.has_image
    compared = {
        "aspect": width - height,
        "pixels": width + height,
        "bytes": size,
        "bytes_per_pixel": size - width - height,
    }

    def describe(rows: Chosen) -> dict[str, Floats]:
        left, right = pairs.left[rows], pairs.right[rows]
        both = has_image[left] & has_image[right]
        features: dict[str, np.ndarray] = {"equal": contents[left] == contents[right]}
        for name, of_listing in compared.items():
            features[f"{name}_gap"] = np.abs(of_listing[left] - of_listing[right])
        return {f"image_{name}": np.where(both, column, np.nan).astype(np.float32) for name, column in features.items()}

    return describe
