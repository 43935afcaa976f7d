"""Titles that cannot be read, and titles that cost time."""

import pytest

import shared.titles

UNREADABLE = "Tea UNREADABLE 5 kg"

# Pieces of which a long title is hostile: each of them once took quadratic time somewhere, or may.
HOSTILE = [
    *("1x", "1/", "&#", "(", "a-", "1", "\u0301\u0323", "👨\u200d", "b'", "1 ", "1.000", "1' ", "5 kg ", "\ufdfa"),
    *(
        "洗1",
        "1-",
        "\\x",
        "'",
        "1+",
        "1 000 ",
        "a.",
        "x ",
        "(1x",
        "1½",
        '5"',
        "\u202e1",
        "\0",
        "1'000",
        "e\u0301",
        "1 _",
    ),
]


def break_titles(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """Let every title that holds UNREADABLE raise an error where it is decoded, as some did in the standard library."""
    decode = shared.titles._decode

    def raise_or_decode(title: str) -> str:
        if "UNREADABLE" in title:
            raise error("made by a test")
        return decode(title)

    monkeypatch.setattr("shared.titles._decode", raise_or_decode)
