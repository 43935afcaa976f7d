"""`python -m ensemble.report`: the report of a finished run, and of the matches of another catalog."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ensemble.ablation.state import state_of_graph, state_of_run
from ensemble.evaluation.run_metrics import metrics_of
from ensemble.report import file
from ensemble.report.charts import short
from ensemble.report.file import key_of, write_report
from ensemble.report.page import METRIC_WORDS
from ensemble.report.pool import load_matches
from ensemble.report.run_content import answered, run_content
from ensemble.sections import sections
from ensemble.stages import run_graph
from ensemble.written_matches import REPORT
from shared.artifacts import file_digest
from shared.errors import ArtifactError
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings
from tests.support.run_files import content

Command = Callable[..., tuple[int, str, str]]


def run_and_settings(folder: Path) -> tuple[RunFolder, Settings]:
    return RunFolder(folder), Settings(remembered(folder), sections())


def test_numbers_are_those_of_metrics_json(first: tuple[Path, str]) -> None:
    metrics = json.loads((first[0] / "metrics.json").read_text())
    report = run_content(*run_and_settings(first[0]))
    (catalog,) = report.catalogs
    for name in METRIC_WORDS:
        assert catalog.quality.estimates[name].value == metrics["holdout"][name]
    point = catalog.curve.points[catalog.curve.chosen]
    assert (point.row_f1, point.pair_precision) == (metrics["holdout"]["row_f1"], metrics["holdout"]["pair_precision"])
    assert point.threshold == metrics["decision"]["holdout_threshold"]
    assert catalog.curve.catalog[catalog.curve.chosen].groups == catalog.group_count
    assert catalog.branches.union == pytest.approx(metrics["holdout"]["recall_of_candidates"])
    assert {each.name: each.alone for each in catalog.branches.branches} == metrics["branches"]
    assert sum(each.pairs for each in report.reliability) == metrics["out_of_fold"]["pairs"]
    seconds = {name: of_stage["seconds"] for name, of_stage in metrics["stages"].items()}
    assert {each.name: each.seconds for each in report.stages} == seconds
    page = (first[0] / REPORT).read_text()
    for name in METRIC_WORDS:
        assert f"<b>{short(metrics['holdout'][name])}</b>" in page


def test_reasons_sum_up_to_the_score(first: tuple[Path, str]) -> None:
    (catalog,) = run_content(*run_and_settings(first[0])).catalogs
    cards = [card for shown in catalog.galleries for card in shown.cards if card.reasons]
    assert len(cards) > 10
    for card in cards:
        log_odds = card.reasons.base + math.fsum(step.log_odds for step in card.reasons.steps)
        assert 1 / (1 + math.exp(-log_odds)) == pytest.approx(card.score, abs=1e-5)


def test_whole_job_names_the_report_last(first: tuple[Path, str]) -> None:
    assert first[1].strip().splitlines()[-1].endswith(str(first[0] / REPORT))


def test_report_is_written_again_only_if_something_changed(run: Path) -> None:
    path, inode = write_report(*run_and_settings(run)), (run / REPORT).stat().st_ino
    assert path == run / REPORT
    assert (run / REPORT).stat().st_ino == inode
    (run / "ensemble" / "ablation").mkdir(exist_ok=True)
    system = {"row_f1": 0.5, "difference": -0.25, "interval": [-0.5, -0.125]}
    systems = {"the whole system": system, "without <phash>": system}
    state = state_of_run(RunFolder(run))
    (run / "ensemble" / "ablation" / "ablation.json").write_text(json.dumps({"systems": systems, "state": state}))
    write_report(*run_and_settings(run))
    assert (run / REPORT).stat().st_ino != inode
    page = (run / REPORT).read_text()
    assert "without &lt;phash&gt;" in page
    assert "-0.500 to -0.125" in page


@pytest.mark.parametrize("changed", [{"ensemble/scorer": "other settings"}, {"catalog/train": "other listings"}, {}])
def test_ablation_of_an_earlier_state_is_named_and_left_out(run: Path, changed: dict[str, str]) -> None:
    (run / "ensemble" / "ablation").mkdir(exist_ok=True)
    systems = {"the whole system": {"row_f1": 0.5, "difference": -0.25, "interval": [-0.5, -0.125]}}
    content = {"systems": systems} | ({"state": state_of_run(RunFolder(run)) | changed} if changed else {})
    (run / "ensemble" / "ablation" / "ablation.json").write_text(json.dumps(content))
    page = write_report(*run_and_settings(run)).read_text()
    assert "the whole system" not in page
    assert "was measured in an earlier state of this run" in page


def test_state_of_a_run_is_that_of_its_graph(first: tuple[Path, str]) -> None:
    run, settings = run_and_settings(first[0])
    assert state_of_run(run) == state_of_graph(run, settings, run_graph(run, settings))
    changed = settings.changed({"scorer": {"rounds": 31}})
    differing = state_of_graph(run, changed, run_graph(run, changed)).items() ^ state_of_run(run).items()
    assert {name for name, _ in differing} == {"ensemble/scorer"}


def test_stages_that_a_run_no_longer_uses_are_not_counted(run: Path, command: Command) -> None:
    assert "image/encoder/all" in metrics_of(RunFolder(run))["stages"]
    assert command("ensemble", "--run", run, "--ensemble.branches=tfidf,phash")[0] == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert not [name for name in metrics["stages"] if name.startswith(("image", "distilbert"))]
    assert (run / "image" / "encoder" / "all").is_dir()
    report = run_content(*run_and_settings(run))
    assert [each.name for each in report.stages] == list(metrics["stages"])


def test_report_depends_on_the_code_of_its_explanations(
    first: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(*run_and_settings(first[0]))
    assert key == key_of(*run_and_settings(first[0]))
    changed = "title_differences.py"
    monkeypatch.setattr(file, "file_digest", lambda path: "changed" if path.name == changed else file_digest(path))
    assert key != key_of(*run_and_settings(first[0]))


def test_nothing_of_an_earlier_run_with_labels_is_reported(run: Path, command: Command) -> None:
    code, _, error = command("ensemble", "--run", run, "--data.label_column=", "--ensemble.branches=tfidf,phash")
    assert (code, error) == (0, "")
    page = (run / REPORT).read_text()
    assert "Quality is not known" in page
    assert "row F1, pool of" not in page
    metrics = json.loads((run / "metrics.json").read_text())
    report = run_content(*run_and_settings(run))
    assert [each.name for each in report.stages] == list(metrics["stages"])
    assert not any(card.reasons for shown in report.catalogs[0].galleries for card in shown.cards)


def test_decision_without_its_matches_is_refused(run: Path, command: Command) -> None:
    assert command("ensemble.tune", "--run", run, "--tune.rules=threshold", "--tune.objective=pair_f1")[0] == 0
    code, _, error = command("ensemble.report", "--run", run)
    assert code == 3
    assert "ensemble/decision changed after matches was made" in error
    assert f"./run_all.sh --run {run}" in error


def test_report_of_a_run_in_two_states_is_refused(run: Path, command: Command) -> None:
    assert command("ensemble.candidates", "--run", run, "--tfidf.neighbors=2")[0] == 0
    code, _, error = command("ensemble.report", "--run", run)
    assert code == 3
    assert "changed after" in error
    assert f"./run_all.sh --run {run}" in error


def test_another_seed_shows_other_samples_of_the_same_run(run: Path, command: Command) -> None:
    assert command("ensemble.report", "--run", run, "--compute.seed=7")[0] == 0
    code, _, error = command("ensemble.report", "--run", run, "--scorer.rounds=31")
    assert (code, "made with another scorer.rounds" in error) == (3, True)


def test_labels_are_not_put_on_test_listings_with_the_same_ids(
    first: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_content(*run_and_settings(first[0])).catalogs[0].has_labels
    monkeypatch.setattr("ensemble.report.run_content.original_stage", lambda run, source: "catalog/test")
    assert not run_content(*run_and_settings(first[0])).catalogs[0].has_labels


def test_report_without_labels_depends_on_what_answers_say(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"quality": "not known"}')
    key = key_of(RunFolder(tmp_path), Settings({}, sections()))
    assert key == key_of(RunFolder(tmp_path), Settings({}, sections()))
    (tmp_path / "metrics.json").write_text('{"quality": {"answers": 40}}')
    assert key != key_of(RunFolder(tmp_path), Settings({}, sections()))


def test_estimate_is_reported_with_the_matches_that_it_is_of(tmp_path: Path) -> None:
    interval = {"value": 0.9, "low": 0.8, "high": 1.0}
    quality = {"precision": interval, "recall": interval, "f1": interval, "answers": 40}
    matches = {"groups_of_two_or_more": 7, "answers": "40"}
    metrics = {"labels": False, "quality": quality, "matches": matches}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "matches").mkdir()
    for answers, is_known in (("40", True), ("41", False)):
        manifest = {
            "stage": "matches",
            "outputs": {},
            "key": {"inputs": {}, "settings": {}, "parameters": {}},
            "versions": {},
            "ended": 0.0,
            "metrics": matches | {"answers": answers},
        }
        (tmp_path / "matches" / "manifest.json").write_text(json.dumps(manifest))
        assert (answered(RunFolder(tmp_path)) is not None) == is_known


def test_command_changes_nothing_but_the_report(run: Path, command: Command) -> None:
    before = content(run)
    code, output, error = command("ensemble.report", "--run", run)
    assert (code, error, output.strip()) == (0, "", str(run / REPORT))
    assert content(run) == before


def test_report_names_no_folder_of_the_machine(first: tuple[Path, str]) -> None:
    assert str(first[0].parent) not in (first[0] / REPORT).read_text()


@pytest.mark.parametrize("evaluate", [False, True], ids=["without labels", "with labels"])
def test_report_of_matches_in_a_folder(
    evaluate: bool, data: Path, listings: pd.DataFrame, first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    listings.head(60).to_csv(tmp_path / "new.csv", index=False)
    new = ["--data", tmp_path / "new.csv", f"--data.images={data / 'train_images'}", "--out", tmp_path / "out"]
    assert command("ensemble.match", "--run", first[0], *new, *["--evaluate"] * evaluate)[0] == 0
    code, output, error = command("ensemble.report", "--out", tmp_path / "out")
    assert (code, error, output.strip()) == (0, "", str(tmp_path / "out" / REPORT))
    page = (tmp_path / "out" / REPORT).read_text()
    assert "<b>60 listings</b>" in page
    assert "data:image/jpeg" in page
    if evaluate:
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert f"<b>{short(metrics['row_f1'])}</b><span>row F1, pool of 60" in page
    else:
        assert "Quality is not known" in page
        assert not re.search("row F1, pool of|same product</span>", page)


def test_report_of_matches_without_images(first: tuple[Path, str], command: Command, tmp_path: Path) -> None:
    titles = ["Sabun cair 500 ml", "sabun cair 0.5 L", "tas ransel"]
    pd.DataFrame({"posting_id": list("abc"), "title": titles}).to_csv(tmp_path / "few.csv", index=False)
    plain = ["--data", tmp_path / "few.csv", "--data.image_column=", "--data.phash_column="]
    assert command("ensemble.match", "--run", first[0], *plain, "--out", tmp_path / "out")[0] == 0
    assert command("ensemble.report", "--out", tmp_path / "out")[0] == 0
    assert "data:image" not in (tmp_path / "out" / REPORT).read_text().partition("</head>")[2]
    assert command("ensemble.match", "--run", first[0], *plain, "--out", tmp_path / "out")[0] == 0
    assert not (tmp_path / "out" / REPORT).exists()  # it was of the earlier matches


def test_pool_of_the_files_is_the_pool_that_was_matched(first: tuple[Path, str]) -> None:
    pool = load_matches(first[0] / "matches")
    groups = pd.read_parquet(first[0] / "matches" / "groups.parquet")
    ids = pool.catalog.ids
    named = {frozenset(ids[pool.groups == group]) for group in set(pool.groups.tolist())}
    assert named == {frozenset(part) for _, part in groups.posting_id.groupby(groups.group_id)}
    assert pool.facts.threshold is not None


@pytest.mark.parametrize("name", ["matching.json", "listings.parquet", "pairs.parquet"])
def test_missing_or_damaged_files_are_named(name: str, run: Path) -> None:
    (run / "matches" / name).write_text("{}")
    with pytest.raises(ArtifactError, match="match the catalog again"):
        load_matches(run / "matches")
    (run / "matches" / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load_matches(run / "matches")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--run", "no/such/run"], 3, "no finished stage 'matches'"),
        (["--out", "no/such/folder"], 3, "no/such/folder has no listings.parquet"),
        (["--run", "a", "--out", "b"], 2, "cannot be used together"),
        (["--data", "x.csv"], 2, "name a run"),
    ],
)
def test_requests_that_are_refused(
    arguments: list[Any], code: int, words: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command("ensemble.report", *arguments)
    assert result[0] == code
    assert words in result[2]
