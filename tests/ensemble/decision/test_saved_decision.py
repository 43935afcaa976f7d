import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ensemble.decision.curves import thresholds_to_try
from ensemble.decision.decision import RULES, Decision
from shared.errors import ArtifactError
from tests.support.scored_pairs import lists_of, scored


def close_scores() -> Iterator[np.float32]:
    """Scores of which each is the next float32 after the last, and some further apart."""
    score = np.float32(0.3)
    for _ in range(20):
        yield score
        score = np.nextafter(score, np.float32(1))
    yield from np.linspace(0.4, 0.9, 20, dtype=np.float32)


@pytest.mark.fault(13)
@pytest.mark.parametrize("rule", RULES)
def test_loaded_decision_selects_same_pairs(rule: str, tmp_path: Path) -> None:
    scores = list(close_scores())
    pairs = scored(2 * len(scores), {(2 * at, 2 * at + 1): float(score) for at, score in enumerate(scores)})
    for threshold in thresholds_to_try(np.array(scores), 100):
        decision = Decision(rule, float(threshold), 7)  # type: ignore[arg-type]
        decision.save(tmp_path / "decision.json")
        read = Decision.load(tmp_path / "decision.json")
        assert read == decision
        selected = read.apply(pairs).listing.tolist()
        assert selected == decision.apply(pairs).listing.tolist()
        if rule != "min2":  # each pair is alone, so that all other rules agree
            assert len(selected) == 2 * sum(float(score) >= threshold for score in scores)


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    "text",
    [
        '{"rule": "magic", "threshold": 0.5}',
        '{"threshold": 0.5}',
        "[]",
        "{",
        '{"rule": ["a"], "threshold": 0.5}',
        '{"rule": "min2", "threshold": 1.5}',
        '{"rule": "min2", "threshold": null}',
        '{"rule": "min2", "threshold": NaN}',
        '{"rule": "min2", "threshold": 0.5, "k": 3}',
        "7",
    ],
)
def test_load_refuses_a_foreign_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "decision.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"decision\.json"):
        Decision.load(tmp_path / "decision.json")


def test_threshold_for_pool_size() -> None:
    decision = Decision("threshold", 0.5, pool_size=4, prior_shift=1.0)
    assert decision.threshold_for(4, 1.0) == pytest.approx(0.5)
    assert decision.threshold_for(12, 1.0) == pytest.approx(0.75)  # odds of 1 become odds of 3
    assert decision.threshold_for(2, 1.0) == pytest.approx(1 / 3)
    assert decision.threshold_for(1, 1.0) == pytest.approx(0.2)
    assert decision.threshold_for(0, 1.0) == pytest.approx(1 / 9)  # no lower than for an eighth
    assert decision.threshold_for(32, 1.0) == decision.threshold_for(400, 1.0) == pytest.approx(8 / 9)
    fixed = decision.fix_size(12)
    assert fixed.threshold_for(4, 1.0) == fixed.threshold_for(12, 1.0) == decision.threshold_for(12, 1.0)
    edges = {(0, 1): 0.7, (2, 3): 0.4}
    assert lists_of(decision.apply(scored(4, edges))) == {0: [1], 1: [0], 2: [], 3: []}
    assert len(decision.apply(scored(12, edges))) == 0
    assert len(Decision("threshold", 0.5, pool_size=4).apply(scored(12, edges))) == 2
    assert len(Decision("threshold", 0.5, prior_shift=1.0).apply(scored(12, edges))) == 2  # nobody said for which pool


@pytest.mark.parametrize("prior_shift", [-0.1, 1.1, float("nan")])
def test_prior_shift_out_of_range(prior_shift: float) -> None:
    with pytest.raises(ValueError, match="prior_shift"):
        Decision("threshold", 0.5, prior_shift=prior_shift)


def test_decision_as_json(tmp_path: Path) -> None:
    decision = Decision("min2", 1 / 3, 9, forbid=("quantity", "color"), pool_size=70_000, prior_shift=0.35)
    decision.save(tmp_path / "d.json")
    about = {"rule": "min2", "threshold": 1 / 3, "max_matches": 9, "forbid": ["quantity", "color"], "pool_size": 70_000}
    about |= {"prior_shift": 0.35, "share": 1.0, "singles_shift": 0.0, "max_group": 1000, "guard": False, "least": 0.0}
    assert json.loads((tmp_path / "d.json").read_text()) == about
    assert Decision.load(tmp_path / "d.json") == decision


@pytest.mark.parametrize("older", [{}, {"veto": False, "pool_size": 400, "drift": 1.0}])
def test_load_refuses_an_older_decision(older: dict[str, object], tmp_path: Path) -> None:
    text = json.dumps({"rule": "average_link", "threshold": 0.25, "max_matches": 7} | older)
    (tmp_path / "d.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"d\.json is not a decision of this version: .* tuned again"):
        Decision.load(tmp_path / "d.json")
