"""The command: which pools are measured, by which system, and what is written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ensemble import Matcher
from ensemble.decision.guard import expected_share
from ensemble.scorer.training import NothingToLearnError
from ensemble.sections import sections
from ensemble.transfer import study as study_module
from ensemble.transfer.measure import LabeledListings, hindsight, match_pool
from ensemble.transfer.study import FOLDER, OTHERS, OTHERS_LEGEND, table
from ensemble.transfer.variants import SIZES, TWICE, WHOLE, variants
from shared.demo import make_demo
from shared.metrics.matching import label_codes, row_f1
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import OverlayRun, RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.schema import Embeddings
from tests.support.catalogs import titled
from tests.support.run_files import age

QUICK = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=40", "--scorer.min_pairs_in_leaf=3",
         "--tune.thresholds=20", "--tune.resamples=100", "--compute.threads=1", "--compute.device=cpu"]  # fmt: skip
POOLS = [WHOLE, *TWICE, *SIZES]
Command = Callable[..., tuple[int, str, str]]
Quiet = Callable[..., str]


def measured(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What the command wrote: catalog and pool → metrics."""
    rows = json.loads((run / FOLDER / "transfer.json").read_text(encoding="utf-8"))["pools"]
    return {(row["catalog"], row["pool"]): row for row in rows}


def settings_of(run: Path) -> Settings:
    return Settings(remembered(run), sections())


@pytest.fixture(scope="module")
def one(data: Path, tmp_path_factory: pytest.TempPathFactory, quiet_command: Quiet) -> tuple[Path, str]:
    """A finished run of one catalog that was measured, and what the measurement printed. Not to be written to."""
    run = tmp_path_factory.mktemp("transfer") / "run"
    quiet_command("ensemble", "--run", run, "--data", data, *QUICK)
    return run, quiet_command("ensemble.transfer", "--run", run)


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory, quiet_command: Quiet) -> tuple[Path, str]:
    """The same of two catalogs."""
    other = tmp_path_factory.mktemp("catalogs") / "other"
    make_demo(other, 80, 5, 1)
    age(other)
    run = other.parent / "run"
    quiet_command("ensemble", "--run", run, "--data", f"{data},{other}", *QUICK)
    return run, quiet_command("ensemble.transfer", "--run", run)


# --- one catalog -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_listings_have_the_metrics_of_the_holdout(one: tuple[Path, str]) -> None:
    metrics = json.loads((one[0] / "metrics.json").read_text(encoding="utf-8"))
    row = measured(one[0])["", WHOLE]
    for name in ("pool_size", "row_f1", "row_precision", "row_recall", "pair_f1"):
        assert row[name] == metrics["holdout"][name]
    assert row["threshold"] == metrics["decision"]["holdout_threshold"]
    assert row["rule"] == metrics["decision"]["rule"]


@pytest.mark.slow
def test_pools_are_matched_as_catalogs_of_their_own(one: tuple[Path, str], data: Path) -> None:
    run, rows = RunFolder(one[0]), measured(one[0])
    matcher, holdout = Matcher.of_run(run, settings_of(one[0])), load_catalog(one[0] / "pools" / "holdout")
    whole = pd.read_csv(data / "train.csv", dtype=str).set_index("posting_id", drop=False)
    assert list(rows) == [("", name) for name in POOLS]
    for name, kept in variants(label_codes(holdout.labels), seed=0).items():
        frame = whole.loc[holdout.ids[kept].tolist()].drop(columns="label_group")
        result, codes = matcher.match(frame, images=data / "train_images"), label_codes(holdout.labels[kept])
        row = rows["", name]
        assert row["row_f1"] == pytest.approx(row_f1(result.match_rows, codes))
        assert row["pool_size"] == len(kept)
        wanted = matcher.decision.threshold_for(len(kept), expected_share(result.scored_pairs))
        assert row["threshold"] == matcher.decision.applied(wanted)
        assert row["with_match"] == np.mean([list(codes).count(code) > 1 for code in codes])


@pytest.mark.slow
def test_loss_is_what_the_best_threshold_would_gain(one: tuple[Path, str]) -> None:
    run, settings = RunFolder(one[0]), settings_of(one[0])
    matcher, holdout = Matcher(run, settings), LabeledListings.of_holdout(run, settings, "")
    codes = label_codes(holdout.catalog.labels)
    for name, kept in variants(codes, seed=0).items():
        row = measured(one[0])["", name]
        best = replace(matcher.decision, threshold=row["best_threshold"], prior_shift=0.0, singles_shift=0.0)
        scored = match_pool(matcher, holdout.take(kept)).scored_pairs
        assert row["at_best"] == pytest.approx(row_f1(best.apply(scored, holdout.catalog.ids[kept]), codes[kept]))
        assert row["loss"] == row["at_best"] - row["row_f1"] >= 0
        worse, _ = hindsight(replace(matcher.decision, threshold=0.0), (scored, codes[kept]), 3)
        assert worse <= row["at_best"] + 1e-9
        low, high = row["interval"]
        assert 0 <= low <= high <= 1
        assert low <= row["row_f1"] <= high


