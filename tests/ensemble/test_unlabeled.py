"""Runs on a catalog without labels: what they do, what they leave out, and what they say."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from branches.cli import main_embed, main_train
from ensemble.answers.__main__ import main as answers_main
from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from ensemble.cli import update_matches
from ensemble.evaluation.unlabeled import unlabeled_summary
from ensemble.index.__main__ import main as index_main
from ensemble.pair_stages import features_name
from ensemble.result_stages import MATCHES, load_scores
from ensemble.review.questions import FIRST, next_questions
from ensemble.sections import sections
from ensemble.unlabeled_stages import LEARNED, START, scores_before_answers
from shared.catalog.copies import content_digests
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings

Call = Callable[..., tuple[int, str]]
Command = Callable[..., tuple[int, str, str]]
StageLines = Callable[[str], dict[str, str]]
LISTINGS = 80
ONE_CORE = ["--compute.threads=1", "--compute.device=cpu"]
QUICK = ["--ensemble.branches=tfidf,phash", *ONE_CORE]
SMALL = ["--image.size=64", "--image.embed_size=64", *ONE_CORE]
STAGES = {
    "catalog/train",
    "pools/catalog",
    *(f"{branch}/{part}/catalog" for branch in ("tfidf", "phash") for part in ("embeddings", "candidates")),
    "ensemble/candidates/catalog",
    "ensemble/features/catalog",
    "ensemble/start",
    "ensemble/scores/catalog",
    "matches",
}


@pytest.fixture(scope="module")
def labels(listings: pd.DataFrame) -> dict[str, str]:
    """The label group of each listing, which the runs never see."""
    return dict(zip(listings["posting_id"], listings["label_group"], strict=True))


@pytest.fixture(scope="module")
def table(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Titles and hashes of some listings of the demo."""
    path = tmp_path_factory.mktemp("unlabeled") / "offers.csv"
    listings[:LISTINGS][["posting_id", "title", "image_phash"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def finished(table: Path, quiet_command: Callable[..., str]) -> tuple[Path, str]:
    """A finished run on them, and what it printed. Not to be written to."""
    run = table.parent / "run"
    return run, quiet_command("ensemble", "--run", run, "--data", table, *QUICK)


@pytest.fixture
def unlabeled(finished: tuple[Path, str], copy_run: Callable[[Path, Path], Path], tmp_path: Path) -> Path:
    """A copy of it."""
    return copy_run(finished[0], tmp_path / "run")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sigterm: None) -> Call:
    """Calls a function that is a command with some arguments; returns its exit code and what it said of errors."""

    def call(main: Callable[[], int], *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
        return main(), capsys.readouterr().err

    return call


def settings_of(run: Path) -> Settings:
    return Settings(remembered(run), sections())


def metrics_of(run: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def ask(run: Path, labels: dict[str, str], count: int) -> None:
    """Answer the first questions of a review by the labels."""
    folder = RunFolder(run)
    catalog, scores = load_catalog(folder.open("pools/catalog")), load_scores(folder.open(START))
    contents, ids, nothing = content_digests(catalog), catalog.ids, pd.Series([], dtype="int64").to_numpy()
    for question in next_questions(scores, nothing, nothing > 0, count, seed=0):
        left, right = scores.left[question.position], scores.right[question.position]
        verdict = "yes" if labels[ids[left]] == labels[ids[right]] else "no"
        ends = ids[left], ids[right], contents[left], contents[right]
        AnswerFile(run / FILE).append(Answer(*ends, verdict, "Ann", now(), question.asked, question.stratum))


# --- the run ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_without_labels_matches_and_measures_nothing(finished: tuple[Path, str], stage_lines: StageLines) -> None:
    run, output = finished
    assert set(stage_lines(output)) == STAGES
    names = {path.name for path in (run / "matches").iterdir()}
    assert names >= {"matches.parquet", "groups.parquet", "pairs.parquet", "submission.csv"}
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
    assert f"learned from {FIRST} answers on; these are 1." in output
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
    assert metrics["answers"] == {"yes": 0, "no": 1, "unsure": 0, "left_out": 0, "contradictions": 0, "learned_from": 0}


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
    assert run.manifest(MATCHES)["key"]["inputs"].keys() == {"pools/catalog", LEARNED}


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


def test_summary_names_the_training_once_there_are_enough_answers() -> None:
    answers = {"yes": 200, "no": 190, "unsure": 9, "left_out": 2, "contradictions": 1, "learned_from": 390}
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
    many = unlabeled_summary(RunFolder(Path("r")), metrics | {"answers": answers | {"yes": 225}})
    assert "python -m ensemble.answers labels --run r --out table.csv" in many


# --- catalogs of every kind ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "branches"),
    [
        (["posting_id", "title"], "tfidf,phash"),
        (["posting_id", "image", "image_phash"], "tfidf,phash"),  # no file of an image: hashes alone
        (["posting_id", "image"], "image,tfidf,phash"),
        (["posting_id", "image", "title"], "image,distilbert,tfidf,phash"),
    ],
    ids=["titles", "hashes", "images", "all branches"],
)
def test_catalog_of_every_kind_is_matched(
    columns: list[str],
    branches: str,
    listings: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    quiet_command: Callable[..., str],
) -> None:
    listings[:60][columns].to_csv(tmp_path / "t.csv", index=False)
    images = [] if "image_phash" in columns or "image" not in columns else [f"--data.images={data / 'train_images'}"]
    given = ["--data", tmp_path / "t.csv", f"--ensemble.branches={branches}", *images, *SMALL]
    quiet_command("ensemble", "--run", tmp_path / "run", *given)
    metrics = metrics_of(tmp_path / "run")
    assert metrics["matches"]["listings"] == 60
    assert metrics["matches"]["groups_of_two_or_more"] > 2
    trained = [path for path in (tmp_path / "run").glob("*/encoder/*") if path.is_dir()]
    assert {path.name for path in trained} <= {"all"}
    assert {path.parent.parent.name for path in trained} == {"image", "distilbert"} & set(branches.split(","))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_catalog_of_one_or_two_listings(
    count: int, table: Path, tmp_path: Path, quiet_command: Callable[..., str]
) -> None:
    pd.read_csv(table, dtype=str)[:count].to_csv(tmp_path / "t.csv", index=False)
    quiet_command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "t.csv", *QUICK)
    assert metrics_of(tmp_path / "run")["matches"]["listings"] == count


def test_empty_catalog_is_refused(tmp_path: Path, command: Command) -> None:
    (tmp_path / "t.csv").write_text("posting_id,title\n", encoding="utf-8")
    code, _, error = command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "t.csv", *QUICK)
    assert code == 2
    assert "no rows" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_test_table_is_what_is_matched(table: Path, tmp_path: Path, quiet_command: Callable[..., str]) -> None:
    rows = pd.read_csv(table, dtype=str)
    (tmp_path / "data").mkdir()
    rows[:50].to_csv(tmp_path / "data" / "train.csv", index=False)
    rows[50:].to_csv(tmp_path / "data" / "test.csv", index=False)
    quiet_command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "data", *QUICK)
    groups = pd.read_parquet(tmp_path / "run" / "matches" / "groups.parquet")
    assert groups["posting_id"].tolist() == rows["posting_id"][50:].tolist()


