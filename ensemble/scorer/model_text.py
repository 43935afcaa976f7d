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
_HEADER = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "label_index": "0"}
_MORE = ("max_feature_idx", "objective", "feature_names", "feature_infos", "tree_sizes")
_OF_NODES = ("split_feature", "decision_type", "left_child", "right_child", "internal_count")
_OF_NODES_REAL = ("split_gain", "internal_value", "internal_weight")
_OF_LEAVES, _OF_LEAVES_REAL = ("leaf_count",), ("leaf_value", "leaf_weight")
_WHOLE = re.compile(r"(-?\d{1,9}( -?\d{1,9})*)?")
_REAL = r"-?\d{1,30}(\.\d{1,30})?(e[+-]\d{1,3})?"
_REALS = re.compile(rf"({_REAL}( {_REAL})*)?")
_LIMITS = re.compile(rf"(({_REAL}|inf)( ({_REAL}|inf))*)?")  # inf: all values but the missing ones
_NAMES = re.compile(r"[\w.:/-]+( [\w.:/-]+)*")
_INFO = rf"(none|\[{_REAL}:{_REAL}\])"
_INFOS = re.compile(rf"{_INFO}( {_INFO})*")
_TAIL = re.compile(
    r"end of trees\n\nfeature_importances:\n([\w.:/-]+=\d+\n)*"
    r"\n(parameters:\n(\[\w+: [^\"\\\n]*\]\n)*\n?end of parameters\n\n)?pandas_categorical:(\[\]|null)\n*"
)


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
    if tuple(header) != (*_HEADER, *_MORE) or any(header[key] != value for key, value in _HEADER.items()):
        raise ValueError("its header is not that of a model of two classes")
    if not re.fullmatch(r"binary sigmoid:\d+(\.\d+)?", header["objective"]):
        raise ValueError(f"its objective is {header['objective'][:40]!r}")
    if not _NAMES.fullmatch(header["feature_names"]) or not _INFOS.fullmatch(header["feature_infos"]):
        raise ValueError("its names of features cannot be read")
    features = len(set(header["feature_names"].split(" ")))
    if header["max_feature_idx"] != str(features - 1) or len(header["feature_infos"].split(" ")) != features:
        raise ValueError("its numbers of features contradict each other")
    sizes = _whole_numbers(header["tree_sizes"])
    place = start + 2
    if not 0 < len(sizes) <= MAX_TREES or int(sizes.min()) <= 0 or place + sizes.sum() > len(text):
        raise ValueError("its sizes of trees are not those of its trees")
    for number, size in enumerate(sizes.tolist()):
        first, _, body = text[place : place + size].partition("\n")
        if first != f"Tree={number}" or not body.endswith("\n"):
            raise ValueError(f"tree {number} does not begin or end where it should")
        _check_tree(_entries(body), features, number)
        place += size
    if not _TAIL.fullmatch(text, place):
        raise ValueError("something else follows its trees")


def _entries(text: str) -> dict[str, str]:
    lines = [line.partition("=") for line in text.split("\n") if line]
    entries = {key: value for key, _, value in lines}
    if len(entries) < len(lines):
        raise ValueError("an entry stands twice")
    return entries


def _whole_numbers(text: str) -> NDArray[np.int64]:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text[:40]!r} are no whole numbers")
    return np.array(text.split(" ") if text else [], dtype=np.int64)


def _numbers(text: str, pattern: re.Pattern[str] = _REALS) -> NDArray[np.float64]:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:40]!r} are no numbers")
    values = np.array(text.split(" ") if text else [], dtype=np.float64)
    if pattern is _REALS and not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return values


def _check_tree(tree: Mapping[str, str], features: int, number: int) -> None:
    whole = {
        name: _whole_numbers(tree.get(name, ""))
        for name in (*_OF_NODES, *_OF_LEAVES, "num_leaves", "num_cat", "is_linear")
    }
    real = {name: _numbers(tree.get(name, "")) for name in (*_OF_NODES_REAL, *_OF_LEAVES_REAL, "shrinkage")}
    real["threshold"] = _numbers(tree.get("threshold", ""), _LIMITS)
    if tree.keys() != whole.keys() | real.keys() or any(tree[name] != "0" for name in ("num_cat", "is_linear")):
        raise ValueError(f"tree {number} is no tree of numeric features")
    if len(whole["num_leaves"]) != 1 or len(real["shrinkage"]) != 1:
        raise ValueError(f"tree {number} does not say how large it is")
    leaves = int(whole["num_leaves"][0])
    if not 1 <= leaves <= MAX_LEAVES:
        raise ValueError(f"tree {number} has {leaves:,} leaves")
    sizes = dict.fromkeys((*_OF_NODES, *_OF_NODES_REAL, "threshold"), leaves - 1) | dict.fromkeys(
        ("leaf_count", "leaf_value"), leaves
    )
    sizes["leaf_weight"] = leaves if leaves > 1 else 0
    if any(len((whole | real)[name]) != size for name, size in sizes.items()):
        raise ValueError(f"tree {number} has other numbers of nodes and leaves than it says")
    if leaves > 1:
        _check_nodes(whole, features, number)


def _check_nodes(tree: Mapping[str, NDArray[np.int64]], features: int, number: int) -> None:
    feature, nodes = tree["split_feature"], len(tree["split_feature"])
    if feature.min() < 0 or feature.max() >= features or not np.isin(tree["decision_type"], range(0, 11, 2)).all():
        raise ValueError(f"tree {number} asks for a feature that there is not")
    child = np.stack([tree["left_child"], tree["right_child"]])
    inner, outer = np.sort(child[child >= 0]), np.sort(~child[child < 0])
    is_later = (child < 0) | (child > np.arange(nodes))  # so that no way leads back
    if not (
        np.array_equal(inner, np.arange(1, nodes)) and np.array_equal(outer, np.arange(nodes + 1)) and is_later.all()
    ):
        raise ValueError(f"tree {number} is no tree: its nodes do not lead to each leaf once")
