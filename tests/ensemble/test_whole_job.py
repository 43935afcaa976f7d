import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ensemble.decision import tuning as tune
from ensemble.scorer import training as train
from shared.pipeline.pools import load_split
from shared.pipeline.run import MANIFEST, Run
from shared.pipeline.settings import Settings, remembered
from shared.schema import Catalog, Pairs

pytestmark = pytest.mark.slow
BRANCHES = ["image", "distilbert", "tfidf", "phash"]
POOLS = ["fold0", "fold1", "holdout", "catalog"]
ONE_CORE = ["--compute.threads=1", "--compute.device=cpu"]
FIGURES = {"pool_size", "row_f1", "row_precision", "row_recall", "pair_f1", "b3_f1"}

Command = Callable[..., tuple[int, str, str]]
Groups = set[frozenset[str]]


@pytest.fixture
def run(first: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(first[0], tmp_path / "run"))


def stage_lines(output: str) -> dict[str, str]:
    """Stage → what its line says."""
    lines = [line.split(maxsplit=1) for line in output.splitlines() if line and not line.startswith((" ", "run "))]
    return {name: text for name, text in lines if "/" in name or name in ("split", "matches")}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unlocked(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without the file that says which process holds the run."""
    return {name: data for name, data in files.items() if name != ".lock"}


def groups(folder: Path, rename: dict[str, str] | None = None) -> Groups:
    table = pd.read_parquet(folder / "groups.parquet")
    names = table.posting_id.map(rename) if rename else table.posting_id
    return {frozenset(part) for _, part in names.groupby(table.group_id)}


def listings_of(data: Path) -> pd.DataFrame:
    return pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)


# --- what a run leaves -----------------------------------------------------------------------------------------------


def test_every_stage_is_done_and_keeps_its_figures(first: tuple[Path, str]) -> None:
    run, output = first
    done = set(stage_lines(output))
    expected = {"catalog/train", "split", "matches", "ensemble/scorer", "ensemble/decision"}
    expected |= {
        f"{name}/{step}/{pool}" for name in BRANCHES for step in ("embeddings", "candidates") for pool in POOLS
    }
    expected |= {f"{name}/encoder/{of}" for name in ("image", "distilbert") for of in ("fold0", "fold1", "all")}
    expected |= {f"ensemble/{step}/{pool}" for step in ("candidates", "features") for pool in POOLS}
    expected |= {"ensemble/scores/holdout", "ensemble/scores/catalog", "ensemble/evaluation"}
    assert expected <= done
    assert {m["stage"] for m in Run(run).stages()} == done
    assert not [path for path in run.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".work", ".partial")]


def test_the_files_that_were_promised_are_there(first: tuple[Path, str], data: Path) -> None:
    run, _ = first
    ids = listings_of(data).posting_id.tolist()
    columns = {
        "matches.parquet": ["posting_id", "match", "score"],
        "groups.parquet": ["posting_id", "group_id"],
        "pairs.parquet": ["left", "right", "score"],
    }
    for name, expected in columns.items():
        table = pd.read_parquet(run / "matches" / name)
        assert list(table) == expected
        assert len(table) > 0
        assert set(table.drop(columns="score", errors="ignore").to_numpy().ravel()) <= set(ids)
    table = pd.read_parquet(run / "matches" / "groups.parquet")
    assert table.posting_id.tolist() == ids
    assert all(name == min(part) for name, part in table.posting_id.groupby(table.group_id))
    with (run / "matches" / "submission.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["posting_id"] for row in rows] == ids
    assert all(row["matches"].split()[0] == row["posting_id"] for row in rows)
    found = pd.read_parquet(run / "matches" / "matches.parquet").groupby("posting_id").match.agg(list).to_dict()
    assert {row["posting_id"]: row["matches"].split()[1:] for row in rows if " " in row["matches"]} == found


def test_metrics_hold_what_was_promised(first: tuple[Path, str]) -> None:
    run, output = first
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    split = load_split(Run(run))
    assert set(metrics["branches"]) == set(BRANCHES)
    for figures in (metrics["holdout"], *metrics["branches"].values()):
        assert set(figures) >= FIGURES
        assert figures["pool_size"] == (split.fold == -1).sum()
        assert all(0 <= figures[name] <= 1 for name in FIGURES - {"pool_size"})
    assert metrics["holdout"]["row_f1"] > 0.5
    assert metrics["out_of_fold"]["pool_sizes"] == [int((split.fold == fold).sum()) for fold in (0, 1)]
    assert set(metrics["stages"]) == set(stage_lines(output))
    assert all(cost["seconds"] >= 0 and cost["peak_memory_mb"] > 0 for cost in metrics["stages"].values())
    assert f"{metrics['holdout']['row_f1']:.3f}" in output
    out_of_fold = metrics["out_of_fold"]
    assert out_of_fold["pairs"] == sum(len(Pairs.load(run / f"ensemble/scorer/fold{k}.parquet")) for k in (0, 1))
    assert sum(part["pairs"] for part in out_of_fold["reliability"]) == out_of_fold["pairs"]
    assert f"off by {out_of_fold['ece']:.3f} over all {out_of_fold['pairs']:,} candidate pairs out of fold" in output


# --- run again -------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(run: Path, command: Command) -> None:
    before = content(run)
    code, output, _ = command("ensemble", "--run", run)
    assert code == 0
    assert {text for name, text in stage_lines(output).items()} == {"unchanged"}
    assert unlocked(content(run)) == unlocked(before)


def test_a_setting_redoes_what_depends_on_it_and_nothing_else(run: Path, command: Command) -> None:
    code, output, _ = command("ensemble", "--run", run, "--tfidf.words=2")
    assert code == 0
    lines = stage_lines(output)
    redone = {name for name, text in lines.items() if text != "unchanged"}
    assert redone == {name for name in lines if name.split("/")[0] in ("tfidf", "ensemble", "matches")}
    assert {f"tfidf/embeddings/{pool}" for pool in POOLS} <= redone
    code, output, _ = command("ensemble", "--run", run)
    assert code == 0
    assert set(stage_lines(output).values()) == {"unchanged"}  # the run remembers its settings


def test_a_command_does_its_own_part_again_when_forced(run: Path, command: Command) -> None:
    before = content(run)
    code, output, _ = command("ensemble.decision.tuning", "--run", run, "--force")
    assert code == 0
    assert [name for name, text in stage_lines(output).items() if text != "unchanged"] == ["ensemble/decision"]
    assert (run / "ensemble/decision/decision.json").read_bytes() == before["ensemble/decision/decision.json"]


# --- the holdout -----------------------------------------------------------------------------------------------------


def test_neither_scorer_nor_decision_sees_the_holdout(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(run / "ensemble")
    for folder in [*run.rglob("holdout"), *(path for path in run.rglob("catalog") if path.parent != run)]:
        shutil.rmtree(folder)
    held_out = load_split(Run(run)).fold == -1
    listings = Catalog.load(run / "catalog" / "train" / "catalog.parquet")

    class Relabeled:
        labels = np.where(held_out, "one group", listings.labels)

    for module in (train, tune):
        monkeypatch.setattr(module, "train_catalog", lambda _: Relabeled)
    again = Run(run, force=("ensemble/scorer", "ensemble/decision"), say=lambda line: None)
    settings = Settings(remembered(run))
    train.train_stage(again, settings)
    tune.tune_stage(again, settings)
    assert again.done == ["ensemble/scorer", "ensemble/decision"]
    for name in ("scorer/first.txt", "scorer/second.txt", "decision/decision.json", "decision/curves.json"):
        assert (run / "ensemble" / name).read_bytes() == before[name]


# --- other catalogs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "other "])
def test_the_same_listings_in_another_order_get_the_same_groups(
    prefix: str, data: Path, first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    run, _ = first
    before = content(run)
    table = listings_of(data).drop(columns="label_group").sample(frac=1, random_state=1)
    old = table.posting_id.tolist()
    table["posting_id"] = [prefix + name for name in old]
    table.to_csv(tmp_path / "new.csv", index=False)
    new = ["--data", tmp_path / "new.csv", f"--data.images={data / 'train_images'}", "--out", tmp_path / "out"]
    code, output, _ = command("ensemble.match", "--run", run, *new)
    assert code == 0
    assert f"written to {tmp_path / 'out'}" in output
    assert groups(tmp_path / "out", dict(zip(table.posting_id, old, strict=True))) == groups(run / "matches")
    assert {path.name for path in (tmp_path / "out").iterdir()} | {MANIFEST} == set(content(run / "matches"))
    assert unlocked(content(run)) == unlocked(before)


@pytest.mark.parametrize("titles", [["Sabun cair 500 ml", "sabun cair 0.5 L", "tas ransel"], ["tas"], [""]])
def test_a_catalog_of_a_few_titles_is_matched(
    titles: Sequence[str], first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    pd.DataFrame({"posting_id": [f"={at}" for at in range(len(titles))], "title": titles}).to_csv(
        tmp_path / "few.csv", index=False
    )
    arguments = ["--run", first[0], "--data", tmp_path / "few.csv", "--data.image_column=", "--data.phash_column="]
    code, _, error = command("ensemble.match", *arguments, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    found = pd.read_parquet(tmp_path / "out" / "groups.parquet")
    assert found.posting_id.tolist() == [f"={at}" for at in range(len(titles))]
    assert (tmp_path / "out" / "submission.csv").read_text().splitlines()[1].startswith("'=0,'=0")


def test_a_catalog_of_titles_alone_trains_and_is_matched(data: Path, command: Command, tmp_path: Path) -> None:
    listings_of(data)[["posting_id", "title", "label_group"]].to_csv(tmp_path / "titles.csv", index=False)
    run = tmp_path / "run"
    arguments = ["--data", tmp_path / "titles.csv", "--ensemble.branches=tfidf,phash", "--scorer.rounds=20", *ONE_CORE]
    code, output, error = command("ensemble", "--run", run, *arguments)
    assert (code, error) == (0, "")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["branches"]["phash"]["row_recall"] < metrics["branches"]["tfidf"]["row_recall"]
    by_rank, holdout = metrics["holdout"]["recall_by_rank"], metrics["holdout"]
    assert by_rank["union"][-1] == holdout["recall_of_candidates"]
    for name, figures in {"union": holdout, **metrics["branches"]}.items():
        assert figures["missed_never_proposed"] == pytest.approx(1 - by_rank[name][-1], abs=1e-12)
        lost = figures["missed_never_proposed"] + figures["missed_scored_wrong"]
        assert figures["pair_recall"] + lost == pytest.approx(1)
    assert 0 < metrics["out_of_fold"]["ece"] < metrics["out_of_fold"]["open_ece"] < 1
    assert "As a probability a score is off by" in output
    assert metrics["holdout"]["row_f1"] > 0.5


def test_the_listings_of_test_csv_are_what_a_run_matches(data: Path, command: Command, tmp_path: Path) -> None:
    listings = listings_of(data)[["posting_id", "title", "label_group"]]
    (tmp_path / "data").mkdir()
    listings[:90].to_csv(tmp_path / "data" / "train.csv", index=False)
    listings[90:].drop(columns="label_group").to_csv(tmp_path / "data" / "test.csv", index=False)
    arguments = ["--data", tmp_path / "data", "--ensemble.branches=tfidf,phash", "--scorer.rounds=20", *ONE_CORE]
    code, output, error = command("ensemble", "--run", tmp_path / "run", *arguments)
    assert (code, error) == (0, "")
    assert "Matched 30 listings" in output
    with (tmp_path / "run" / "matches" / "submission.csv").open(encoding="utf-8", newline="") as file:
        assert [row["posting_id"] for row in csv.DictReader(file)] == listings.posting_id[90:].tolist()


# --- what cannot be done ---------------------------------------------------------------------------------------------

GOOD = {"posting_id": ["a", "b", "c"], "title": ["tas", "tas", "kaos"], "label_group": ["1", "1", "2"]}


def write(folder: Path, **columns: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(GOOD | columns).to_csv(folder / "train.csv", index=False)
    return folder


def bad_inputs() -> dict[str, tuple[Callable[[Path], list[object]], str]]:
    """Name → arguments, and what the message says."""
    return {
        "missing column": (lambda at: ["--data", write(at / "d"), "--data.title_column=name"], "name"),
        "duplicate ids": (lambda at: ["--data", write(at / "d", posting_id=["a", "a", "b"])], "row 2"),
        "no label": (lambda at: ["--data", write(at / "d", label_group=["1", "", "2"])], "label_group"),
        "unknown setting": (lambda at: ["--tfidf.wrods=2"], "did you mean 'words'"),
        "unknown section": (lambda at: ["--tfdif.words=2"], "did you mean 'tfidf'"),
        "bad value": (lambda at: ["--scorer.rounds=many"], r"scorer.rounds='many'"),
        "unknown branch": (lambda at: ["--ensemble.branches=tfdif"], "did you mean 'tfidf'"),
        "no branch": (lambda at: ["--ensemble.branches="], "ensemble.branches"),
        "branch twice": (lambda at: ["--ensemble.branches=tfidf,tfidf"], "named twice"),
        "no such data": (lambda at: ["--data", at / "nowhere"], "no such file"),
        "no table": (lambda at: ["--data", at], "no train.csv"),
        "no pictures": (
            lambda at: ["--data", write(at / "d", image=["x.jpg"] * 3), f"--data.images={at}"],
            "none of the",
        ),
        "no such image folder": (lambda at: ["--data", write(at / "d"), "--data.images=pics"], "pics"),
        "stray argument": (lambda at: ["words"], "words"),
    }


@pytest.mark.parametrize("name", bad_inputs())
def test_bad_input_is_one_message_and_leaves_nothing(name: str, command: Command, tmp_path: Path) -> None:
    arguments, message = bad_inputs()[name]
    code, _, error = command("ensemble", "--run", tmp_path / "runs" / "bad", *arguments(tmp_path))
    assert code == 2
    assert message in error
    assert error.count("error:") == 1
    assert "Traceback" not in error
    assert not (tmp_path / "runs" / "bad").exists()


def test_a_command_ends_with_its_exit_code(python: Callable[..., Any], tmp_path: Path) -> None:
    done = python("ensemble.match", "--run", tmp_path / "none", "--data", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 3  # no finished run there
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--data", "x"], ["--out", "x"]])
def test_new_data_and_its_output_folder_go_together(
    arguments: list[str], first: tuple[Path, str], command: Command
) -> None:
    code, _, error = command("ensemble.match", "--run", first[0], *arguments)
    assert code == 2
    assert "go together" in error


@pytest.mark.parametrize("file", ["ensemble/scorer/first.txt", "ensemble/decision/decision.json"])
def test_a_damaged_run_is_refused_before_it_is_used(file: str, run: Path, command: Command, tmp_path: Path) -> None:
    data = (run / file).read_bytes()
    (run / file).write_bytes(data[: len(data) // 2])
    write(tmp_path / "new")
    code, _, error = command("ensemble.match", "--run", run, "--data", tmp_path / "new", "--out", tmp_path / "out")
    assert code == 3
    assert "checksum" in error
    assert not (tmp_path / "out").exists()