@pytest.mark.slow
def test_labels_turn_a_run_into_one_that_trains(
    unlabeled: Path, table: Path, listings: pd.DataFrame, tmp_path: Path, command: Command
) -> None:
    listings[:LISTINGS][["posting_id", "title", "label_group"]].to_csv(tmp_path / "labeled.csv", index=False)
    code, output, _ = command("ensemble.train", "--run", unlabeled, "--data", tmp_path / "labeled.csv")
    assert code == 0
    assert "ensemble/scorer" in output
    code, output, _ = command("ensemble", "--run", unlabeled, "--data", table)
    assert code == 0
    assert "Nobody has labeled these listings." in output
    assert not {"split", "ensemble/scorer"} & metrics_of(unlabeled)["stages"].keys()


# --- labels that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "rows", "options", "message"),
    [
        ("posting_id,title,label_group", "a,Mug,1\nb,Fan,", [], "or start without labels: --data.label_column="),
        ("posting_id,title,product", "a,Mug,x\nb,Fan,y", [], "--data.label_column=product, or --data.label_column= if"),
        ("posting_id,title", "a,Mug\nb,Fan", ["--data.label_column=klass"], "no column 'klass'"),
    ],
    ids=["some are missing", "another name", "named and missing"],
)
def test_labels_that_cannot_be_used_are_refused(
    header: str, rows: str, options: list[str], message: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\n{rows}\n", encoding="utf-8")
    code, _, error = command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "t.csv", *QUICK, *options)
    assert code == 2
    assert message in error


