import numpy as np
import pytest

from ensemble.ablation import paired_bootstrap as comparison
from ensemble.ablation.paired_bootstrap import BLOCK, RESAMPLES, SystemResult, compare, intervals, table


def judged(f1: list[float], start: int = 0, never: float = 0.1, wrong: float = 0.2) -> SystemResult:
    figures = {
        "pool_size": len(f1),
        "row_f1": float(np.mean(f1)),
        "at_best": float(np.mean(f1)) + 0.01,
        "missed_never_proposed": never,
        "missed_scored_wrong": wrong,
    }
    return SystemResult(figures, np.array([f"l{start + at}" for at in range(len(f1))], dtype=object), np.array(f1))


def test_intervals_equal_a_naive_bootstrap() -> None:
    rng = np.random.default_rng(3)
    group = rng.integers(0, 7, 30) * 5
    difference = rng.normal(0.1, 0.3, (2, 30))
    found = intervals(difference, group, seed=4)
    names = sorted(set(group.tolist()))
    again = np.random.default_rng(4)
    means: list[list[float]] = [[], []]
    for _ in range(RESAMPLES // BLOCK):
        for times in again.multinomial(len(names), [1 / len(names)] * len(names), size=BLOCK):
            rows = [at for name, count in zip(names, times, strict=True) for _ in range(count)
                    for at in np.flatnonzero(group == name)]  # fmt: skip
            for system in (0, 1):
                means[system].append(float(np.mean([difference[system, at] for at in rows])))
    for system in (0, 1):
        assert found[system] == pytest.approx(np.quantile(means[system], [0.025, 0.975]))


def test_interval_of_independent_listings_is_normal() -> None:
    difference = np.random.default_rng(0).normal(0.02, 0.2, (1, 900))
    low, high = intervals(difference, np.arange(900), seed=0)[0]
    error = difference.std() / 30
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.07)
    assert (high + low) / 2 == pytest.approx(difference.mean(), abs=0.1 * error)


def test_listings_of_a_group_widen_the_interval() -> None:
    difference = np.repeat(np.random.default_rng(0).normal(0, 0.2, 100), 9)[None]
    apart, together = (
        np.ptp(intervals(difference, group, 0)) for group in (np.arange(900), np.repeat(np.arange(100), 9))
    )
    assert together == pytest.approx(3 * apart, rel=0.15)


def test_listing_judged_twice_counts_once() -> None:
    difference = np.random.default_rng(0).normal(0, 0.2, (1, 400))
    once = intervals(difference, np.arange(400), 0)
    twice = intervals(np.tile(difference, 2), np.tile(np.arange(400), 2), 0)
    assert twice == pytest.approx(once)


def test_compare_pairs_by_listing() -> None:
    first = [judged([1.0, 0.5]), judged([0.2, 0.4, 0.6], start=2)]
    other = [judged([0.8, 0.5]), judged([0.2, 0.4, 0.9], start=2)]
    label = {f"l{at}": at for at in range(5)}
    found = compare({"a": first, "b": other}, label, seed=1)
    assert found["a"]["row_f1"] == pytest.approx(2.7 / 5)
    assert found["a"]["difference"] == 0
    assert found["a"]["interval"] == [0, 0]
    assert found["b"]["difference"] == pytest.approx(0.02)
    assert found["b"]["sd"] == pytest.approx(np.std([0.65, 0.5], ddof=1))
    expected = intervals(np.array([[-0.2, 0, 0, 0, 0.3]]), np.arange(5), 1)[0]
    assert found["b"]["interval"] == pytest.approx(expected.tolist())
    assert [half["pool_size"] for half in found["b"]["fits"]] == [2, 3]


def test_compare_draws_label_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(comparison, "intervals", lambda d, group, seed: seen.append(group) or np.zeros((len(d), 2)))
    found = [judged([1.0, 0.5]), judged([0.2, 0.4], start=2)]
    compare({"a": found}, {"l0": 4, "l1": 4, "l2": 9, "l3": 5}, seed=1)
    assert seen[0].tolist() == [4, 4, 9, 5]


def test_table_is_markdown() -> None:
    label = {f"l{at}": at // 2 for at in range(5)}
    first = [judged([1.0, 0.5]), judged([0.2, 0.4, 0.6], start=2)]
    worse = [judged([0.9, 0.4], never=0.3), judged([0.1, 0.3, 0.5], start=2, wrong=0.4)]
    lines = table(compare({"whole": first, "part": worse}, label, seed=1)).splitlines()
    assert lines == [
        "| | pool | row F1 | ± | at its best | never proposed | decided wrong | difference | 95 % interval |",
        "|---|---|---|---|---|---|---|---|---|",
        "| whole | 2–3 | 0.540 | 0.247 | 0.585 | 10.0% | 20.0% |  |  |",
        "| part | 2–3 | 0.440 | 0.247 | 0.485 | 20.0% | 30.0% | -0.100 | -0.100 to -0.100 |",
    ]
