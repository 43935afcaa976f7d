"""What may be unlabeled, and what other commands do with runs on a catalog without labels."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from branches.cli import main_embed, main_train
from ensemble.index.__main__ import main as index_main
from ensemble.pair_stages import features_name
from shared.pipeline.run import remembered
from tests.support.unlabeled import (
    LISTINGS,
    ONE_CORE,
    QUICK,
    SMALL,
    Call,
    Command,
    StageLines,
    metrics_of,
)

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


@pytest.mark.fault(2)
@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_catalog_of_one_or_two_listings(
    count: int, table: Path, tmp_path: Path, quiet_command: Callable[..., str]
) -> None:
    pd.read_csv(table, dtype=str)[:count].to_csv(tmp_path / "t.csv", index=False)
    quiet_command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "t.csv", *QUICK)
    assert metrics_of(tmp_path / "run")["matches"]["listings"] == count


@pytest.mark.fault(2)
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
    labeled = listings[:LISTINGS][["posting_id", "title", "label_group"]].copy()
    labeled.loc[:2, "label_group"] = ""
    labeled.to_csv(tmp_path / "labeled.csv", index=False)
    code, output, _ = command("ensemble.train", "--run", unlabeled, "--data", tmp_path / "labeled.csv")
    assert code == 0
    assert "ensemble/scorer" in output
    code, output, _ = command("ensemble", "--run", unlabeled, "--data", table)
    assert code == 0
    assert "Nobody has labeled these listings." in output
    assert "listings without a label were matched and not learned from" not in output  # as it was with the labels
    assert not {"split", "ensemble/scorer"} & metrics_of(unlabeled)["stages"].keys()


# --- labels that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.fault(4)
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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("--tune.max_matches=3", "tune.max_matches=50, not 3"),
        ("--scorer.models=1", "scorer.models=2, not 1"),
        ("--distilbert.epochs=2", "distilbert.epochs=0, not 2"),
    ],
)
def test_settings_that_a_bundle_was_not_made_with_are_refused(
    setting: str, said: str, bundle: Path, table: Path, tmp_path: Path, command: Command
) -> None:
    code, _, error = command("ensemble", "--run", tmp_path / "run", "--data", table, "--bundle", bundle, setting)
    assert (code, said in error, (tmp_path / "run" / "matches").exists()) == (2, True, False), error


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