@pytest.mark.slow
def test_empty_label_column_and_none_at_all_are_the_same(
    finished: tuple[Path, str], table: Path, listings: pd.DataFrame, tmp_path: Path, quiet_command: Callable[..., str]
) -> None:
    rows = listings[:LISTINGS][["posting_id", "title", "image_phash", "label_group"]]
    rows.to_csv(tmp_path / "labeled.csv", index=False)
    rows.assign(label_group=" ").to_csv(tmp_path / "blank.csv", index=False)
    matches = (finished[0] / "matches" / "matches.parquet").read_bytes()
    for name, options in {"labeled": ["--data.label_column="], "blank": []}.items():
        quiet_command("ensemble", "--run", tmp_path / name, "--data", tmp_path / f"{name}.csv", *QUICK, *options)
        assert (tmp_path / name / "matches" / "matches.parquet").read_bytes() == matches


def test_one_of_several_catalogs_without_labels_is_refused(table: Path, tmp_path: Path, command: Command) -> None:
    code, _, error = command("ensemble", "--run", tmp_path / "run", "--data", f"demo,{table}", *QUICK)
    assert code == 2
    assert f"{table} has no labels" in error
    assert "in a run of its own" in error


@pytest.mark.slow
def test_pair_is_explained_without_a_scorer(finished: tuple[Path, str], command: Command) -> None:
    best = pd.read_parquet(finished[0] / "matches" / "matches.parquet").iloc[0]
    code, output, error = command("ensemble.explain", "--run", finished[0], best.posting_id, best.match)
    assert (code, error) == (0, "")
    assert f"score {best.score:.3f}, threshold " in output
    assert "\nThey match: " in output
    assert "log-odds" not in output
    code, _, error = command("ensemble.explain", "--run", finished[0], "--holdout", best.posting_id, best.match)
    assert code == 2
    assert "is a run without labels" in error


