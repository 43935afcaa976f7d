"""`python -m ensemble.explain` on a finished run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.answers.answer import Answer, now
from ensemble.answers.file import FILE, AnswerFile
from ensemble.decision.decision import Decision
from ensemble.explain.__main__ import candidates_text
from ensemble.explain.explained_pool import ExplainedPool
from shared.catalog.copies import content_digests
from shared.pipeline.pools import load_catalog
from tests.support.answers import answer
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


def test_answer_about_a_pair_of_a_run(first: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    left, right, _ = best_pair(first[0])
    catalog = load_catalog(first[0] / "pools" / "catalog")
    content_of = dict(zip(catalog.ids, content_digests(catalog), strict=True))
    AnswerFile(tmp_path / FILE).append(Answer(left, right, content_of[left], content_of[right], "no", "Ann", now()))
    code, output, error = call(left, right, f"--review.answers={tmp_path / FILE}")
    assert (code, error) == (0, "")
    assert "They do not match: people answered that they sell different products." in output


def test_pair_that_no_branch_proposed(first: tuple[Path, str], call: Command, listings: pd.DataFrame) -> None:
    pairs = pd.read_parquet(first[0] / "matches" / "pairs.parquet")
    first_id = listings.posting_id[0]
    proposed = {*pairs.left[pairs.right == first_id], *pairs.right[pairs.left == first_id], first_id}
    other = next(name for name in listings.posting_id if name not in proposed)
    code, output, _ = call(first_id, other)
    assert code == 0
    assert "no score, threshold " in output
    assert "\nno branch proposed the pair:\n  image " in output


def test_candidates_of_one_listing(first: tuple[Path, str], call: Command) -> None:
    left, right, score = best_pair(first[0])
    code, output, _ = call(left)
    assert code == 0
    assert f"match     {score:.3f}  {right}  " in output
    assert output.count("\nno match") == 10


def test_candidate_that_matches_by_its_group_alone(
    matched: ExplainedPool, decided: Callable[..., ExplainedPool]
) -> None:
    pairs = matched.result.scored_pairs
    pool = decided(Decision("average_link", 0.35))
    scored = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    row, other = next(
        pair
        for pair in zip(pool.result.match_rows.listing.tolist(), pool.result.match_rows.match.tolist(), strict=True)
        if tuple(sorted(int(pool.copies[end]) for end in pair)) not in scored and np.ptp(pool.copies[list(pair)])
    )
    text = candidates_text(pool, row)
    assert f"match  by group  {pool.views.catalog.ids[other]}  " in text
    assert "nan" not in text


def test_answers_about_the_own_catalog_are_refused_with_a_new_one(call: Command, tmp_path: Path) -> None:
    pd.DataFrame({"posting_id": ["a", "b"], "title": ["mug", "fan"]}).to_csv(tmp_path / "few.csv", index=False)
    AnswerFile(tmp_path / FILE).append(answer("a", "b"))
    new = ["--data", tmp_path / "few.csv", "--data.image_column=", "--data.phash_column="]
    code, output, error = call(*new, "a", "b", f"--review.answers={tmp_path / FILE}")
    assert (code, output) == (2, "")
    assert "name those about a new one with --answers FILE" in error
    assert call(*new, "a", "b", "--answers", tmp_path / FILE)[0] == 0


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
