"""The families of features that an explanation shows, and each single feature of a pair in words."""

from __future__ import annotations

import math

from ensemble.features.attributes import PARSERS
from ensemble.scorer.feature_words import in_words

TITLES, ATTRIBUTES, IMAGE_FILES = "wording of titles", "attributes in titles", "image files"
CATALOG, SURROUNDINGS = "kind of catalog", "scores around the pair"

_OF_IMAGE_FILES = {
    "image_equal": "equal image files",
    "image_aspect_gap": "difference between the shapes of the images",
    "image_pixels_gap": "difference between the images in pixels",
    "image_bytes_gap": "difference between the image files in bytes",
    "image_bytes_per_pixel_gap": "difference between the image files in bytes per pixel",
}
_OF_TITLES = {
    "ratio": "likeness of the titles, letter by letter",
    "partial_ratio": "likeness of the shorter title and a part of the longer one",
    "token_sort_ratio": "likeness of the titles with their words in alphabetical order",
    "token_set_ratio": "likeness of the titles by the words that both have",
    "jaro_winkler": "likeness of the titles, beginnings above all",
    "chars": "length of the title in characters",
    "words": "number of words in the title",
    "idf_jaccard": "share of words in common, rare ones above all",
    "idf_low_share": "share of words in common, of the longer title",
    "idf_high_share": "share of words in common, of the shorter title",
    "idf_shared": "rarity of the words in common",
    "idf_odd": "rarest word that only one title has",
}
_KINDS = {"quantity": "quantities", "model": "model numbers", "number": "numbers", "color": "colors", "size": "sizes"}
_OF_KIND = {"shared": "in both titles", "odd": "in one title alone", "conflict": "contradict each other"}
_OF_GRAPH = {
    "cosine": "similarity",
    "rank": "rank among the nearest",
    "mutual": "each among the nearest of the other",
    "top1": "nearest listing of all",
    "top5": "mean of the nearest 5",
    "top15": "mean of the nearest 15",
    "gap": "distance behind the nearest listing",
    "z": "distance from what is usual among the nearest 15",
    "paths": "third listings that are like both",
    "bridge": "best third listing that is like both",
}
_ENDS = {"_low": "lower of the two listings", "_high": "higher of the two listings"}


def family(feature: str) -> str:
    """Return the family of a feature of either model.

    Each branch is a family. So are what all branches say together, wording and attributes of titles, facts about image
    files, the kind of catalog (the same for all its pairs), and the scores around the pair.

    Examples:
        >>> family("tfidf_rank_low"), family("title_ratio"), family("color_shared"), family("image_equal")
        ('tfidf similarity', 'wording of titles', 'attributes in titles', 'image files')
        >>> family("all_gap_low"), family("tfidf_pool_lead75"), family("score_bridge")
        ('similarity over all branches', 'kind of catalog', 'scores around the pair')
    """
    beginning, _, rest = feature.partition("_")
    if beginning == "score":
        return SURROUNDINGS
    if feature in _OF_IMAGE_FILES:
        return IMAGE_FILES
    if beginning == "title":
        return TITLES
    if beginning in PARSERS:
        return ATTRIBUTES
    if rest.startswith("pool_"):
        return CATALOG
    return "similarity over all branches" if beginning == "all" else f"{beginning} similarity"


def feature_in_words(feature: str) -> str:
    """Return what a feature says of a pair of listings.

    Examples:
        >>> feature_in_words("tfidf_rank_high")
        'tfidf: rank among the nearest, higher of the two listings'
        >>> feature_in_words("quantity_conflict"), feature_in_words("score")
        ('quantities contradict each other', 'score by the pair itself')
    """
    name, end = feature, ""
    for ending, words in _ENDS.items():
        if feature.endswith(ending):
            name, end = feature.removesuffix(ending), f", {words}"
    return _without_end(name) + end


def value_in_words(value: float, digits: int = 3) -> str:
    """Return the value of a feature with so many digits; what is left of rounding errors counts as 0.

    Examples:
        >>> value_in_words(0.12345), value_in_words(-6e-8), value_in_words(float("nan"))
        ('0.123', '0', 'unknown')
    """
    if math.isnan(value):
        return "unknown"
    return f"{0.0 if abs(value) < 1e-5 else value:.{digits}g}"


def _without_end(name: str) -> str:
    beginning, _, rest = name.partition("_")
    if name in _OF_IMAGE_FILES:
        return _OF_IMAGE_FILES[name]
    if name == "score":
        return "score by the pair itself"
    if beginning == "title" and rest in _OF_TITLES:
        return _OF_TITLES[rest]
    if beginning in _KINDS and rest in _OF_KIND:
        return f"{_KINDS[beginning]} {_OF_KIND[rest]}"
    if rest.startswith("pool_lead"):
        return f"{beginning}: lead of the nearest neighbors in the whole catalog, percentile {rest[-2:]}"
    if rest in _OF_GRAPH:
        of = {"score": "scores", "all": "all branches"}.get(beginning, beginning)
        return f"{of}: {_OF_GRAPH[rest]}"
    return in_words(name)
