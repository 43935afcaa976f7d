"""The whole job on a small marketplace: what a run leaves, what is done again, and what never sees the holdout."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ensemble.sections import sections
from ensemble.stages import run_graph
from ensemble.training_stages import DECISION, SCORER
from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.pools import load_split
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings
from shared.schema import ScoredPairs
from tests.support.run_files import content, digest

pytestmark = pytest.mark.slow
BRANCHES = ["image", "distilbert", "tfidf", "phash"]
POOLS = ["fold0", "fold1", "holdout", "catalog"]
METRICS = {"pool_size", "row_f1", "row_precision", "row_recall", "pair_f1", "b3_f1"}

Command = Callable[..., tuple[int, str, str]]
StageLines = Callable[[str], dict[str, str]]


# --- what a run leaves -----------------------------------------------------------------------------------------------


@pytest.mark.fault(21)
def test_every_stage_is_done(first: tuple[Path, str], stage_lines: StageLines) -> None:
    run, output = first
    stages = {"catalog/train", "split", "matches", "ensemble/scorer", "ensemble/decision", "ensemble/evaluation"}
    stages |= {f"pools/{pool}" for pool in POOLS}
    stages |= {f"{name}/{step}/{pool}" for name in BRANCHES for step in ("embeddings", "candidates") for pool in POOLS}
    stages |= {f"{name}/encoder/{of}" for name in ("image", "distilbert") for of in ("fold0", "fold1", "all")}
    stages |= {f"ensemble/{step}/{pool}" for step in ("candidates", "features") for pool in POOLS}
    stages |= {f"ensemble/thinned/fold{fold}" for fold in (0, 1)}
    stages |= {"ensemble/scores/holdout", "ensemble/scores/catalog"}
    assert stages == set(stage_lines(output)) == {manifest["stage"] for manifest in RunFolder(run).manifests()}
    assert not [path for path in run.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".work", ".partial")]


@pytest.mark.fault(16)
def test_files_of_the_matches(first: tuple[Path, str], listings: pd.DataFrame) -> None:
    run, _ = first
    ids = listings.posting_id.tolist()
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
    assert all(name == min(group) for name, group in table.posting_id.groupby(table.group_id))
    with (run / "matches" / "submission.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["posting_id"] for row in rows] == ids
    assert all(row["matches"].split()[0] == row["posting_id"] for row in rows)
    matches = pd.read_parquet(run / "matches" / "matches.parquet").groupby("posting_id").match.agg(list).to_dict()
    assert {row["posting_id"]: row["matches"].split()[1:] for row in rows if " " in row["matches"]} == matches


def test_metrics_of_the_run(first: tuple[Path, str], stage_lines: StageLines) -> None:
    run, output = first
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    split = load_split(run / "split")
    assert set(metrics["branches"]) == set(BRANCHES)
    for values in (metrics["holdout"], *metrics["branches"].values()):
        assert set(values) >= METRICS
        assert values["pool_size"] == (split.fold == -1).sum()
        assert all(0 <= values[name] <= 1 for name in METRICS - {"pool_size"})
    assert metrics["holdout"]["row_f1"] > 0.5
    assert metrics["out_of_fold"]["pool_sizes"] == [int((split.fold == fold).sum()) for fold in (0, 1)]
    assert set(metrics["stages"]) == set(stage_lines(output))
    assert all(cost["seconds"] >= 0 and cost["peak_memory_mb"] > 0 for cost in metrics["stages"].values())
    assert f"{metrics['holdout']['row_f1']:.3f}" in output
    out_of_fold = metrics["out_of_fold"]
    assert out_of_fold["pairs"] == sum(len(ScoredPairs.load(run / f"ensemble/scorer/fold{k}.parquet")) for k in (0, 1))
    assert sum(part["pairs"] for part in out_of_fold["reliability"]) == out_of_fold["pairs"]
    assert f"out of fold: {out_of_fold['ece']:.3f} over all {out_of_fold['pairs']:,} candidate pairs" in output


# --- run again -------------------------------------------------------------------------------------------------------


@pytest.mark.fault(22)
def test_second_run_changes_nothing(
    run: Path, first: tuple[Path, str], command: Command, stage_lines: StageLines
) -> None:
    before = content(run)
    code, output, error = command("ensemble", "--run", run)
    assert (code, error) == (0, "")
    assert stage_lines(output) == dict.fromkeys(stage_lines(first[1]), "unchanged")
    summary = output[output.index("Evaluated on") :].replace(str(run), str(first[0]))
    assert summary == first[1][first[1].index("Evaluated on") :]
    assert content(run) == before


@pytest.mark.fault(22)
def test_setting_redoes_what_depends_on_it(run: Path, command: Command, stage_lines: StageLines) -> None:
    code, output, _ = command("ensemble", "--run", run, "--tfidf.words=2")
    assert code == 0
    lines = stage_lines(output)
    redone = {name for name, text in lines.items() if text != "unchanged"}
    assert redone == {name for name in lines if name.split("/")[0] in ("tfidf", "ensemble", "matches")}
    assert {f"tfidf/embeddings/{pool}" for pool in POOLS} <= redone
    code, output, _ = command("ensemble", "--run", run)
    assert code == 0
    assert set(stage_lines(output).values()) == {"unchanged"}  # the run remembers its settings


def test_forced_command_redoes_its_own_stage(run: Path, command: Command, stage_lines: StageLines) -> None:
    before = content(run)
    code, output, _ = command("ensemble.tune", "--run", run, "--force")
    assert code == 0
    assert [name for name, text in stage_lines(output).items() if text != "unchanged"] == ["ensemble/decision"]
    assert digest(run / "ensemble/decision/decision.json") == before["ensemble/decision/decision.json"]


# --- the holdout -----------------------------------------------------------------------------------------------------


@pytest.mark.fault(26)
def test_scorer_and_decision_without_the_holdout(run: Path) -> None:
    settings = Settings(remembered(run), sections())
    graph = run_graph(RunFolder(run), settings)
    before = content(run)
    for folder in [*run.rglob("holdout"), *run.rglob("pools/catalog"), run / "catalog", run / "split"]:
        shutil.rmtree(folder)
    again = RunFolder(run, say=lambda line: None)
    for stage in (SCORER, DECISION):
        bring_stage_up_to_date(again, settings, graph[stage], redo=True)
    for name in ("scorer/first.txt", "scorer/second.txt", "decision/decision.json", "decision/curves.json"):
        assert digest(run / "ensemble" / name) == before[f"ensemble/{name}"]


@pytest.mark.fault(26)
def test_decision_reads_no_holdout_embeddings(first: tuple[Path, str]) -> None:
    graph = run_graph(RunFolder(first[0]), Settings(remembered(first[0]), sections()))
    needed = {stage.name for stage in graph.up_to([DECISION])}
    assert not [name for name in needed if name.endswith(("/holdout", "/catalog"))]
    assert needed >= {"image/encoder/all", "distilbert/encoder/all", "image/embeddings/fold0"}
