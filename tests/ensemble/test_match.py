import csv
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import ensemble
from branches.stages import branch_stages
from ensemble.ablation.variants import System, judge_stage
from ensemble.config import EnsembleConfig
from ensemble.decision.decision import Decision, groups_of
from ensemble.match_result import MatchResult
from ensemble.matcher import Matcher, check_current
from ensemble.scorer.experience import Unlikeness
from ensemble.sections import sections
from ensemble.stages import ensemble_stages
from ensemble.submission import write_submission
from ensemble.written_matches import new_matches
from shared.arrays import object_array
from shared.catalog.not_used import MISSING_WORD, note
from shared.errors import ArtifactError
from shared.pipeline.code_digest import closure
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import Catalog, Matches, ScoredPairs
from tests.support.paths import ROOT

Make = Callable[..., Any]


def matches(n: int, found: dict[int, list[int]]) -> Matches:
    rows = [(listing, match) for listing in sorted(found) for match in found[listing]]
    listing, match = np.array(rows, dtype=np.int32).reshape(-1, 2).T
    return Matches(n, listing, match, np.linspace(1, 0.5, len(rows), dtype=np.float32))


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def ids_of(*ids: str) -> np.ndarray:
    return object_array(ids)


def result(catalog: Any, edges: dict[tuple[int, int], float], most: int = 50) -> MatchResult:
    ends = np.array(sorted(edges), dtype=np.int32).reshape(-1, 2)
    score = np.array([edges[i, j] for i, j in sorted(edges)], dtype=np.float32)
    pairs = ScoredPairs(len(catalog), ends[:, 0].copy(), ends[:, 1].copy(), score)
    decided = Decision("threshold", 0.5, most).apply(pairs)
    return MatchResult(catalog, pairs, decided, groups_of(decided))


# --- submission ------------------------------------------------------------------------------------------------------


