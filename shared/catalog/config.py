"""Settings of reading listings."""

from pydantic import Field

from shared.catalog.images import PILLOW_MAX_PIXELS
from shared.config import ConfigSection


class DataConfig(ConfigSection):
    """Section `data`: how the listings are written down."""

    path: str = Field("demo", description="folder in Kaggle layout, or one table; demo: invented listings")
    id_column: str = Field("posting_id", min_length=1, description="column with the listing's unique id")
    title_column: str = Field("title", description="column with the title; empty: there is none")
    image_column: str = Field("image", description="column with the image's file name; empty: there is none")
    phash_column: str = Field("image_phash", description="column with a perceptual hash (16 hex digits), if any")
    label_column: str = Field(
        "label_group", min_length=1, description="column with the product that the listing sells, for training"
    )
    images: str = Field(
        "",
        description="image folder, looked for beside the table, then here; empty: train_images or test_images beside "
        "the table; for a single table also images, then the table's own folder",
    )
    max_pixels: int = Field(50_000_000, ge=1, le=PILLOW_MAX_PIXELS, description="larger images are refused undecoded")
