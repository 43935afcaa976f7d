"""The features in words that a stranger understands."""

from __future__ import annotations

from typing import Literal

FAMILIES = {  # beginning of a feature's name → what the feature says, what it is made of
    "title_chars": ("length of titles", "titles"),
    "title_words": ("length of titles", "titles"),
    "title_idf_odd": ("rare words that only one of two titles has", "titles"),
    "title_idf": ("rare words that two titles share", "titles"),
    "title": ("wording of titles", "titles"),
    "quantity": ("quantities in titles", "quantities in titles"),
    "model": ("model numbers in titles", "model numbers in titles"),
    "number": ("numbers in titles", "numbers in titles"),
    "color": ("colors in titles", "colors in titles"),
    "size": ("sizes in titles", "sizes in titles"),
    "image_equal": ("equal image files", "images"),
    "image_aspect": ("sizes of image files", "images"),
    "image_pixels": ("sizes of image files", "images"),
    "image_bytes": ("sizes of image files", "images"),
}
OF_BRANCH = {  # beginning of a feature's name behind the branch → what the feature says
    "cosine": "similarity of the likeliest pairs",
    "rank": "order of the neighbors",
    "mutual": "order of the neighbors",
    "top1_": "similarity of the nearest neighbors",
    "top": "density of the neighborhoods",
    "gap": "order of the neighbors",
    "z": "density of the neighborhoods",
}
EVIDENCE = {"image": "images", "phash": "image hashes", "all": "images and titles"}  # branch → its; of others: titles


def in_words(feature: str, change: Literal["", "no", "fewer", "more"] = "") -> str:
    """Return what a feature says of a catalog.

    Args:
        feature: Its name.
        change: Whether fewer or more pairs have the feature at all than in the training; "": as many.

    Examples:
        >>> in_words("tfidf_top1_low"), in_words("image_bytes_gap", "fewer"), in_words("title_chars_low")
        ('tfidf: similarity of the nearest neighbors', 'fewer images', 'length of titles')
    """
    about, evidence = _about(feature)
    return f"{change} {evidence}" if change else about


def _about(feature: str) -> tuple[str, str]:
    for beginning, words in FAMILIES.items():
        if f"{feature}_".startswith(f"{beginning}_"):
            return words
    branch, _, rest = feature.partition("_")
    what = next((words for beginning, words in OF_BRANCH.items() if rest.startswith(beginning)), rest)
    return f"{'all branches' if branch == 'all' else branch}: {what}", EVIDENCE.get(branch, "titles")