def test_submission_lists_itself_first_then_the_best(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", ids_of("b", "a", "c"), matches(3, {0: [2, 1], 2: [0]}))
    assert (tmp_path / "s.csv").read_bytes() == b"posting_id,matches\nb,b c a\na,a\nc,c b\n"


@pytest.mark.fault(2)
def test_submission_of_one_listing(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", ids_of("x"), matches(1, {}))
    assert read(tmp_path / "s.csv") == [["posting_id", "matches"], ["x", "x"]]


@pytest.mark.fault(1)
@pytest.mark.parametrize("posting_id", ['a"b', "a,b", "line\nbreak", "cr\rhere", '"', "ünïcode 🛒", "a;b", "'quoted'"])
def test_submission_quotes_any_id(posting_id: str, tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", ids_of(posting_id, "z"), matches(2, {0: [1], 1: [0]}))
    assert read(tmp_path / "s.csv") == [
        ["posting_id", "matches"],
        [posting_id, f"{posting_id} z"],
        ["z", f"z {posting_id}"],
    ]


@pytest.mark.fault(27)
@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")'])
def test_submission_escapes_formulas(formula: str, tmp_path: Path) -> None:
    write_submission(tmp_path / "s.csv", ids_of(formula, "z"), matches(2, {0: [1], 1: [0]}))
    _, first, second = read(tmp_path / "s.csv")
    assert first == ["'" + formula, f"'{formula} z"]
    assert second == ["z", f"z {formula}"]  # inside of a cell it is text


@pytest.mark.fault(1, 27)
def test_parquet_keeps_raw_ids(tmp_path: Path, make_catalog: Make) -> None:
    ids = ["=1+1", "@x", "-2", "a,b"]
    made = result(make_catalog(["tas"] * 4, ids), {(0, 1): 0.9, (2, 3): 0.2})
    made.save(tmp_path)
    table = {name: pq.read_table(tmp_path / f"{name}.parquet").to_pydict() for name in ("matches", "pairs", "groups")}
    assert table["matches"]["posting_id"] == ["=1+1", "@x"]
    assert table["matches"]["match"] == ["@x", "=1+1"]
    assert table["matches"]["score"] == pytest.approx([0.9, 0.9])
    assert table["pairs"] == {"left": ["=1+1", "-2"], "right": ["@x", "a,b"], "score": pytest.approx([0.9, 0.2])}
    assert table["groups"] == {"posting_id": ids, "group_id": ["=1+1", "=1+1", "-2", "a,b"]}


# --- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(16)
def test_group_id_is_the_smallest_posting_id(make_catalog: Make) -> None:
    made = result(make_catalog(["tas"] * 5, ["e", "b", "d", "a", "c"]), {(0, 1): 0.9, (1, 2): 0.8, (3, 4): 0.1})
    assert made.group_ids().tolist() == ["b", "b", "b", "a", "c"]


@pytest.mark.fault(16)
@pytest.mark.parametrize("seed", range(4))
def test_group_ids_do_not_depend_on_row_order(make_catalog: Make, seed: int) -> None:
    n = 30
    rng = np.random.default_rng(seed)
    ids = [f"id{at}" for at in rng.permutation(n)]
    edges = {(i, j): float(rng.random()) for i in range(n) for j in range(i + 1, n) if rng.random() < 0.07}
    order = rng.permutation(n)  # new row → old row
    place = np.argsort(order)
    moved = {tuple(sorted((int(place[i]), int(place[j])))): score for (i, j), score in edges.items()}
    one = result(make_catalog(["tas"] * n, ids), edges)
    other = result(make_catalog(["tas"] * n, [ids[at] for at in order]), moved)  # type: ignore[arg-type]
    groups = dict(zip(ids, one.group_ids(), strict=True))
    assert dict(zip(other.catalog.ids, other.group_ids(), strict=True)) == groups
    assert all(min(member for member in ids if groups[member] == name) == name for name in groups.values())


def test_summary_counts_groups_and_listings(make_catalog: Make) -> None:
    made = result(make_catalog(["tas"] * 6), {(0, 1): 0.9, (1, 2): 0.8, (3, 4): 0.9})
    assert made.summary() == {
        "listings": 6,
        "groups_of_two_or_more": 2,
        "listings_without_a_match": 1,
        "expected_to_have_a_match": 4,
        "largest_group": 3,
    }


@pytest.mark.fault(15)
def test_result_without_candidates(tmp_path: Path, make_catalog: Make) -> None:
    made = result(make_catalog(["tas", "kaos"], ["x", "y"]), {})
    made.save(tmp_path)
    assert read(tmp_path / "submission.csv")[1:] == [["x", "x"], ["y", "y"]]
    assert pq.read_table(tmp_path / "matches.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "groups.parquet").to_pydict()["group_id"] == ["x", "y"]
    assert pq.read_schema(tmp_path / "pairs.parquet").names == ["left", "right", "score"]


def test_submission_keeps_max_matches(tmp_path: Path, make_catalog: Make) -> None:
    edges = {(i, j): 0.6 + 0.01 * (i + j) for i in range(8) for j in range(i + 1, 8)}
    made = result(make_catalog(["tas"] * 8), edges, most=3)
    made.save(tmp_path)
    assert {len(found.split()) for _, found in read(tmp_path / "submission.csv")[1:]} == {4}


def write_text(inputs: Inputs, config: StageConfig, out: Path, text: str) -> dict[str, Any]:
    (out / "file").write_text(text)
    return {}


def test_encoder_newer_than_decision_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", say=lambda line: None)

    def make(name: str, text: str, reads: tuple[str, ...] = ()) -> None:
        stage = Stage(name, write_text, code=(), reads=reads, parameters={"text": text})
        bring_stage_up_to_date(run, Settings({}, {}), stage)

    for name in ("ensemble/scorer", "image/encoder/all"):
        make(name, "first")
    make("ensemble/decision", "decision", reads=("ensemble/scorer", "image/encoder/all"))
    nothing_set = Settings({}, {})
    check_current(run, nothing_set)
    make("image/encoder/all", "trained again")
    with pytest.raises(ArtifactError, match="image/encoder/all changed after ensemble/decision was made"):
        check_current(run, nothing_set)


def test_package_imports_the_matcher_when_asked() -> None:
    assert ensemble.Matcher is Matcher
    assert ensemble.MatchResult is MatchResult
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        ensemble.Nothing  # noqa: B018
    line = (
        "import sys, ensemble; print([name for name in ('torch', 'pandas', 'ensemble.matcher') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_stages_import_no_commands_or_matcher() -> None:
    """Else a change there would do the stages of every run again."""
    settings = Settings({}, sections())
    branches_of = [branch_stages(name, settings, with_test=[""]) for name in settings[EnsembleConfig].branches]
    stages = [stage for of_branch in branches_of for stage in of_branch]
    stages += [*ensemble_stages(settings), judge_stage(settings, System("whole"))]
    for stage in stages:
        modules = closure(stage.code)
        assert modules >= set(stage.code)
        rest = {name for name in modules if name.startswith(("ensemble.match", "ensemble.bundle", "ensemble.index"))}
        assert rest <= {"ensemble.match_result"}, stage.name
        assert not modules & {"ensemble", "ensemble.cli", "ensemble.__main__", "branches.cli"}, stage.name
        assert stage.name == "judged" or not [name for name in modules if name.startswith("shared.demo")], stage.name


@pytest.mark.fault(15)
def test_groups_that_are_too_large_are_split_and_told() -> None:
    n = 3000
    left = np.arange(n - 1, dtype=np.int32)
    score = np.linspace(0.5, 0.9, n - 1).astype(np.float32)
    ids = {"posting_id": [f"p{i:04}" for i in range(n)], "title": [f"mug {i}" for i in range(n)]}
    catalog = Catalog.from_columns(ids)
    result = MatchResult.from_scores(Decision("threshold", 0.4), catalog, ScoredPairs(n, left, left + 1, score))
    assert result.summary()["groups_too_large_and_split"] == result.split_groups == 1
    assert result.summary()["largest_group"] <= 1000
    assert [line[:50] for line in result.warnings] == ["warning: 1 group was too large (tune.max_group) an"]
    whole = MatchResult.from_scores(Decision("threshold", 0.95), catalog, ScoredPairs(n, left, left + 1, score))
    assert whole.warnings == []


@pytest.mark.fault(36)
@pytest.mark.parametrize(("missing", "warns"), [(0, False), (1, False), (2, True), (19, True)])
def test_many_images_that_cannot_be_used_are_a_warning_and_few_a_line(missing: int, warns: bool) -> None:
    faults = ["no such file"] * missing + [None] * (20 - missing)
    columns = {"posting_id": [f"p{n:02}" for n in range(20)], "image": ["a.jpg"] * 20, "image_fault": faults}
    matched = result(Catalog.from_columns(columns), {(0, 1): 0.9})
    why = f"no such file {missing} (such as p00)"
    assert matched.unusable_images == (f"images that cannot be used {missing} · {why}" if missing else None)
    warning = f"warning: {missing} of 20 images cannot be used: {why}. These listings are matched without"
    assert matched.warnings == ([warning] if warns else [])
    assert matched.facts.warnings == tuple(matched.warnings)


@pytest.mark.parametrize("agreement", [None, 0.95, 0.6])
@pytest.mark.parametrize("distance", [None, 0.03, 0.3])
def test_warning_says_what_is_unlike_the_training_in_one_line(agreement: float | None, distance: float | None) -> None:
    unlikeness = None if distance is None else Unlikeness(distance, 0.05, ("no images", "length of titles"))
    catalog = Catalog.from_columns({"posting_id": ["a", "b"], "title": ["mug", "fan"]})
    decided = replace(result(catalog, {}), threshold=0.9, agreement=agreement, unlikeness=unlikeness)
    rules, features = agreement == 0.6, distance == 0.3
    assert len(decided.warnings) == len(decided.unlike_metrics) - (rules and features) == (rules or features)
    for line in decided.warnings:
        assert line.startswith("warning: this catalog is unlike those of the training")
        assert ("(no images; length of titles)" in line) == features
        assert ("agree on 60%" in line) == ("raised to 0.900" in line) == rules
        assert ("Scores may be far off" in line) != rules
        assert ("although two ways to decide agree on 95%" in line) == (agreement == 0.95)
        assert "Labels of some of its products would help" in line


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    "ids",
    [
        np.array([9, 10, 11]),
        pd.array([9, None, 11], dtype="Int64").fillna(10),
        np.array([9.0, 10.0, 11.0]),
        pd.Categorical(["9", "10", "11"]),
        pd.array(["9", "10", "11"], dtype="string"),
    ],
)
def test_frames_have_the_ids_of_the_caller(ids: Any, make_catalog: Make) -> None:
    frame = pd.DataFrame({"posting_id": ids})
    made = result(make_catalog(["tas", "tas", "kaos"], ["9", "10", "11"]), {(0, 1): 0.9, (1, 2): 0.1})
    made = replace(made, caller_ids=frame["posting_id"].array)
    assert made.groups["posting_id"].dtype == frame["posting_id"].dtype
    assert made.groups["group_id"].tolist() == [ids[1], ids[1], ids[2]]  # by the text "10" < "9"
    assert made.matches["match"].tolist() == [ids[1], ids[0]]
    assert made.pairs[["left", "right"]].to_numpy().tolist() == [[ids[0], ids[1]], [ids[1], ids[2]]]
    assert len(frame.merge(made.groups)) == 3
    assert made.tables()["groups"].column("posting_id").to_pylist() == ["9", "10", "11"]


@pytest.mark.fault(27, 36)
def test_what_was_not_used_is_a_frame_and_a_file(tmp_path: Path, make_catalog: Make) -> None:
    catalog = make_catalog(["tas", "!!", "kaos"], ["=1+1", "b", "c"])
    notes = [[note("title", "=nan", MISSING_WORD)], None, None]
    made = result(catalog.with_columns({"not_used": notes}), {(0, 2): 0.1})
    assert made.not_used.columns.tolist() == ["posting_id", "what", "value", "reason"]
    assert made.not_used["posting_id"].tolist() == ["=1+1", "b"]
    made.save(tmp_path)
    assert read(tmp_path / "not_used.csv") == [
        ["posting_id", "what", "value", "reason"],
        ["'=1+1", "title", "'=nan", "a word for a missing value"],
        ["b", "title", "!!", "no letter or digit in it"],
    ]


def test_ids_with_blanks_are_warned_of(make_catalog: Make) -> None:
    made = result(make_catalog(["tas", "kaos"], ["a b", "c"]), {(0, 1): 0.1})
    assert "1 id holds blanks (such as 'a b')" in made.warnings[-1]


@pytest.mark.fault(34)
def test_what_was_said_of_earlier_matches_does_not_stay(tmp_path: Path) -> None:
    out = tmp_path / "matches"
    for name in ("matches.parquet", "metrics.json", "report.html", "changes.jsonl", "mine.txt"):
        with new_matches(out) if name == "matches.parquet" else nullcontext(out) as folder:
            (folder / name).write_text(name)
    with new_matches(out) as folder:
        (folder / "matches.parquet").write_text("others")
    assert sorted(path.name for path in out.iterdir()) == ["matches.parquet", "mine.txt"]
