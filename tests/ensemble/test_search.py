"""The search of the scorer's settings: proposals, log loss, and going on after a kill."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from ensemble import search
from ensemble.config import ScorerConfig
from ensemble.scorer.training import train_scorer
from ensemble.search import FOLDER, SPACE, Trial, log_loss_of, proposed
from shared.schema import ScoredPairs

QUICK = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=8", "--tune.thresholds=10", "--compute.threads=1",
         "--compute.device=cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Titles of 40 products in groups of two or three that share words."""
    rng = np.random.default_rng(1)
    words = [f"{a}{b}" for a in "bdgklmprst" for b in ("an", "ur", "ipa")]
    rows: list[tuple[str, ...]] = []
    for product in range(40):
        chosen = rng.choice(words, 3, replace=False)
        for _ in range(rng.integers(2, 4)):
            title = " ".join([*rng.permutation(chosen)[:2], rng.choice(words)])
            rows.append((f"id{len(rows)}", title, f"{int(rng.integers(1 << 62)):016x}", f"g{product}"))
    path = tmp_path_factory.mktemp("search") / "market.csv"
    pd.DataFrame(rows, columns=["posting_id", "title", "image_phash", "label_group"]).to_csv(path, index=False)
    return path


def run_search(run: Path, market: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["x", "--run", str(run), "--data", str(market), *QUICK, *arguments])
    return search.main()


def trials(run: Path) -> list[Trial]:
    return json.loads((run / FOLDER / "trials.json").read_text(encoding="utf-8"))["trials"]  # type: ignore[no-any-return]


def bowl(settings: dict[str, Any]) -> float:
    return float((np.log(settings["leaves"] / 40)) ** 2 + (settings["row_fraction"] - 0.9) ** 2)


def test_proposed_settings_are_valid_and_differ() -> None:
    start = ScorerConfig().model_dump()
    tried: list[Trial] = []
    for _ in range(15):
        settings = proposed(tried, start, 3)
        assert settings.keys() == SPACE.keys()
        ScorerConfig.model_validate(settings)
        tried.append({"settings": settings, "log_loss": bowl(settings)})
    assert tried[0]["settings"] == {name: start[name] for name in SPACE}
    assert len({json.dumps(trial["settings"]) for trial in tried}) == 15


def test_proposals_improve() -> None:
    tried: list[Trial] = []
    for _ in range(60):
        settings = proposed(tried, ScorerConfig().model_dump(), 0)
        tried.append({"settings": settings, "log_loss": bowl(settings)})
    losses = [trial["log_loss"] for trial in tried]
    assert np.median(losses[30:]) < np.median(losses[1:11]) / 2


def test_start_outside_the_space_is_clipped() -> None:
    settings = proposed([], ScorerConfig(leaves=500, learning_rate=0.001).model_dump(), 0)
    assert (settings["leaves"], settings["learning_rate"]) == (128, 0.01)


def test_log_loss_equals_its_definition() -> None:
    rows = np.array([0, 0, 1], dtype=np.int32), np.array([1, 2, 2], dtype=np.int32)
    scores = np.array([[0.8, 0.3, 0.0], [0.5, 1.0, 0.1]], dtype=np.float32)
    scored = [ScoredPairs(3, *rows, score) for score in scores]
    codes = [np.array([0, 0, 1]), np.array([0, 1, 0])]
    expected = -np.mean(np.log([0.8, 0.7, 1 - 1e-7, 0.5, 1 - 1e-7, 0.9]))
    assert log_loss_of(scored, codes) == pytest.approx(expected, rel=1e-4)


@pytest.mark.fault(17)
@pytest.mark.slow
def test_killed_search_ends_like_an_uninterrupted_one(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(tmp_path / "whole", market, monkeypatch, "--trials", "4") == 0
    output = capsys.readouterr().out
    whole = trials(tmp_path / "whole")
    assert len(whole) == 4
    assert f"{min(trial['log_loss'] for trial in whole):.5f}" in output
    assert "--config" in output
    best = yaml.safe_load((tmp_path / "whole" / FOLDER / "best.yaml").read_text())["scorer"]
    assert best == min(whole, key=lambda trial: trial["log_loss"])["settings"]

    trainings = iter(range(2))

    def train_twice(*arguments: Any) -> Any:
        if next(trainings, None) is None:
            raise KeyboardInterrupt
        return train_scorer(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(search, "train_scorer", train_twice)
        assert run_search(tmp_path / "parts", market, patch, "--trials", "4") == 130
    assert trials(tmp_path / "parts") == whole[:2]
    capsys.readouterr()
    assert run_search(tmp_path / "parts", market, monkeypatch, "--trials", "4") == 0
    assert trials(tmp_path / "parts") == whole
    assert capsys.readouterr().out.count("trial ") == 2
    assert run_search(tmp_path / "parts", market, monkeypatch, "--trials", "4") == 0
    assert "trial " not in capsys.readouterr().out
    assert run_search(tmp_path / "parts", market, monkeypatch, "--trials", "1", "--scorer.patience=3") == 0
    assert len(trials(tmp_path / "parts")) == 1  # another setting begins another search


@pytest.mark.slow
def test_bad_trial_count_and_damaged_trials_are_refused(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(tmp_path / "run", market, monkeypatch, "--trials", "0") == 2
    assert "--trials=0" in capsys.readouterr().err
    (tmp_path / "run" / FOLDER).mkdir(parents=True)
    for damaged in ("{", "{}", "[]"):
        (tmp_path / "run" / FOLDER / "trials.json").write_text(damaged, encoding="utf-8")
        assert run_search(tmp_path / "run", market, monkeypatch, "--trials", "1") == 3
        assert "trials.json is damaged" in capsys.readouterr().err
    assert run_search(tmp_path / "run", market, monkeypatch, "--trials", "1", "--force") == 0
    assert len(trials(tmp_path / "run")) == 1
