"""Catalogs as files: tables in every format, and image files."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.schema import Catalog

HEADER = ["posting_id", "image", "image_phash", "title", "label_group"]
HASH = "e8c6a69e699939c1"
ENDINGS = [".csv", ".csv.gz", ".tsv", ".jsonl", ".jsonl.gz", ".parquet"]


def rows_of(*ids: str, **columns: str) -> list[dict[str, str]]:
    """Well-formed rows without images, each changed by `columns`."""
    plain = {"image": "", "image_phash": "", "title": "Sabun", "label_group": "g"}
    return [{"posting_id": i, **plain, **columns} for i in ids]


def write(path: Path, rows: list[dict[str, Any]], header: list[str] = HEADER) -> Path:
    """Write rows in the format that the file's name says."""
    if path.name.endswith(".parquet"):
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in header}), path)
        return path
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        out = io.StringIO()
        writer = csv.DictWriter(out, header, delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


def read(data: Path, *, labeled: bool = True, test: bool = False, threads: int = 2, **options: Any) -> Catalog:
    """Read the catalog that lies at a path; options are those of `DataConfig`."""
    config = DataConfig(**options)
    source = find_source(data, config, test=test)
    return read_catalog(source, config, ComputeConfig(threads=threads), labeled=labeled, progress=False)


def fault_of(data: Path, **options: Any) -> str:
    """Return the message of the error that reading raises."""
    with pytest.raises(MatcherError) as error:
        read(data, **options)
    assert error.value.exit_code == 2
    return str(error.value)


def draw(path: Path, seed: int = 0, **options: Any) -> Image.Image:
    """Write an image file that differs with the seed, and return the image."""
    image = Image.new("RGB", (60, 40), "white")
    ImageDraw.Draw(image).ellipse([5 + seed, 5, 40, 30], fill=(200, 10 * seed, 30))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return image


def folder(path: Path, names: list[str], **columns: str) -> Path:
    """Write a training table that names these images, and return the path."""
    rows = [
        dict(row, image=name) for row, name in zip(rows_of(*map(str, range(len(names))), **columns), names, strict=True)
    ]
    write(path / "train.csv", rows)
    return path