# --- commands that need labels ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["ensemble.train"],
        ["ensemble.tune"],
        ["ensemble.evaluate"],
        ["ensemble.search", "--trials", 1],
        ["ensemble.ablation"],
        ["ensemble.transfer"],
        ["ensemble.bundle", "--out", "OUT"],
        ["ensemble.match", "--data", "TABLE", "--out", "OUT"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_command_that_needs_labels_says_so(
    arguments: list[object], finished: tuple[Path, str], table: Path, tmp_path: Path, command: Command
) -> None:
    places = {"OUT": tmp_path / "out", "TABLE": table}
    name, *options = [places.get(str(argument), argument) for argument in arguments]
    code, _, error = command(str(name), "--run", finished[0], *options)
    assert code == 2
    assert f"{finished[0]} is a run without labels" in error
    assert f"python -m ensemble.review --run {finished[0]}" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_branch_is_not_trained_without_labels(finished: tuple[Path, str], call: Call) -> None:
    code, error = call(partial(main_train, "image"), "--run", finished[0])
    assert code == 2
    assert f"{finished[0]} is a run without labels" in error


@pytest.mark.slow
def test_branch_embeds_without_labels(finished: tuple[Path, str], call: Call) -> None:
    assert call(partial(main_embed, "tfidf"), "--run", finished[0]) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("options", [["add", "--data", "TABLE"], ["query", "--title", "mug"]], ids=["add", "query"])
def test_index_of_a_run_without_labels_is_refused(
    options: list[str], finished: tuple[Path, str], table: Path, tmp_path: Path, call: Call
) -> None:
    words = [str(table) if option == "TABLE" else option for option in options]
    code, error = call(index_main, *words, "--run", finished[0], "--index", tmp_path / "index")
    assert code == 2
    assert f"{finished[0]} is a run without labels" in error


# --- a bundle --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(
    first: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory, quiet_command: Callable[..., str]
) -> Path:
    """The bundle of the finished run with labels. Not to be written to."""
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    quiet_command("ensemble.bundle", "--run", first[0], "--out", out)
    return out


def test_bundle_starts_a_run_as_it_matches(
    bundle: Path,
    listings: pd.DataFrame,
    data: Path,
    tmp_path: Path,
    quiet_command: Callable[..., str],
    stage_lines: StageLines,
) -> None:
    listings[:60][["posting_id", "image", "title"]].to_csv(tmp_path / "t.csv", index=False)
    catalog = ["--data", tmp_path / "t.csv", f"--data.images={data / 'train_images'}"]
    quiet_command("ensemble.match", "--bundle", bundle, *catalog, "--out", tmp_path / "out", *ONE_CORE)
    run = tmp_path / "run"
    output = quiet_command("ensemble", "--run", run, "--bundle", bundle, *catalog, *ONE_CORE)
    for name in ("matches", "groups", "pairs"):
        matched = pd.read_parquet(run / "matches" / f"{name}.parquet")
        pd.testing.assert_frame_equal(matched, pd.read_parquet(tmp_path / "out" / f"{name}.parquet"))
    assert "The bundle was trained on other listings" in output
    assert "warning: these are careful" not in output
    assert remembered(run).keys() == {"data", "compute", "start"}  # and not what the bundle remembers
    again = stage_lines(quiet_command("ensemble", "--run", run))
    assert set(again.values()) == {"unchanged"}
    assert features_name("catalog") in again


def test_damaged_bundle_is_refused(
    bundle: Path, unlabeled: Path, tmp_path: Path, command: Command, copy_run: Callable[[Path, Path], Path]
) -> None:
    broken = copy_run(bundle, tmp_path / "broken")
    (broken / "ensemble" / "scorer" / "first.txt").write_text("", encoding="utf-8")
    code, _, error = command("ensemble", "--run", unlabeled, "--bundle", broken)
    assert code == 3
    assert "damaged" in error
    shutil.rmtree(broken)
    code, _, error = command("ensemble", "--run", unlabeled, "--bundle", broken)
    assert code == 3
    assert "is not a bundle" in error
    assert remembered(unlabeled).keys() == {"data", "ensemble", "compute"}


def test_labeled_catalog_starts_from_no_bundle(bundle: Path, run: Path, command: Command) -> None:
    code, _, error = command("ensemble", "--run", run, "--bundle", bundle)
    assert code == 2
    assert "the listings have labels" in error


def test_branch_does_not_replace_the_encoders_of_a_bundle(bundle: Path, unlabeled: Path, call: Call) -> None:
    settings = remembered(unlabeled) | {"start": {"bundle": str(bundle)}}
    (unlabeled / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    code, error = call(partial(main_embed, "image"), "--run", unlabeled)
    assert code == 2
    assert f"are those of {bundle}" in error
