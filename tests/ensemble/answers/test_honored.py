"""A run and a match of a new catalog keep to people's answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ensemble.answers.answer import Answer, now, time_after
from ensemble.answers.file import AnswerFile
from ensemble.matcher import Matcher
from ensemble.sections import sections
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings
from tests.ensemble.conftest import ONE_CORE
from tests.support.answers import answer

Command = Callable[..., tuple[int, str, str]]


def frames(folder: Path) -> tuple[dict[str, str], pd.DataFrame, pd.DataFrame]:
    """Posting id → group id, the matches, and the scored pairs."""
    groups = pd.read_parquet(folder / "groups.parquet")
    names = dict(zip(groups["posting_id"], groups["group_id"], strict=True))
    return names, pd.read_parquet(folder / "matches.parquet"), pd.read_parquet(folder / "pairs.parquet")


def yes_and_no(run: Path) -> tuple[Answer, Answer, Answer]:
    """A yes to listings of different groups, a no to the surest match without copies, a yes to an unknown listing."""
    names, matches, _ = frames(run / "matches")
    catalog = load_catalog(run / "pools" / "catalog")
    surest = matches[matches["score"] < 1].iloc[0]
    in_group = {surest["posting_id"], surest["match"]}
    one, other = [p for p in sorted(names) if names[p] == p and not in_group & {p, names[p]}][:2]
    pairs = ((one, other, "yes"), (surest["posting_id"], surest["match"], "no"), ("nobody", one, "yes"))
    return tuple(answer(*pair, catalog=catalog) for pair in pairs)  # type: ignore[arg-type, return-value]


def assert_honored(folder: Path, yes: Answer, no: Answer) -> None:
    names, matches, _ = frames(folder)
    assert names[yes.left] == names[yes.right]
    assert matches.loc[(matches["posting_id"] == yes.left) & (matches["match"] == yes.right), "score"].tolist() == [1]
    assert names[no.left] != names[no.right]


@pytest.mark.fault(37)
def test_new_answers_repeat_the_matches_alone(
    run: Path, command: Command, stage_lines: Callable[..., dict[str, str]]
) -> None:
    before, (yes, no, unknown) = frames(run / "matches"), yes_and_no(run)
    AnswerFile(run / "answers.jsonl").append(yes, no, unknown)
    code, out, err = command("ensemble.match", "--run", run, *ONE_CORE)
    assert (code, err) == (0, "")
    lines = stage_lines(out)
    assert [name for name, text in lines.items() if text != "unchanged"] == ["matches"]
    left_out = f"1 left out: of listings that are not in the catalog, such as {unknown.pair[0]} and {unknown.pair[1]}"
    assert f"answers 2 ({left_out})" in lines["matches"]
    assert_honored(run / "matches", yes, no)
    pd.testing.assert_frame_equal(frames(run / "matches")[2], before[2])
    assert "unchanged" in stage_lines(command("ensemble.match", "--run", run, *ONE_CORE)[1])["matches"]
    AnswerFile(run / "answers.jsonl").undo("Ann")
    AnswerFile(run / "answers.jsonl").withdraw(yes)
    AnswerFile(run / "answers.jsonl").withdraw(no)
    command("ensemble.match", "--run", run, *ONE_CORE)
    for one, other in zip(frames(run / "matches")[1:], before[1:], strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_a_setting_names_another_file(run: Path, command: Command, tmp_path: Path) -> None:
    yes, no, _ = yes_and_no(run)
    elsewhere = tmp_path / "team.jsonl"
    code, _, err = command("ensemble.match", "--run", run, f"--review.answers={elsewhere}", *ONE_CORE)
    assert code == 2
    assert f"{elsewhere}: no such file" in err
    AnswerFile(elsewhere).append(yes, no)
    assert command("ensemble.match", "--run", run, f"--review.answers={elsewhere}", *ONE_CORE)[0] == 0
    assert_honored(run / "matches", yes, no)
    code, _, err = command("ensemble.match", "--run", run, "--answers", elsewhere, *ONE_CORE)
    assert (code, "--review.answers=FILE" in err) == (2, True)


@pytest.mark.fault(37)
def test_a_damaged_file_is_an_error_and_the_matches_stay(run: Path, command: Command) -> None:
    before = frames(run / "matches")
    AnswerFile(run / "answers.jsonl").append(*yes_and_no(run))
    content = (run / "answers.jsonl").read_bytes()
    (run / "answers.jsonl").write_bytes(content.replace(b'"yes"', b'"nay"'))
    code, _, err = command("ensemble.match", "--run", run, *ONE_CORE)
    assert code == 3
    assert "answers.jsonl, line 2: damaged" in err
    pd.testing.assert_frame_equal(frames(run / "matches")[1], before[1])


@pytest.mark.fault(37)
@pytest.mark.slow
def test_a_new_catalog_is_matched_by_answers(
    run: Path, data: Path, listings: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    yes, no, unknown = yes_and_no(run)
    file = tmp_path / "answers.jsonl"
    AnswerFile(file).append(yes, no, unknown)
    new = ("--data", data, "--out", tmp_path / "out", "--answers", file)
    code, out, err = command("ensemble.match", "--run", run, *new, *ONE_CORE)
    assert (code, err) == (0, "")
    assert "\nanswers 2 (1 left out: of listings that are not in the catalog" in f"\n{out}"
    assert_honored(tmp_path / "out", yes, no)
    settings = Settings({**remembered(run), "compute": {"threads": 1, "device": "cpu"}}, sections())
    matched = Matcher.of_run(RunFolder(run), settings).match(listings, data / "train_images", answers=file)
    pd.testing.assert_frame_equal(matched.matches, frames(tmp_path / "out")[1])
    assert matched.answers is not None
    assert len(matched.answers) == 2


def test_answers_of_a_run_as_tables(run: Path, command: Command, tmp_path: Path) -> None:
    yes, no, _ = yes_and_no(run)
    AnswerFile(run / "answers.jsonl").append(yes, no)
    table = tmp_path / "answers.csv"
    assert "2 answers written" in command("ensemble.answers", "export", "--run", run, "--out", table)[1]
    (run / "answers.jsonl").unlink()
    for expected in ("2 answers added", "0 answers added"):
        code, out, err = command("ensemble.answers", "import", "--run", run, "--from", table)
        assert (code, err) == (0, "")
        assert expected in out
    file = AnswerFile(run / "answers.jsonl")
    assert {each.identity for each in file.read().standing} == {yes.identity, no.identity}
    file.withdraw(no)
    out = command("ensemble.answers", "import", "--run", run, "--from", table)[1]
    assert "0 answers added" in out
    assert "2 were there or taken back" in out
    file.append(replace(no, at=now()))
    table.write_text(table.read_text().replace(",yes,", ",unsure,"))
    for changed in (True, False):
        out = command("ensemble.answers", "import", "--run", run, "--from", table)[1]
        assert ("0 answers added" in out, "1 changed" in out) == (True, changed)
    assert file.read().verdicts[yes.pair][yes.by].verdict == "unsure"
    file.append(replace(yes, at=time_after(file.read().latest_time)))
    assert "no contradictions" in command("ensemble.answers", "contradictions", "--run", run)[1]
    code, out, err = command("ensemble.answers", "labels", "--run", run, "--out", tmp_path / "table.csv")
    assert (code, err) == (0, "")
    assert "train on it: ./run_all.sh --data" in out
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(load_catalog(run / "pools" / "catalog"))
