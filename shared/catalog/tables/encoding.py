"""The encoding of a text file: what its first bytes say, and what its other bytes most likely are."""

from __future__ import annotations

import codecs
import re

_MARKS = (  # byte order mark → encoding; UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_RUNS = re.compile(rb"[\x80-\xff]+")
_JUDGED = 100_000  # bytes that are looked at
_SURE = 0.6  # share of the characters that tells a script


def check_encoding(name: str) -> str:
    """Return the name of an encoding of text, or raise an error if there is none of this name.

    Raises:
        ValueError: There is none.

    Examples:
        >>> check_encoding("cp1252")
        'cp1252'
        >>> check_encoding("rot13")
        Traceback (most recent call last):
        ValueError: no encoding of text is called 'rot13'; such are cp1252, gb18030, shift_jis, utf-16
    """
    try:
        if name:
            "id".encode(name).decode(name)
    except (LookupError, ValueError):  # a name that holds a NUL is a ValueError
        raise ValueError(
            f"no encoding of text is called {name!r}; such are cp1252, gb18030, shift_jis, utf-16"
        ) from None
    return name


def encoding_of(head: bytes, named: str) -> str:
    r"""Return the encoding of a text: that of its byte order mark, else the one that is named, else UTF-8.

    Args:
        head: Its first bytes.
        named: Name of an encoding, or "".

    Raises:
        ValueError: No encoding is named, and it is UTF-16 without a byte order mark.

    Examples:
        >>> encoding_of(b"\xff\xfei\x00d\x00", ""), encoding_of(b"id,title", ""), encoding_of(b"id,title", "cp1252")
        ('utf-16', 'utf-8-sig', 'cp1252')
    """
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is None and not named and b"\0" in head:
        even, odd = (head[start::2].count(0) / max(1, len(head[start::2])) for start in (0, 1))
        if max(even, odd) > 0.3 and min(even, odd) < 0.1:
            name = "utf-16-le" if odd > even else "utf-16-be"
            raise ValueError(f"its bytes are not UTF-8; they look like {name}: say --data.encoding={name}")
    return marked or named or "utf-8-sig"


def likely_encoding(data: bytes) -> str | None:
    """Return the encoding that text most likely has that is not UTF-8; None where it is ASCII.

    Args:
        data: Some of the text.

    Examples:
        >>> texts = {"latin-1": "Café pria", "gbk": "运动鞋男", "shift_jis": "スポーツ", "euc_kr": "운동화 남성"}
        >>> [likely_encoding(text.encode(name)) for name, text in texts.items()]
        ['cp1252', 'gb18030', 'cp932', 'euc_kr']
    """
    data = data[:_JUDGED]
    runs = _RUNS.findall(data)
    if not runs:
        return None
    if _share(data, "cp932", "\u3041", "\u30fa") >= 0.3:
        return "cp932"
    alone = sum(len(run) == 1 for run in runs) / len(runs)
    if alone < 0.5:
        if _share(data, "euc_jp", "\u3041", "\u30fa") >= 0.3:
            return "euc_jp"
        if _share(data, "euc_kr", "\uac00", "\ud7a3") >= 0.95:
            return "euc_kr"
        leads = [run[at] for run in runs for at in range(0, len(run) - 1, 2)]
        common = sum(0xB0 <= lead <= 0xD7 for lead in leads) / max(1, len(leads))
        if common >= _SURE and _share(data, "gb18030", "\u4e00", "\u9fff") >= _SURE:
            return "gb18030"
        if _share(data, "cp1251", "\u0400", "\u045f") >= 0.95:
            return "cp1251"
        if _share(data, "big5", "\u4e00", "\u9fff") >= _SURE:
            return "big5"
    return "cp1252" if _share(data, "cp1252", "\x80", "\uffff") > 0 else "latin-1"


def _share(data: bytes, encoding: str, first: str, last: str) -> float:
    """Return the share of the characters beyond ASCII that lie in a range; 0 where they are not of the encoding."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    beyond = [char for char in text if not char.isascii()]
    return sum(first <= char <= last for char in beyond) / max(1, len(beyond))
