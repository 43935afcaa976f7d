import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.evaluation.calibration import BINS, OPEN, calibration, expected_error, reliability

unit = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, 1 / 3, 0.2, 0.4, 0.6]))
cases = st.lists(st.tuples(unit, st.booleans()), max_size=40)


def arrays(case: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s for s, _ in case], dtype=np.float32), np.array([m for _, m in case], dtype=bool)


def naive(score: np.ndarray, match: np.ndarray, bins: int) -> list[tuple[int, float, float]]:
    found = []
    for m in range(bins):
        inside = [
            (float(s), bool(y))
            for s, y in zip(score, match, strict=True)
            if m / bins < s <= (m + 1) / bins or (m == 0 and s == 0)
        ]
        if inside:
            n = len(inside)
            found.append((n, sum(s for s, _ in inside) / n, sum(y for _, y in inside) / n))
    return found


@settings(deadline=None)
@given(cases, st.integers(1, 20))
def test_reliability_equals_naive(case: list[tuple[float, bool]], bins: int) -> None:
    score, match = arrays(case)
    found = reliability(score, match, bins)
    expected = naive(score.astype(np.float64), match, bins)
    assert [b["pairs"] for b in found] == [n for n, _, _ in expected]
    assert [b["score"] for b in found] == pytest.approx([s for _, s, _ in expected])
    assert [b["matches"] for b in found] == pytest.approx([y for _, _, y in expected])


@settings(deadline=None)
@given(cases)
def test_calibration_equals_mean_gap(case: list[tuple[float, bool]]) -> None:
    score, match = arrays(case)
    found = calibration(score, match)
    assert found["pairs"] == len(case)
    assert found["reliability"] == reliability(score, match, BINS)
    is_open = np.array([OPEN[0] <= s <= OPEN[1] for s in score], dtype=bool)
    assert found["open_pairs"] == is_open.sum()
    for name, rows in (("ece", np.ones(len(case), dtype=bool)), ("open_ece", is_open)):
        bins = naive(score[rows].astype(np.float64), match[rows], BINS)
        if rows.any():
            assert found[name] == pytest.approx(sum(n * abs(s - y) for n, s, y in bins) / rows.sum())
        else:
            assert found[name] is None


def test_expected_error_of_known_curve() -> None:
    score = np.repeat(np.array([0.1, 0.5, 0.9], dtype=np.float32), [60, 20, 20])
    match = np.concatenate([np.arange(60) < 6, np.arange(20) < 10, np.arange(20) < 12])
    assert expected_error(reliability(score, match)) == pytest.approx(0.2 * 0.3)


def test_calibration_of_true_and_distorted_probabilities() -> None:
    rng = np.random.default_rng(0)
    probability = rng.beta(0.5, 3, 200_000)
    match = rng.random(len(probability)) < probability
    errors = [calibration((probability**power).astype(np.float32), match)["ece"] for power in (1.0, 0.5, 2.0)]
    assert errors[0] < 0.005
    assert min(errors[1:]) > 0.05


def test_open_pairs_among_many_easy_ones() -> None:
    score = np.array([0.0] * 990 + [0.5] * 10, dtype=np.float32)
    match = np.arange(1000) >= 990
    found = calibration(score, match)
    assert found["ece"] == pytest.approx(0.005)  # nearly all pairs are easy
    assert found["open_ece"] == pytest.approx(0.5)  # and those that are not are all wrong
