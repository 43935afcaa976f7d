"""`python -m ensemble.explain` on a finished run."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from shared.catalog.copies import content_digests
from shared.pipeline.pools import load_catalog
from tests.support.run_files import content

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(first: tuple[Path, str], command: Command) -> Command:
    """The command on the finished run; returns its exit code and what it wrote to the two streams."""
    return lambda *arguments: command("ensemble.explain", "--run", first[0], "--compute.threads=1", *arguments)


def best_pair(run: Path) -> tuple[str, str, float]:
    pairs = pd.read_parquet(run / "matches" / "pairs.parquet")
    best = pairs[pairs.score < 1].sort_values("score").iloc[-1]
    return best.left, best.right, best.score


def test_pair_of_a_run(first: tuple[Path, str], call: Command, listings: pd.DataFrame) -> None:
    left, right, score = best_pair(first[0])
    before = content(first[0])
    code, output, error = call(left, right)
    assert (code, error) == (0, "")
    assert content(first[0]) == before
    assert f"score {score:.3f}, threshold " in output
    assert "\nThey match: " in output
    assert output.count(f"score {score:.3f}") == 2  # the second is the sum of the waterfall
    images = listings.set_index("posting_id").image
    assert all(f"  image  {images[name] or 'none'}\n" in output for name in (left, right))
    assert "\x1b" not in output


def test_pair_that_no_branch_proposed(first: tuple[Path, str], call: Command, listings: pd.DataFrame) -> None:
    pairs = pd.read_parquet(first[0] / "matches" / "pairs.parquet")
    first_id = listings.posting_id[0]
    proposed = {*pairs.left[pairs.right == first_id], *pairs.right[pairs.left == first_id], first_id}
    other = next(name for name in listings.posting_id if name not in proposed)
    code, output, _ = call(first_id, other)
    assert code == 0
    assert "no score, threshold " in output
    assert "never proposed: it is not among the 50 nearest of either listing by any branch.\n  image " in output


def test_answers_decide_before_scores(run: Path, command: Command) -> None:
    left, right, score = best_pair(run)
    catalog = load_catalog(run / "pools" / "catalog")
    contents = dict(zip(catalog.ids, content_digests(catalog), strict=True))
    ends = left, right, contents[left], contents[right]
    AnswerFile(run / FILE).append(Answer(*ends, "no", "Ann", now(), "chosen", None))
    code, output, _ = command("ensemble.explain", "--run", run, left, right)
    assert code == 0
    assert f"score {score:.3f}, threshold " in output
    assert "\nThey do not match: people answered that they are different products." in output


def test_candidates_of_one_listing(first: tuple[Path, str], call: Command) -> None:
    left, right, score = best_pair(first[0])
    code, output, _ = call(left)
    assert code == 0
    assert f"match     {score:.3f}  {right}  " in output
    assert output.count("\nno match") == 10


def test_listing_that_was_held_out(first: tuple[Path, str], call: Command, listings: pd.DataFrame) -> None:
    held_out = pd.read_parquet(first[0] / "pools" / "holdout" / "catalog.parquet").posting_id.tolist()
    code, output, _ = call("--holdout", *held_out[:2])
    assert code == 0
    assert f"in a pool of {len(held_out):,}\n" in output
    other = next(name for name in listings.posting_id if name not in held_out)
    assert call("--holdout", held_out[0], other)[0] == 2


def test_new_catalog(first: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    titles = {"posting_id": ["a", "b", "c"], "title": ["Sabun cair 500 ml", "sabun cair 0.5 L", "tas ransel"]}
    pd.DataFrame(titles).to_csv(tmp_path / "few.csv", index=False)
    new = ["--data", tmp_path / "few.csv", "--data.image_column=", "--data.phash_column="]
    code, output, error = call(*new, "a", "b")
    assert (code, error) == (0, "")
    assert "  title  Sabun cair =500 ml=\n" in output
    assert "what added to the score, in log-odds" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody", "else"], "there is no listing with the id 'nobody' among 120; the nearest ids are "),
        (["a", "b", "c"], "name one listing or two different ones"),
        (["a", "a"], "name one listing or two different ones"),
        (["--bundle", "B", "a"], "cannot be used together"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], said: str, call: Command) -> None:
    code, output, error = call(*arguments)
    assert (code, output) == (2, "")
    assert said in error
