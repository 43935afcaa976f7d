"""A look at LightGBM's text of a model before LightGBM parses it.

LightGBM trusts the text: a wrong size, a feature or child that there is not, or a child that leads back to its parent
makes it read foreign memory, or never end. A checksum does not help against a text that was made so on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

MAX_BYTES, MAX_TREES, MAX_LEAVES = 2**28, 100_000, 2**17
_HEADER = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
}
_KEYS = {*_HEADER, "max_feature_idx", "objective", "feature_names", "feature_infos", "tree_sizes"}
_END = re.compile(r"end of trees\n(.*\n)?pandas_categorical:(\[\]|null)\n*", re.DOTALL)


def check_model_text(text: str) -> None:
    """Raise an error unless a text is a sound model of two classes by numeric features.

    Args:
        text: As `Booster.model_to_string` returns it.

    Raises:
        ValueError: It is not.

    Examples:
        >>> check_model_text("tree")
        Traceback (most recent call last):
        ...
        ValueError: it is no text of LightGBM with trees
    """
    start = text.find("\n\nTree=0\n")
    if not text.isascii() or not text.startswith("tree\n") or start < 0:
        raise ValueError("it is no text of LightGBM with trees")
    header = _entries(text[5:start])
    if header.keys() != _KEYS or any(header[key] != value for key, value in _HEADER.items()):
        raise ValueError("its header is not that of a model of two classes")
    if not re.fullmatch(r"binary sigmoid:\d+(\.\d+)?", header["objective"]):
        raise ValueError(f"its objective is {header['objective'][:40]!r}")
    features = len(header["feature_names"].split(" "))
    if int(header["max_feature_idx"]) != features - 1 or len(header["feature_infos"].split(" ")) != features:
        raise ValueError("its numbers of features contradict each other")
    sizes = _whole_numbers(header["tree_sizes"])
    place = start + 2
    if not 0 < len(sizes) <= MAX_TREES or sizes.min() <= 0 or place + sizes.sum() > len(text):
        raise ValueError("its sizes of trees are not those of its trees")
    for number, size in enumerate(sizes.tolist()):
        first, _, body = text[place : place + size].partition("\n")
        if first != f"Tree={number}" or not body.endswith("\n"):
            raise ValueError(f"tree {number} does not begin or end where it should")
        _check_tree(_entries(body), features, number)
        place += size
    if not _END.fullmatch(text, place):
        raise ValueError("something else follows its trees")


def _entries(text: str) -> dict[str, str]:
    lines = [line.partition("=") for line in text.split("\n") if line]
    entries = {key: value for key, _, value in lines}
    if len(entries) < len(lines):
        raise ValueError("an entry stands twice")
    return entries


def _whole_numbers(text: str) -> NDArray[np.int64]:
    return np.array(text.split(" ") if text else [], dtype=np.int64)


def _numbers(text: str) -> NDArray[np.float64]:
    values = np.array(text.split(" ") if text else [], dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return values


def _check_tree(tree: Mapping[str, str], features: int, number: int) -> None:
    leaves = int(tree.get("num_leaves", 0))
    if not 1 <= leaves <= MAX_LEAVES or tree.get("num_cat") != "0" or tree.get("is_linear", "0") != "0":
        raise ValueError(f"tree {number} is no tree of numeric features")
    _numbers(tree.get("shrinkage", "1"))
    if len(_numbers(tree.get("leaf_value", ""))) != leaves:
        raise ValueError(f"tree {number} has another number of leaves than it says")
    if leaves == 1:
        return
    names = ("split_feature", "decision_type", "left_child", "right_child")
    nodes = [_whole_numbers(tree.get(name, "")) for name in names]
    feature, kind, *children = nodes
    if any(len(values) != leaves - 1 for values in (*nodes, _numbers(tree.get("threshold", "")))):
        raise ValueError(f"tree {number} has another number of nodes than it says")
    if feature.min() < 0 or feature.max() >= features or not np.isin(kind, [0, 2, 4, 6, 8, 10]).all():
        raise ValueError(f"tree {number} asks for a feature that there is not")
    child = np.stack(children)
    inner = np.sort(child[child >= 0])
    outer = np.sort(~child[child < 0])
    is_later = (child < 0) | (child > np.arange(leaves - 1))  # so that no way leads back
    whole = np.array_equal(inner, np.arange(1, leaves - 1)) and np.array_equal(outer, np.arange(leaves))
    if not (whole and is_later.all()):
        raise ValueError(f"tree {number} is no tree: its nodes do not lead to each leaf once")
