"""`python -m ensemble.match`: new catalogs matched with a finished run."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shared.pipeline.run import MANIFEST
from tests.support.run_files import content

Command = Callable[..., tuple[int, str, str]]
Groups = set[frozenset[str]]


def groups(folder: Path, rename: dict[str, str] | None = None) -> Groups:
    table = pd.read_parquet(folder / "groups.parquet")
    names = table.posting_id.map(rename) if rename else table.posting_id
    return {frozenset(group) for _, group in names.groupby(table.group_id)}


@pytest.mark.parametrize("prefix", ["", "other "])
def test_groups_do_not_depend_on_ids_and_order(
    prefix: str, data: Path, listings: pd.DataFrame, first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    run, _ = first
    before = content(run)
    table = listings.drop(columns="label_group").sample(frac=1, random_state=1)
    ids = table.posting_id.tolist()
    table["posting_id"] = [prefix + name for name in ids]
    table.to_csv(tmp_path / "new.csv", index=False)
    new = ["--data", tmp_path / "new.csv", f"--data.images={data / 'train_images'}", "--out", tmp_path / "out"]
    code, output, _ = command("ensemble.match", "--run", run, *new)
    assert code == 0
    assert f"written to {tmp_path / 'out'}" in output
    assert groups(tmp_path / "out", dict(zip(table.posting_id, ids, strict=True))) == groups(run / "matches")
    assert {path.name for path in (tmp_path / "out").iterdir()} | {MANIFEST} == set(content(run / "matches"))
    assert content(run) == before


def test_data_of_the_run_is_not_needed(
    data: Path, first: tuple[Path, str], command: Command, tmp_path: Path, without_data: None
) -> None:
    new = shutil.copytree(data.with_name("elsewhere"), tmp_path / "new")
    code, _, error = command("ensemble.match", "--run", first[0], "--data", new, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    for name in ("matches.parquet", "groups.parquet", "pairs.parquet", "submission.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (first[0] / "matches" / name).read_bytes()


@pytest.mark.parametrize("titles", [["Sabun cair 500 ml", "sabun cair 0.5 L", "tas ransel"], ["tas"], [""]])
def test_catalog_of_a_few_titles(
    titles: Sequence[str], first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    ids = [f"={row}" for row in range(len(titles))]
    pd.DataFrame({"posting_id": ids, "title": titles}).to_csv(tmp_path / "few.csv", index=False)
    arguments = ["--run", first[0], "--data", tmp_path / "few.csv", "--data.image_column=", "--data.phash_column="]
    code, _, error = command("ensemble.match", *arguments, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    assert pd.read_parquet(tmp_path / "out" / "groups.parquet").posting_id.tolist() == ids
    assert (tmp_path / "out" / "submission.csv").read_text().splitlines()[1].startswith("'=0,'=0")


@pytest.mark.parametrize("arguments", [["--data", "x"], ["--out", "x"]])
def test_data_without_out_is_refused(arguments: list[str], first: tuple[Path, str], command: Command) -> None:
    code, _, error = command("ensemble.match", "--run", first[0], *arguments)
    assert code == 2
    assert "go together" in error


def test_answers_about_the_own_catalog_are_refused_with_a_new_one(run: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("posting_id,title\na,tas\n")
    answers = tmp_path / "answers.jsonl"
    plain = ["--data", tmp_path / "new.csv", "--data.image_column=", "--data.phash_column=", "--out", tmp_path / "out"]
    code, _, error = command("ensemble.match", "--run", run, *plain, f"--review.answers={answers}")
    assert code == 2
    assert "name those about a new one with --answers FILE" in error
    values = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(values | {"review": {"answers": str(answers)}}))
    assert command("ensemble.match", "--run", run, *plain)[0] == 0


@pytest.mark.fault(20)
@pytest.mark.parametrize("file", ["ensemble/scorer/first.txt", "ensemble/decision/decision.json"])
def test_damaged_run_is_refused(file: str, run: Path, command: Command, tmp_path: Path) -> None:
    data = (run / file).read_bytes()
    (run / file).write_bytes(data[: len(data) // 2])
    (tmp_path / "new.csv").write_text("posting_id,title\na,tas\n")
    code, _, error = command("ensemble.match", "--run", run, "--data", tmp_path / "new.csv", "--out", tmp_path / "out")
    assert code == 3
    assert "checksum" in error
    assert not (tmp_path / "out").exists()


def test_process_without_a_finished_run_exits_with_3(python: Callable[..., Any], tmp_path: Path) -> None:
    done = python("ensemble.match", "--run", tmp_path / "none", "--data", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "out").exists()
