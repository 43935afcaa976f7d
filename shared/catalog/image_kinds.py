"""What a file is that is called an image and is none: told by its first bytes."""

from __future__ import annotations

import re
from collections.abc import Collection

NOT_AN_IMAGE = "not an image"
_CONVERT = "is not supported; convert it to JPEG"
_READABLE: tuple[tuple[str, bytes, str], ...] = (  # format, its first bytes, and what to do where nothing reads it
    ("JPEG", rb"\xff\xd8\xff", ""),
    ("PNG", rb"\x89PNG", ""),
    ("GIF", rb"GIF8", ""),
    ("WEBP", rb"RIFF.{4}WEBP", ""),
    ("TIFF", rb"II[*+]\x00(?!.{4}CR)|MM\x00[*+]", ""),
    ("AVIF", rb".{4}ftypavi[fs]", f"AVIF {_CONVERT}"),
    (
        "HEIF",
        rb".{4}ftyp(?:.{4}){0,4}?(?:hei[cxms]|hev[cx]|mif1|msf1)",
        "HEIC is not supported; install pillow-heif or convert it to JPEG",
    ),
)
_KINDS: tuple[tuple[bytes, str], ...] = (  # a regular expression of the first bytes, and what such a file is
    (rb".{4}ftypcrx |II\*\x00.{4}CR|FUJIFILMCCD-RAW|IIU\x00|IIR[OS]", f"a camera's raw file {_CONVERT}"),
    (rb".{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ", "not an image but a video"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", f"JPEG XL {_CONVERT}"),
    (rb"8BP[SB]", f"a Photoshop file {_CONVERT}"),
    (rb"\x00\x00\x01\x00", f"an icon file (ICO) {_CONVERT}"),
    (rb"%PDF", "not an image but a PDF document"),
    (rb"PK(?:\x03\x04|\x05\x06)", "not an image but a ZIP archive"),
    (rb"\x1f\x8b", "not an image but a gzip file"),
    (rb"version https://git-lfs", "not an image but a Git LFS pointer; git lfs pull fetches the image"),
    (rb"/annex/objects/", "not an image but a git-annex pointer; git annex get fetches the image"),
    (rb"\s*(?:<\?xml.*)?<svg[\s>]", f"SVG {_CONVERT}"),
    (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*-->\s*)?<(?:!doctype html|html|head|body)\b", "not an image but an HTML page"),
    (rb"\s*<\?xml", "not an image but XML"),
    (rb"\s*[\[{]\s*[\[{\"]", "not an image but JSON"),
)
_FORMATS = tuple((name, re.compile(pattern, re.DOTALL), advice) for name, pattern, advice in _READABLE)
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), reason) for pattern, reason in _KINDS)


def reason_of(data: bytes, readable: Collection[str]) -> str:
    r"""Return in a few words what the bytes of a file are that no reader of images takes.

    Args:
        data: The file's bytes; the first thousand are looked at.
        readable: Names of the formats that can be read, as Pillow writes them; a file of these is damaged.

    Examples:
        >>> reason_of(b"<!doctype html><title>404</title>", ["JPEG"])
        'not an image but an HTML page'
        >>> reason_of(b"8BPS...", ["JPEG"]), reason_of(b"\xff\xd8\xff...", ["JPEG"])
        ('a Photoshop file is not supported; convert it to JPEG', 'cannot be decoded (damaged JPEG)')
        >>> reason_of(b"anything else", ["JPEG"])
        'not an image'
    """
    head = data[:1000].removeprefix(b"\xef\xbb\xbf")
    for name, pattern, advice in _FORMATS:
        if pattern.match(head):
            return f"cannot be decoded (damaged {name})" if name in readable or not advice else advice
    return next((reason for pattern, reason in _PATTERNS if pattern.match(head)), NOT_AN_IMAGE)
