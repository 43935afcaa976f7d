"""A text of LightGBM that was made to do harm is refused before LightGBM parses it."""

import re
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from ensemble.scorer.model import Scorer
from ensemble.scorer.model_text import check_model_text
from shared.errors import ArtifactError


@pytest.fixture(scope="module")
def text() -> str:
    values = np.random.default_rng(0).random((300, 2))
    table = pd.DataFrame(values, columns=["cosine", "rank"])
    options = {"objective": "binary", "verbosity": -1, "num_leaves": 5, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lgb.train(options, lgb.Dataset(table, values[:, 0] > values[:, 1]), 3)
    return str(booster.model_to_string(num_iteration=-1))


def first(text: str, key: str, change: str) -> str:
    """Return the text with another value of the first entry of a name, and the size of its tree as it then is."""
    start = text.index("Tree=0")
    old = re.search(rf"^{key}=(.*)$", text[start:] if f"\n{key}=" in text[start:] else text, re.MULTILINE)
    assert old is not None
    new = text.replace(f"{key}={old[1]}", f"{key}={change}", 1)
    if key in text[:start]:
        return new
    sizes = re.search(r"tree_sizes=(\d+)", new)
    assert sizes is not None
    return new.replace(sizes[0], f"tree_sizes={int(sizes[1]) + len(new) - len(text)}", 1)


def test_model_as_lightgbm_writes_it_is_sound(text: str) -> None:
    check_model_text(text)
    check_model_text(first(text, "shrinkage", "0.5"))
    check_model_text(first(text, "threshold", "inf 0 0.5 1e-35"))


def test_tree_of_one_leaf_is_sound() -> None:
    table = pd.DataFrame({"cosine": np.zeros(40)})
    booster = lgb.train({"objective": "binary", "verbosity": -1}, lgb.Dataset(table, np.arange(40) % 2), 2)
    check_model_text(booster.model_to_string(num_iteration=-1))


@pytest.mark.fault(20, 33)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split_feature", "0 1 2 0"),
        ("split_feature", "0 1 -1 0"),
        ("split_feature", "0 1"),
        ("split_feature", "0 1 1e9 0"),
        ("left_child", "0 1 2 3"),
        ("left_child", "1 0 2 3"),
        ("left_child", "-1 -2 -3 -99"),
        ("left_child", "99 -2 -3 -4"),
        ("threshold", "nan 0 0 0"),
        ("threshold", "infinity 0 0 0"),
        ("split_gain", "1 2 3 4x"),
        ("internal_weight", "1e9999 0 0 0"),
        ("leaf_count", "1 2 3 4 99999999999999"),
        ("threshold", "0 0"),
        ("leaf_value", "0 0 0 0 nan"),
        ("leaf_value", "0 0 0 0"),
        ("decision_type", "1 2 2 2"),
        ("decision_type", "2 2 2 99"),
        ("num_leaves", "4"),
        ("num_leaves", "2000000000"),
        ("num_leaves", "-1"),
        ("num_cat", "3"),
        ("is_linear", "1"),
        ("tree_sizes", "99999999999 1 1"),
        ("tree_sizes", "-5 1 1"),
        ("tree_sizes", ""),
        ("max_feature_idx", "999999"),
        ("max_feature_idx", "x"),
        ("num_class", "2"),
        ("num_tree_per_iteration", "0"),
        ("objective", "custom"),
        ("version", "v9"),
    ],
)
def test_model_with_another_value_is_refused(text: str, key: str, value: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_model_text(first(text, key, value))


@pytest.mark.fault(20)
def test_model_cut_off_anywhere_is_refused(text: str, tmp_path: Path) -> None:
    for length in range(0, text.index("end of trees"), 97):
        with pytest.raises(ValueError, match=r".+"):
            check_model_text(text[:length])
    (tmp_path / "first.txt").write_text(text[: len(text) // 2])
    with pytest.raises(ArtifactError, match=r"first\.txt is damaged \(.+\); train the scorer again"):
        Scorer.load(tmp_path / "first.txt")


@pytest.mark.fault(20)
def test_model_with_any_byte_changed_is_refused_or_of_another_value(text: str) -> None:
    """Whatever passes the look is a model that LightGBM can load and ask."""
    draw = np.random.default_rng(1)
    end = text.index("end of trees")
    for place in draw.integers(0, end, 300).tolist():
        changed = text[:place] + chr(draw.integers(32, 127)) + text[place + 1 :]
        try:
            check_model_text(changed)
        except ValueError:
            continue
        lgb.Booster(model_str=changed).predict(np.zeros((2, 2)))


@pytest.mark.fault(33)
def test_model_followed_by_something_else_is_refused(text: str) -> None:
    for more in ("pandas_categorical:" + "[" * 10_000, 'pandas_categorical:[["a"]]', "x"):
        with pytest.raises(ValueError, match="something else follows"):
            check_model_text(text[: text.index("pandas_categorical")] + more)
