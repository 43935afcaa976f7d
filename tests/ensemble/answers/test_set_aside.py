"""Answers about listings of which some evidence is set aside: they are about the listings as they were read."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble.answers.answer import Answer
from ensemble.answers.file import FILE, AnswerFile
from ensemble.explain.explained_pool import ExplainedPool
from ensemble.review.review_answers import Reply
from ensemble.review.session import Session
from ensemble.review.subjects import of_run
from shared.pipeline.catalog_stages import load_original
from shared.pipeline.pools import catalog_pool, load_catalog
from shared.pipeline.run import RunFolder
from tests.support.answers import answer
from tests.support.unlabeled import QUICK, metrics_of, settings_of

SHARED = 12  # unlike listings with one hash, that of an icon, say

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def with_icon(
    listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, quiet_command: Callable[..., str]
) -> Path:
    """A finished run without labels on listings of which many share a hash. Not to be written to."""
    folder = tmp_path_factory.mktemp("icon")
    table = listings.drop_duplicates("label_group")[:40][["posting_id", "title", "image_phash"]].copy()
    table.loc[table.index[:SHARED], "image_phash"] = "f0e1d2c3b4a59687"
    table.to_csv(folder / "offers.csv", index=False)
    output = quiet_command("ensemble", "--run", folder / "run", "--data", folder / "offers.csv", *QUICK)
    assert "set aside" in output.replace("_", " ")
    return folder / "run"


@pytest.fixture
def answered(with_icon: Path, copy_run: Callable[[Path, Path], Path], tmp_path: Path) -> tuple[Path, Answer]:
    """A copy of the run, and its one answer: that two of the listings that share the hash are the same."""
    run = copy_run(with_icon, tmp_path / "run")
    original = load_original(RunFolder(run), "")
    said = answer(original.ids[0], original.ids[1], catalog=original)
    AnswerFile(run / FILE).append(said)
    return run, said


@pytest.mark.slow
def test_answer_as_read_counts_in_a_run(answered: tuple[Path, Answer], quiet_command: Callable[..., str]) -> None:
    run, said = answered
    assert "left out" not in quiet_command("ensemble", "--run", run)
    groups = pd.read_parquet(run / "matches" / "groups.parquet").set_index("posting_id")["group_id"]
    assert groups[said.left] == groups[said.right]
    assert (metrics_of(run)["answers"]["yes"], metrics_of(run)["answers"]["left_out"]) == (1, 0)
    pool = ExplainedPool.of_run(RunFolder(run), settings_of(run), catalog_pool())
    assert pool.result.answers is not None
    assert len(pool.result.answers) == 1


@pytest.mark.slow
def test_review_reads_and_writes_answers_as_read(answered: tuple[Path, Answer]) -> None:
    run, said = answered
    subject = of_run(RunFolder(run), settings_of(run), None)
    session = Session(subject)
    row = subject.catalog.ids.tolist().index
    pair = tuple(sorted((row(said.left), row(said.right))))
    assert session.answers.verdicts((pair[0], pair[1])) == {"Ann": "yes"}
    session.answers.record("Ben", [Reply((pair[0], pair[1]), "no")])
    latest = AnswerFile(run / FILE).read().standing[-1]
    assert {latest.left_content, latest.right_content} == {said.left_content, said.right_content}


@pytest.mark.slow
def test_tables_of_answers_are_about_listings_as_read(
    answered: tuple[Path, Answer], command: Command, tmp_path: Path
) -> None:
    run, said = answered
    command("ensemble.answers", "export", "--run", run, "--out", tmp_path / "answers.csv")
    (run / FILE).unlink()
    imported = command("ensemble.answers", "import", "--run", run, "--from", tmp_path / "answers.csv")[1]
    assert "1 answers added" in imported
    [added] = AnswerFile(run / FILE).read().standing
    assert (added.left_content, added.right_content) == (said.left_content, said.right_content)
    AnswerFile(run / FILE).append(Answer(said.left, said.right, *_contents(said), "no", "Ben", said.at))
    assert "1 contradictions" in command("ensemble.answers", "contradictions", "--run", run)[1]


def _contents(said: Answer) -> tuple[str, str]:
    return said.left_content, said.right_content


@pytest.mark.slow
def test_hash_of_an_icon_is_set_aside(with_icon: Path) -> None:
    run = RunFolder(with_icon)
    pool, original = load_catalog(run.open("pools/catalog")), load_original(run, "")
    assert original.has_phash.sum() - pool.has_phash.sum() == SHARED