@pytest.mark.slow
def test_command_prints_table_and_legend(one: tuple[Path, str]) -> None:
    run, output = one
    printed = table(list(measured(run).values()))
    assert printed in output
    assert len(printed.splitlines()) == 2 + len(POOLS)
    assert "Each row is a pool of its own" in output
    assert OTHERS_LEGEND not in output
    assert str(run / FOLDER / "transfer.json") in output


@pytest.mark.slow
def test_command_refuses_other_settings_and_unfinished_runs(one: tuple[Path, str], command: Command) -> None:
    code, _, error = command("ensemble.transfer", "--run", one[0], "--tune.thresholds=5")
    assert code == 2
    assert "pass other settings to ./run_all.sh first" in error
    code, _, error = command("ensemble.transfer", "--run", one[0].parent / "none")
    assert code == 3
    assert "has no finished stage" in error


def test_table_is_markdown() -> None:
    row = {"catalog": "shop", "pool": WHOLE, "pool_size": 1200, "with_match": 0.25, "rule": "threshold",
           "threshold": 0.5, "row_precision": 0.9, "row_recall": 0.8, "row_f1": 0.85, "interval": (0.8, 0.9),
           "at_best": 0.875, "loss": 0.025}  # fmt: skip
    assert table([row]).splitlines() == [
        "| | listings | with a match | decision | precision | recall | row F1 | 90 % interval | at its best | loss |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| shop: all listings | 1,200 | 25.0% | threshold at 0.500 | 0.900 | 0.800 | 0.850 | 0.800–0.900 | 0.875 "
        "| 0.025 |",
    ]


def test_embeddings_of_trained_encoders_are_taken_from_the_run() -> None:
    vectors = Embeddings(np.eye(3, dtype=np.float32), np.ones(3, dtype=bool))
    listings = LabeledListings(titled(["a", "b", "c"]), {"image": vectors}).take(np.array([0, 2]))
    calls = []
    matcher = SimpleNamespace(
        branches=["tfidf", "image"],
        embed=lambda catalog, names: calls.append(names) or {name: f"{name} of {len(catalog)}" for name in names},
        match_embedded=lambda catalog, embeddings: embeddings,
    )
    embeddings: Any = match_pool(matcher, listings)
    assert calls == [["tfidf"]]
    assert list(embeddings) == ["tfidf", "image"]
    assert embeddings["tfidf"] == "tfidf of 2"
    assert embeddings["image"].vectors.tolist() == [[1, 0, 0], [0, 0, 1]]


# --- two catalogs ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_catalog_is_left_out_in_turn(two: tuple[Path, str]) -> None:
    run, output = RunFolder(two[0], say=print), two[1]
    sources, rows, settings = ("data", "other"), measured(two[0]), settings_of(two[0])
    assert list(rows) == [*((s, name) for s in sources for name in POOLS), *((s, OTHERS) for s in sources)]
    assert OTHERS_LEGEND in output
    for source, other in (sources, sources[::-1]):
        overlay = OverlayRun(two[0] / FOLDER / f"without-{source}", run, ["ensemble/scorer", "ensemble/decision"],
                             say=print)  # fmt: skip
        read = {name for stage in overlay.stages for name in (overlay.manifest(stage) or {})["key"]["inputs"]}
        assert {name for name in read if name.startswith("pools/")} == {f"pools/fold{k}-{other}" for k in (0, 1)}
        assert not [name for name in read if name.endswith(f"-{source}")]
        result = match_pool(Matcher(overlay, settings), LabeledListings.of_holdout(run, settings, source))
        expected = row_f1(result.match_rows, label_codes(result.catalog.labels))
        assert rows[source, OTHERS]["row_f1"] == pytest.approx(expected)
        assert rows[source, OTHERS]["threshold"] != rows[source, WHOLE]["threshold"]


@pytest.mark.slow
def test_stages_without_a_catalog_are_no_part_of_the_run(two: tuple[Path, str]) -> None:
    stages = [manifest["stage"] for manifest in RunFolder(two[0]).manifests()]
    assert len(stages) == len(set(stages))


@pytest.mark.slow
def test_second_call_trains_nothing_and_says_the_same(
    two: tuple[Path, str], copy_run: Callable[[Path, Path], Path], tmp_path: Path, command: Command
) -> None:
    run = copy_run(two[0], tmp_path / "run")
    before = (run / FOLDER / "transfer.json").read_bytes()
    (run / FOLDER / "transfer.json").unlink()
    code, output, _ = command("ensemble.transfer", "--run", run)
    assert code == 0
    assert (run / FOLDER / "transfer.json").read_bytes() == before
    assert output.count("unchanged") == 4


@pytest.mark.slow
def test_catalogs_that_teach_nothing_lose_their_row(
    two: tuple[Path, str],
    copy_run: Callable[[Path, Path], Path],
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained_without = study_module.trained_without

    def refuse(source: str, *arguments: Any, force: bool) -> OverlayRun:
        if source == "data":
            raise NothingToLearnError("all pairs are true")
        return trained_without(source, *arguments, force=force)

    monkeypatch.setattr(study_module, "trained_without", refuse)
    run = copy_run(two[0], tmp_path / "run")
    code, output, _ = command("ensemble.transfer", "--run", run)
    assert code == 0
    assert f"data: {OTHERS}: left out of the table: all pairs are true" in output
    assert set(measured(two[0])) - set(measured(run)) == {("data", OTHERS)}
