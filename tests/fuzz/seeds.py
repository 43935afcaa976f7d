"""Sound inputs of each target, from which a fuzzer starts."""

import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from shared.catalog.images import FORMATS
from shared.catalog.tables import ENDINGS
from tests.fuzz.targets import PACKED
from tests.support.listings import rows_of, write

TITLES = [
    "Tea ½ kg, isi 2\0tea 500 g 2pcs",
    'TV 55" 1.500 g 120x80 cm\0洗发水500ml装 6x330ml',
    "b'\\xe2\\x9c\\x85 Kaos' \\u2019 &amp;#65; &amp;amp;\0caf&eacute; 'n' 1.000.000,5 %",
    "fl.oz 8 fl oz 3 in 1 8 x 10 in\0tas merah XXL sm-g950 3/32GB 5'10\"",
    "عطر ١٠٠ مل กางเกง 2 ชิ้น 500毫升\0a\u0301\u200d\ufe0f'b ＡＢ①Ⅷㅎ각 S20+ 100 %",
]
MODES = ("RGB", "L", "LA", "RGBA", "P", "CMYK", "I;16", "1", "F", "YCbCr")


def titles() -> list[bytes]:
    """Return pairs of titles."""
    return [text.encode() for text in TITLES]


def long_titles() -> list[bytes]:
    """Return pieces of titles."""
    return [word.encode() for text in TITLES for word in text.replace("\0", " ").split()]


def tables() -> list[bytes]:
    """Return tables of every ending, in several ways to write them, behind the byte that chooses the ending."""
    rows = [*rows_of("001", "b", title='two\n"lines", 3'), *rows_of("=c", image_phash="00ff" * 4)]
    with tempfile.TemporaryDirectory() as folder:
        files = [write(Path(folder) / f"t{ending}", rows).read_bytes() for ending in ENDINGS]
    sound = [bytes([number]) + content for number, content in enumerate(files)]
    kinds = dict(zip(ENDINGS, range(len(ENDINGS)), strict=True))
    csv, lines = files[kinds[".csv"]], files[kinds[".jsonl"]]
    array = b"[" + lines.strip().replace(b"\n", b",") + b"]"
    texts = [
        csv,
        csv.replace(b",", b";"),
        csv.replace(b",", b"\t"),
        csv.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + csv,
    ]
    texts += [csv.replace(b"Sabun", b"Caf\xe9"), csv.replace(b"\r\n", b"\r"), lines, array]
    packed = [PACKED + number for ending, number in kinds.items() if ending.endswith(".gz")]
    sound += [bytes([kind]) + text for text in texts for kind in (kinds[".csv"], kinds[".jsonl"], *packed)]
    return sound + [bytes([kinds[".parquet"]]) + content for content in _parquets()]


def _parquets() -> list[bytes]:
    """Return Parquet files with columns of other types than text."""
    titles = [pa.array(["a", None, "c"]).dictionary_encode(), pa.array([b"a", b"\xff", None]), pa.array([1.5, None, 3])]
    titles += [pa.array([[1], [], None]), pa.array([{"x": 1}] * 3), pa.array([1, 2, 3], pa.timestamp("ns"))]
    titles += [pa.array([1, 2, 3], pa.decimal128(5, 2)), pa.array([True, None, False]), pa.nulls(3)]
    files = []
    for title in titles:
        buffer = io.BytesIO()
        pq.write_table(pa.table({"posting_id": [1, 2, 3], "title": title, "label_group": [1, 1, 2]}), buffer)
        files.append(buffer.getvalue())
    return files


def images() -> list[bytes]:
    """Return an image in every format, and in every mode that a format can hold."""
    plain = Image.new("RGB", (24, 16), "white")
    ImageDraw.Draw(plain).ellipse([3, 2, 18, 12], fill="red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°
    files = [_encoded(plain.convert(mode), kind, {}) for kind in FORMATS for mode in MODES if mode != "I;16"]
    files += [_encoded(plain.convert("I").convert("I;16"), kind, {}) for kind in ("PNG", "TIFF", "JPEG2000", "PPM")]
    files += [_encoded(plain, kind, {"exif": exif}) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")]
    files += [_encoded(plain, "JPEG", {"progressive": True})]
    files += [
        _encoded(plain, "TIFF", {"compression": name}) for name in ("tiff_lzw", "jpeg", "packbits", "tiff_deflate")
    ]
    more = {"save_all": True, "append_images": [plain.rotate(90)]}
    files += [_encoded(plain, kind, more) for kind in ("GIF", "PNG", "WEBP", "TIFF", "AVIF")]
    return list(dict.fromkeys(filter(None, files)))


def _encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    """Return an image file; nothing where the format does not hold such an image."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError, KeyError, TypeError):
        return b""
    return buffer.getvalue()
