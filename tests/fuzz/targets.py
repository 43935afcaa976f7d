"""What a fuzzer calls with bytes of its own making; a target returns, or raises because something must not happen.

`tests/fuzz/test_targets.py` calls the targets briefly in every run of the tests. `python -m tests.fuzz` calls them for
as long as you want, guided by the code that the bytes reach.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ensemble.explain.title_differences import title_differences
from ensemble.features.attributes import PARSERS
from ensemble.features.quantities import quantities
from shared.catalog.config import DataConfig
from shared.catalog.images import ImageFault, open_image, phash
from shared.catalog.reader import is_labeled, read_catalog
from shared.catalog.source import Source
from shared.catalog.tables import ENDINGS
from shared.catalog.thumbnails import thumbnail_jpeg
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.titles import normalize

Target = Callable[[bytes], None]

PACKED = 128  # see `tables`
MAX_PIXELS = 1_000_000
LONG_TITLE = 10_000  # characters
LONG_TITLE_S = 2.0  # of processor time; a title as long as that takes some hundredths of a second


def titles(data: bytes) -> None:
    """Read two titles, parted by a NUL character, in every way that the project reads titles."""
    left, _, right = data.decode("utf-8", errors="surrogateescape").partition("\0")
    for title in (left, right):
        text = normalize(title)
        assert normalize(text) == text, "normalized twice is another text"
        text.encode()
        for parse in PARSERS.values():
            parse(text)
        quantities(title)
    for title, spans in zip((left, right), title_differences(left, right), strict=True):
        assert "".join(span.text for span in spans) == title, "spans are not the title"


def long_titles(data: bytes) -> None:
    """Read a title of 10,000 characters that repeats a piece, which must not take long."""
    piece = data.decode("utf-8", errors="surrogateescape")
    if not piece:
        return
    title = (piece * (LONG_TITLE // len(piece) + 1))[:LONG_TITLE]
    start = time.process_time()
    text = normalize(title)
    for parse in PARSERS.values():
        parse(text)
    quantities(title)
    title_differences(title, piece)
    seconds = time.process_time() - start
    assert seconds < LONG_TITLE_S, f"{seconds:.1f} s"


def tables(data: bytes) -> None:
    """Read a catalog; the first byte says which ending the table's name has, and from 128 on that it is yet to pack."""
    compute = ComputeConfig(device="cpu", threads=1)
    kind, content = (data or b"\0")[0], data[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{ENDINGS[kind % PACKED % len(ENDINGS)]}"
        path.write_bytes(gzip.compress(content, 1) if kind >= PACKED else content)
        for labeled in (False, True):
            try:
                is_labeled(Source(path, None), DataConfig())
                catalog = read_catalog(Source(path, None), DataConfig(), compute, labeled=labeled, progress=False)
            except MatcherError as error:
                str(error).encode()
            else:
                assert len(set(catalog.ids)) == len(catalog) > 0
                assert all(posting_id.strip() for posting_id in catalog.ids)


def images(data: bytes) -> None:
    """Open an image, hash it and make a small copy."""
    try:
        image = open_image(data, MAX_PIXELS)
    except ImageFault:
        return
    assert image.mode == "RGB"
    assert 0 < image.width * image.height <= MAX_PIXELS
    assert 0 <= phash(image) < 2**64
    thumbnail_jpeg(data, 32, MAX_PIXELS, 80)


TARGETS: dict[str, Target] = {each.__name__: each for each in (titles, long_titles, tables, images)}
