"""The commands one by one on titles alone, a catalog with a test table, and input that is refused."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.support.run_files import digest

Command = Callable[..., tuple[int, str, str]]
StageLines = Callable[[str], dict[str, str]]
FOLDS, OTHERS = ("fold0", "fold1"), ("holdout", "catalog")
QUICK = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=20", "--compute.threads=1", "--compute.device=cpu"]


def of_pools(pools: tuple[str, ...], *folders: str) -> set[str]:
    return {f"{folder}/{pool}" for folder in folders for pool in pools}


BRANCH_FOLDERS = ("tfidf/embeddings", "tfidf/candidates", "phash/embeddings", "phash/candidates")
# Each command in turn, and the stages that it does when those of the commands above are done.
STEPS = {
    "ensemble.train": of_pools(
        FOLDS, "pools", *BRANCH_FOLDERS, "ensemble/candidates", "ensemble/features", "ensemble/thinned"
    )
    | {"catalog/train", "split", "ensemble/scorer"},
    "ensemble.tune": {"ensemble/decision"},
    "ensemble.candidates": of_pools(OTHERS, "pools", *BRANCH_FOLDERS, "ensemble/candidates"),
    "ensemble.features": of_pools(OTHERS, "ensemble/features"),
    "ensemble.score": of_pools(OTHERS, "ensemble/scores"),
    "ensemble.match": {"matches"},
    "ensemble.evaluate": {"ensemble/evaluation"},
}


@dataclass(frozen=True)
class Steps:
    """A run that was made one command at a time, and what each of them printed."""

    run: Path
    outputs: dict[str, str]


@pytest.fixture(scope="module")
def steps(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, quiet_command: Callable[..., str]) -> Steps:
    folder = tmp_path_factory.mktemp("steps")
    listings[["posting_id", "title", "label_group"]].to_csv(folder / "titles.csv", index=False)
    first = ["--data", folder / "titles.csv", *QUICK]
    outputs: dict[str, str] = {}
    for name in STEPS:
        outputs[name] = quiet_command(name, "--run", folder / "run", *(() if outputs else first))
    return Steps(folder / "run", outputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_command_does_its_stages_and_those_before(name: str, steps: Steps, stage_lines: StageLines) -> None:
    lines = stage_lines(steps.outputs[name])
    assert {stage for stage, text in lines.items() if text != "unchanged"} == STEPS[name]


@pytest.mark.slow
def test_whole_job_after_all_commands_does_nothing(
    steps: Steps, quiet_command: Callable[..., str], stage_lines: StageLines
) -> None:
    lines = stage_lines(quiet_command("ensemble", "--run", steps.run))
    assert lines == dict.fromkeys(set().union(*STEPS.values()), "unchanged")


@pytest.mark.slow
def test_evaluate_brings_the_matches_up_to_date(
    steps: Steps, quiet_command: Callable[..., str], stage_lines: StageLines, tmp_path: Path
) -> None:
    run = shutil.copytree(steps.run, tmp_path / "run")
    shutil.rmtree(run / "matches")
    output = quiet_command("ensemble.evaluate", "--run", run)
    assert [name for name, text in stage_lines(output).items() if text != "unchanged"] == ["matches"]
    assert "Matched 120 listings" in output
    output = quiet_command("ensemble.evaluate", "--run", run, "--force")
    assert [name for name, text in stage_lines(output).items() if text != "unchanged"] == ["ensemble/evaluation"]


@pytest.mark.slow
def test_metrics_of_titles_alone(steps: Steps) -> None:
    metrics = json.loads((steps.run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["branches"]["phash"]["row_recall"] < metrics["branches"]["tfidf"]["row_recall"]
    by_rank, holdout = metrics["holdout"]["recall_by_rank"], metrics["holdout"]
    assert by_rank["union"][-1] == holdout["recall_of_candidates"]
    for name, values in {"union": holdout, **metrics["branches"]}.items():
        assert values["missed_never_proposed"] == pytest.approx(1 - by_rank[name][-1], abs=1e-12)
        lost = values["missed_never_proposed"] + values["missed_scored_wrong"]
        assert values["pair_recall"] + lost == pytest.approx(1)
    assert 0 < metrics["out_of_fold"]["ece"] < metrics["out_of_fold"]["open_ece"] < 1
    assert "Expected calibration error of the scores out of fold: " in steps.outputs["ensemble.evaluate"]
    assert metrics["holdout"]["row_f1"] > 0.5


@pytest.mark.slow
def test_test_table_and_force(
    listings: pd.DataFrame, command: Command, stage_lines: StageLines, tmp_path: Path
) -> None:
    table = listings[["posting_id", "title", "label_group"]]
    (tmp_path / "data").mkdir()
    table[:90].to_csv(tmp_path / "data" / "train.csv", index=False)
    table[90:].drop(columns="label_group").to_csv(tmp_path / "data" / "test.csv", index=False)
    code, output, error = command("ensemble", "--run", tmp_path / "run", "--data", tmp_path / "data", *QUICK)
    assert (code, error) == (0, "")
    assert "Matched 30 listings" in output
    assert {"catalog/train", "catalog/test"} < stage_lines(output).keys()
    with (tmp_path / "run" / "matches" / "submission.csv").open(encoding="utf-8", newline="") as file:
        assert [row["posting_id"] for row in csv.DictReader(file)] == listings.posting_id[90:].tolist()

    files = [path for path in (tmp_path / "run").rglob("*.*") if path.suffix in (".parquet", ".safetensors", ".csv")]
    before = {path: digest(path) for path in files}
    code, again, error = command("ensemble", "--run", tmp_path / "run", "--force")
    assert (code, error) == (0, "")
    assert stage_lines(again).keys() == stage_lines(output).keys()
    assert "unchanged" not in stage_lines(again).values()
    assert {path: digest(path) for path in files} == before


# --- bad input ----------------------------------------------------------------------------------------------------

GOOD = {"posting_id": ["a", "b", "c"], "title": ["tas", "tas", "kaos"], "label_group": ["1", "1", "2"]}


def write(folder: Path, **columns: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(GOOD | columns).to_csv(folder / "train.csv", index=False)
    return folder


def bad_inputs() -> dict[str, tuple[Callable[[Path], list[object]], str]]:
    """Name → arguments, and what the message says."""
    return {
        "missing column": (lambda folder: ["--data", write(folder / "d"), "--data.title_column=name"], "name"),
        "duplicate ids": (lambda folder: ["--data", write(folder / "d", posting_id=["a", "a", "b"])], "row 2"),
        "unknown setting": (lambda folder: ["--tfidf.wrods=2"], "did you mean 'words'"),
        "unknown section": (lambda folder: ["--tfdif.words=2"], "did you mean 'tfidf'"),
        "bad value": (lambda folder: ["--scorer.rounds=many"], r"scorer.rounds='many'"),
        "unknown branch": (lambda folder: ["--ensemble.branches=tfdif"], "did you mean 'tfidf'"),
        "no branch": (lambda folder: ["--ensemble.branches="], "ensemble.branches"),
        "branch twice": (lambda folder: ["--ensemble.branches=tfidf,tfidf"], "named twice"),
        "no such data": (lambda folder: ["--data", folder / "nowhere"], "no such file"),
        "no table": (lambda folder: ["--data", folder], "no train.csv"),
        "no images": (
            lambda folder: ["--data", write(folder / "d", image=["x.jpg"] * 3), f"--data.images={folder}"],
            "none of the",
        ),
        "no such image folder": (lambda folder: ["--data", write(folder / "d"), "--data.images=pics"], "pics"),
        "stray argument": (lambda folder: ["words"], "words"),
    }


@pytest.mark.fault(2)
@pytest.mark.parametrize("name", bad_inputs())
def test_bad_input_is_one_message_and_leaves_no_run(name: str, command: Command, tmp_path: Path) -> None:
    arguments, message = bad_inputs()[name]
    code, _, error = command("ensemble", "--run", tmp_path / "runs" / "bad", *arguments(tmp_path))
    assert code == 2
    assert message in error
    assert error.count("error:") == 1
    assert "Traceback" not in error
    assert not (tmp_path / "runs" / "bad").exists()
