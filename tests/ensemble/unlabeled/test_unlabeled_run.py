"""Runs on a catalog without labels, and what answers change in them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble.answers.__main__ import main as answers_main
from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from ensemble.cli import update_matches
from ensemble.evaluation.unlabeled import unlabeled_summary, unused_extras
from ensemble.result_stages import MATCHES, load_scores
from ensemble.review.questions import FIRST
from ensemble.sections import sections
from ensemble.unlabeled_stages import LEARNED, START, scores_before_answers
from shared.catalog.copies import content_digests
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from tests.support.unlabeled import LISTINGS, QUICK, STAGES, Call, StageLines, ask, metrics_of, settings_of

# --- the run ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_without_labels_matches_and_measures_nothing(finished: tuple[Path, str], stage_lines: StageLines) -> None:
    run, output = finished
    assert set(stage_lines(output)) == STAGES
    names = {path.name for path in (run / "matches").iterdir()}
    assert names >= {"matches.parquet", "groups.parquet", "pairs.parquet", "submission.csv"}
    assert "expected to have a match" not in output
    metrics = metrics_of(run)
    assert metrics["quality"] == "not known"
    assert not {"holdout", "branches", "out_of_fold"} & metrics.keys()
    assert metrics["matches"]["listings"] == LISTINGS
    assert 0 < metrics["matches"]["groups_of_two_or_more"] < LISTINGS / 2


@pytest.mark.slow
def test_summary_says_what_is_not_known_and_opens_the_review(finished: tuple[Path, str]) -> None:
    run, output = finished
    summary = output[output.index("Matched ") :]
    assert "Nobody has labeled these listings.\nHow good the matches are is not known.\nwarning: " in summary
    assert f"python -m ensemble.review --run {run}" in summary
    assert "F1" not in summary
    assert "ensemble.answers labels" not in summary


@pytest.mark.slow
def test_second_run_changes_nothing(
    finished: tuple[Path, str], quiet_command: Callable[..., str], stage_lines: StageLines
) -> None:
    run, output = finished
    again = quiet_command("ensemble", "--run", run)
    assert stage_lines(again) == dict.fromkeys(STAGES, "unchanged")
    assert again[again.index("Matched ") :] == output[output.index("Matched ") :]


@pytest.mark.slow
def test_matches_are_far_better_than_none_and_an_image_is_no_label(
    finished: tuple[Path, str], labels: dict[str, str]
) -> None:
    groups = pd.read_parquet(finished[0] / "matches" / "groups.parquet")
    label = groups["posting_id"].map(labels)
    together = label.groupby(groups["group_id"]).nunique()
    sizes = groups.groupby("group_id").size()
    pure = together[sizes > 1] == 1
    assert pure.mean() > 0.7
    assert (sizes > 1).sum() > 5


@pytest.mark.slow
@pytest.mark.parametrize("command_of_step", ["candidates", "features", "score", "match"])
def test_commands_up_to_the_matches_work(
    command_of_step: str, finished: tuple[Path, str], quiet_command: Callable[..., str], stage_lines: StageLines
) -> None:
    lines = stage_lines(quiet_command(f"ensemble.{command_of_step}", "--run", finished[0]))
    assert set(lines.values()) == {"unchanged"}


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_answer_repeats_two_stages_only(
    unlabeled: Path, labels: dict[str, str], quiet_command: Callable[..., str], stage_lines: StageLines
) -> None:
    first = stage_lines(quiet_command("ensemble", "--run", unlabeled))  # which lies elsewhere than the original
    assert {name for name, text in first.items() if text != "unchanged"} <= {LEARNED, MATCHES}
    ask(unlabeled, labels, 1)
    output = quiet_command("ensemble", "--run", unlabeled)
    lines = stage_lines(output)
    assert {name for name, text in lines.items() if text != "unchanged"} <= {LEARNED, MATCHES}
    assert lines[LEARNED].startswith("answers learned from 0 ")
    assert f"learned from {FIRST} answers about candidate pairs on; these are 1." in output
    assert set(stage_lines(quiet_command("ensemble", "--run", unlabeled)).values()) == {"unchanged"}


@pytest.mark.slow
def test_enough_answers_teach_scores_and_say_how_good_the_matches_are(
    unlabeled: Path, labels: dict[str, str], quiet_command: Callable[..., str], stage_lines: StageLines
) -> None:
    start = load_scores(unlabeled / LEARNED).score
    ask(unlabeled, labels, FIRST)
    output = quiet_command("ensemble", "--run", unlabeled)
    assert stage_lines(output)[LEARNED].startswith(f"answers learned from {FIRST} ")
    assert (load_scores(unlabeled / LEARNED).score != start).any()
    assert (load_scores(unlabeled / START).score == start).all()
    quality = metrics_of(unlabeled)["quality"]
    for name in ("precision", "recall", "f1"):
        assert 0 <= quality[name]["low"] < quality[name]["value"] < quality[name]["high"] <= 1
    assert quality["answers"] == FIRST
    assert f"estimated from the {FIRST} answers that were drawn at random, with 90% intervals: precision " in output
    assert "With so few, the intervals hold less often than that." in output
    assert "warning" not in output


@pytest.mark.slow
def test_one_answer_is_kept_to_and_says_nothing_about_the_quality(
    unlabeled: Path, quiet_command: Callable[..., str]
) -> None:
    first = pd.read_parquet(unlabeled / "matches" / "matches.parquet").iloc[0]
    catalog = load_catalog(RunFolder(unlabeled).open("pools/catalog"))
    content = dict(zip(catalog.ids, content_digests(catalog), strict=True))
    ends = first["posting_id"], first["match"], content[first["posting_id"]], content[first["match"]]
    AnswerFile(unlabeled / FILE).append(Answer(*ends, "no", "Ann", now(), "stratified", 0))
    quiet_command("ensemble", "--run", unlabeled)
    matches = pd.read_parquet(unlabeled / "matches" / "matches.parquet")
    assert not ((matches["posting_id"] == ends[0]) & (matches["match"] == ends[1])).any()
    metrics = metrics_of(unlabeled)
    assert metrics["quality"] == "not known"
    counts = {"yes": 0, "no": 1, "unsure": 0, "left_out": 0, "contradictions": 0}
    assert metrics["answers"] == counts | {"about_candidates": 1, "learned_from": 0}


@pytest.mark.slow
def test_labels_made_of_answers_train_a_run(
    unlabeled: Path, labels: dict[str, str], tmp_path: Path, quiet_command: Callable[..., str], call: Call
) -> None:
    assert call(answers_main, "labels", "--run", unlabeled, "--out", tmp_path / "none.csv")[0] == 2
    catalog = load_catalog(RunFolder(unlabeled).open("pools/catalog"))
    content, of_group = content_digests(catalog), dict[str, int]()
    answers = []
    for row, posting_id in enumerate(catalog.ids):
        other = of_group.setdefault(labels[posting_id], row)
        if other != row:
            ends = catalog.ids[other], posting_id, content[other], content[row]
            answers.append(Answer(*ends, "yes", "Ann", now()))
    AnswerFile(unlabeled / FILE).append(*answers)
    assert call(answers_main, "labels", "--run", unlabeled, "--out", tmp_path / "table.csv")[0] == 0
    table = pd.read_csv(tmp_path / "table.csv", dtype=str)
    assert table["label_group"].notna().all()
    together = table.groupby("label_group")["posting_id"].agg(lambda ids: len({labels[each] for each in ids}))
    assert (together == 1).all()
    small = ["--scorer.rounds=20", "--tune.thresholds=10"]
    output = quiet_command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "table.csv", *QUICK, *small)
    assert "Evaluated on" in output


@pytest.mark.slow
def test_matches_are_brought_up_to_date_without_the_data(unlabeled: Path, labels: dict[str, str], table: Path) -> None:
    lines: list[str] = []
    run = RunFolder(unlabeled, say=lines.append)
    ask(unlabeled, labels, FIRST)
    update_matches(run, settings_of(unlabeled))
    assert [line.split()[0] for line in lines] == [LEARNED, MATCHES]
    assert scores_before_answers(run, "catalog") == START
    assert run.manifest(MATCHES)["key"]["inputs"].keys() == {"catalog/train", "pools/catalog", LEARNED}


@pytest.mark.slow
def test_withdrawn_answers_teach_nothing(
    unlabeled: Path, labels: dict[str, str], quiet_command: Callable[..., str]
) -> None:
    before = (unlabeled / "matches" / "matches.parquet").read_bytes()
    ask(unlabeled, labels, FIRST)
    quiet_command("ensemble", "--run", unlabeled)
    file = AnswerFile(unlabeled / FILE)
    for answer in file.read().standing:
        file.withdraw(answer)
    quiet_command("ensemble", "--run", unlabeled)
    assert metrics_of(unlabeled)["quality"] == "not known"
    assert (unlabeled / "matches" / "matches.parquet").read_bytes() == before


def test_data_to_learn_from_is_named_where_nothing_learns(tmp_path: Path) -> None:
    values = {"distilbert": {"extra": [str(tmp_path)]}, "image": {"extra": [str(tmp_path)]}}
    line = "warning: image.extra, distilbert.extra not used: a run without labels trains no encoder"
    assert unused_extras(Settings(values, sections())) == line
    assert unused_extras(Settings(values | {"ensemble": {"branches": ["tfidf"]}}, sections())) == ""


def test_summary_names_the_training_once_there_are_enough_answers() -> None:
    answers = {"yes": 200, "no": 190, "unsure": 9, "left_out": 2, "contradictions": 1}
    answers |= {"about_candidates": 390, "learned_from": 390}
    metrics = {
        "matches": {"listings": 900, "groups_of_two_or_more": 100, "listings_without_a_match": 500},
        "answers": answers,
        "quality": "not known",
        "bundle": False,
    }
    few = unlabeled_summary(RunFolder(Path("r")), metrics)
    assert "Answers: 200 yes, 190 no, 9 unsure, 2 left out; " in few
    assert "warning: 1 answers contradict others" in few
    assert "ensemble.answers labels" not in few
    none = metrics | {"answers": answers | {"about_candidates": 24, "learned_from": 0}}
    expected = f"learned from {FIRST} answers about candidate pairs on; these are 24."
    assert expected in unlabeled_summary(RunFolder(Path("r")), none)
    many = unlabeled_summary(RunFolder(Path("r")), metrics | {"answers": answers | {"yes": 225}})
    assert "python -m ensemble.answers labels --run r --out table.csv" in many
