"""The graph of stages, and what a stage may open."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig, UndeclaredError


class Numbers(ConfigSection):
    """Settings of a stage."""

    rate: int = 1


SECTIONS: dict[str, type[ConfigSection]] = {"numbers": Numbers, "compute": ComputeConfig}


# --- graphs ----------------------------------------------------------------------------------------------------------


def no_work(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
    return {}


def stage(name: str, *reads: str) -> Stage:
    return Stage(name, no_work, code=(), reads=reads)


DIAMOND = [stage("a"), stage("b/x", "a"), stage("b/y", "a", "outside"), stage("bc", "b/x", "b/y"), stage("d")]


def test_graph_is_a_mapping_in_order() -> None:
    graph = Graph(DIAMOND)
    assert list(graph) == ["a", "b/x", "b/y", "bc", "d"]
    assert (len(graph), graph["d"]) == (5, DIAMOND[-1])
    assert "outside" not in graph


def test_graph_refuses_two_of_one_name() -> None:
    with pytest.raises(ValueError, match="two stages have the same name"):
        Graph([stage("a"), stage("b"), stage("a")])


@pytest.mark.parametrize("stages", [[stage("a", "b"), stage("b")], [stage("a"), stage("b", "b")]])
def test_graph_refuses_a_stage_before_its_inputs(stages: list[Stage]) -> None:
    with pytest.raises(ValueError, match=r"the stage [ab] reads b, which comes after it"):
        Graph(stages)


@pytest.mark.parametrize(
    ("targets", "needed"),
    [
        ([], []),
        (["a"], ["a"]),
        (["d", "b/y"], ["a", "b/y", "d"]),
        (["bc"], ["a", "b/x", "b/y", "bc"]),
        (["outside"], []),
    ],
)
def test_up_to(targets: Sequence[str], needed: Sequence[str]) -> None:
    assert [stage.name for stage in Graph(DIAMOND).up_to(targets)] == needed


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["b"], ["b/x", "b/y"]),
        (["b/x"], ["b/x"]),
        (["b/x/z", "B", ""], []),
        (["d", "a"], ["a", "d"]),
        (["bc", "b"], ["b/x", "b/y", "bc"]),
    ],
)
def test_below(folders: Sequence[str], names: Sequence[str]) -> None:
    assert Graph(DIAMOND).below(folders) == names


# --- bringing stages up to date --------------------------------------------------------------------------------------


def chain(*names: str) -> Graph:
    """Stages of which each reads the one before and writes its text, one letter longer."""

    def work(inputs: Inputs, config: StageConfig, out: Path, before: str | None) -> Mapping[str, Any]:
        text = "" if before is None else (inputs[before] / "out.txt").read_text()
        (out / "out.txt").write_text(text + "x")
        return {}

    before: dict[str, str | None] = dict(zip(names, [None, *names], strict=False))
    return Graph(
        Stage(name, work, code=(), reads=(one,) if one else (), parameters={"before": one})
        for name, one in before.items()
    )


def test_bring_up_to_date_does_what_the_targets_need(run: RunFolder, lines: list[str]) -> None:
    done: list[str] = []
    bring_up_to_date(run, Settings({}, {}), chain("a", "b", "c"), ["b"], done=done.append)
    assert (run.open("b") / "out.txt").read_text() == "xx"
    assert done == ["a", "b"]
    assert run.manifest("c") is None


def test_bring_up_to_date_redo(run: RunFolder, lines: list[str]) -> None:
    graph = chain("a", "b", "c")
    for redo in ((), ("b",)):
        lines.clear()
        bring_up_to_date(run, Settings({}, {}), graph, ["c"], redo=redo)
    assert [line.split()[0] for line in lines if not line.endswith("unchanged")] == ["b"]


# --- what a stage did not declare ------------------------------------------------------------------------------------


def do_work_of(run: RunFolder, work: Callable[..., Any], **declared: Any) -> None:
    stage = Stage("second", work, **{"code": (), **declared})
    bring_up_to_date(run, Settings({}, SECTIONS), Graph([stage]), ["second"])


def test_undeclared_input_is_refused(run: RunFolder, do: Any, writes: Any) -> None:
    do(writes(), "first")

    def work(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
        return {"letters": len((inputs["first"] / "out.txt").read_text())}

    with pytest.raises(UndeclaredError, match="the stage second opens first, which is not among its `reads`"):
        do_work_of(run, work)
    do_work_of(run, work, reads=("first",))
    assert (run.manifest("second") or {})["metrics"] == {"letters": 7}


def test_undeclared_section_is_refused(run: RunFolder) -> None:
    def work(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
        return {"rate": config[Numbers].rate, "threads": config[ComputeConfig].threads}

    with pytest.raises(UndeclaredError, match="the stage second reads Numbers, not among its `settings`"):
        do_work_of(run, work)
    do_work_of(run, work, settings=(Numbers,))
    assert (run.manifest("second") or {})["metrics"] == {"rate": 1, "threads": 0}


def test_undeclared_is_no_error_of_a_user() -> None:
    assert not issubclass(UndeclaredError, MatcherError)


@pytest.mark.fault(20)
def test_damaged_input_is_refused_before_the_work(do: Any, writes: Any, unwanted: Any) -> None:
    (do(writes(), "first") / "out.txt").write_text("altered")
    with pytest.raises(ArtifactError, match="checksum"):
        do(unwanted, reads=("first",))
