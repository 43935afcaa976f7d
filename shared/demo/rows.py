"""The rows of the table `train.csv`, and the files that they name."""

import hashlib
import io
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import imagehash
from PIL import Image


class Row(NamedTuple):
    """A row of the table `train.csv`."""

    posting_id: str
    image: str
    image_phash: str
    title: str
    label_group: str


def to_jpeg(image: Image.Image, quality: int) -> bytes:
    """Return the JPEG file of an RGB image in a quality from 1 to 95."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def write_image(jpeg: bytes, images: Path) -> str:
    """Write a JPEG file into a folder; return its name, which follows from its content."""
    name = f"{hashlib.blake2b(jpeg, digest_size=16).hexdigest()}.jpg"
    (images / name).write_bytes(jpeg)
    return name


@lru_cache(maxsize=16)
def perceptual_hash(jpeg: bytes) -> str:
    """Return the 64-bit perceptual hash of a JPEG file as 16 hexadecimal digits."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return str(imagehash.phash(image))
