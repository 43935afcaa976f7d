"""Tables and images that tests write."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

TEST_ROWS = 6  # listings of the demo in the test.csv of the fixture `tested`


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as a CSV file, with the columns of the first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_image(path: Path, seed: int) -> None:
    """Write an image of 40 × 40 pixels, another for another seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((40, 40), Image.Resampling.BILINEAR).save(path)
