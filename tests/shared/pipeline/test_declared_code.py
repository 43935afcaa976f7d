"""Every stage declares the code that it runs, and no code that only people see."""

import ast
import dis
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from branches import registry
from ensemble import sections as ensemble_sections
from ensemble.ablation.study import Fit
from ensemble.ablation.variants import judge_stage, systems
from ensemble.answers.training import answered_stage
from ensemble.bundle.archive import seal
from ensemble.bundle.refit import _one_more_fold
from ensemble.stages import run_graph
from ensemble.training_stages import scorer_stage
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.pipeline.code_digest import PROJECT, closure, helpers
from shared.pipeline.pools import catalog_pool, fold_pool
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Stage

SECTIONS = ensemble_sections.sections()
# What reads and writes a stage's files, and what finds a branch: each does one thing, which its name says.
LOADERS = {
    ("shared.pipeline.pools", "count_listings"),
    ("shared.pipeline.pools", "load_catalog"),
    ("shared.pipeline.pools", "load_set_aside"),
    ("shared.pipeline.pools", "load_split"),
    ("shared.pipeline.pools", "save_catalog"),
    ("shared.pipeline.pools", "save_set_aside"),
    ("branches.pool_stages", "load_candidates"),
    ("branches.pool_stages", "load_embeddings"),
    ("ensemble.training_stages", "load_decision"),
    ("ensemble.pair_stages", "load_features"),
    ("ensemble.answers.training", "answered_name"),
    ("ensemble.answers.training", "load_answered"),
    ("ensemble.pair_stages", "features_name"),
    ("ensemble.thinned_pools", "load_thinned_pairs"),
    ("ensemble.thinned_pools", "load_thinned_rows"),
    ("ensemble.thinned_pools", "thinned_name"),
    ("ensemble.training_stages", "load_scored_thinned"),
    ("ensemble.training_stages", "load_scored_folds"),
    ("ensemble.result_stages", "load_scores"),
    ("ensemble.result_stages", "load_unlikeness"),
    ("shared.artifacts", "read_json"),
    ("shared.artifacts", "write_json"),
    ("branches", "registry"),
    ("shared.pipeline.shards", "ranges"),
}


ONLY_WITH_EXTRAS = ("shared.catalog.extra_data", "join")  # declared by an encoder that learns from more data alone


def stages_of_a_run(folder: Path) -> Iterator[Stage]:
    """The stages of runs: of the demo, with test listings, of two catalogs, with more data, and two without labels."""
    table = "posting_id,title,label_group\na,red mug,1\nb,mug red,1\n"
    folder.mkdir()
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text(table)
    bundle = folder.parent / "bundle"
    for stage in ("image/encoder/all", "distilbert/encoder/all", "ensemble/scorer", "ensemble/decision"):
        (bundle / stage).mkdir(parents=True)
        (bundle / stage / "file").write_text("")
    seal(bundle, {})
    unlabeled = {"data": {"path": str(folder), "label_column": ""}}
    started = unlabeled | {"start": {"bundle": str(bundle)}}
    extra = {name: {"extra": [str(folder)]} for name in registry.names() if registry.get(name).learns}
    labeled: list[dict[str, Any]] = [
        {},
        {"data": {"path": str(folder)}},
        {"data": {"path": ["demo", str(folder)]}},
        extra,
    ]
    for values in (*labeled, unlabeled, started):
        yield from run_graph(RunFolder(folder / "run"), Settings(values, SECTIONS)).values()


def stages_beside_a_run() -> Iterator[Stage]:
    """The stages that an ablation and a refit have of their own, but for the last one of an ablation."""
    fit = Fit.__new__(Fit)
    fit.settings = Settings({}, SECTIONS)
    yield from fit._own_stages(0, 2)
    yield from _one_more_fold(2, [""])
    answered = replace(catalog_pool(), fold=2)
    yield answered_stage(answered, "catalog/train", Path("answers.jsonl"))
    yield scorer_stage([fold_pool(0)], Settings({}, SECTIONS), [answered])


def judging_stages() -> Iterator[Stage]:
    """The stages that judge the systems of an ablation."""
    settings = Settings({}, SECTIONS)
    yield from (judge_stage(settings, system) for system in systems(settings).values())


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    """One stage per kind: those that do the same by the same code are one kind."""
    folder = tmp_path_factory.mktemp("stages") / "data"
    kinds = {(s.work, s.code): s for s in [*stages_of_a_run(folder), *stages_beside_a_run()]}
    assert len(kinds) > 20
    return list(kinds.values())


def test_stage_depends_on_no_command_and_no_text_for_people(stages: list[Stage]) -> None:
    for stage in stages:
        declared = closure(stage.code)
        forbidden = {name for name in declared if name.startswith("shared.demo") and stage.name != "demo"}
        forbidden |= declared & {"shared.pipeline.cli", "branches.cli", "ensemble.cli", "ensemble.evaluation.summary"}
        forbidden |= declared & {"shared.pipeline.engine", "branches.stages", "branches.pool_stages", "ensemble.tune"}
        forbidden |= {name for name in declared if name.startswith("ensemble.") and name.endswith("stages")}
        forbidden |= {name for name in declared if name.endswith("__main__")}
        assert forbidden == set(), stage.name


def test_declared_modules_exist(stages: list[Stage]) -> None:
    for stage in stages:
        assert set(stage.code) <= closure(stage.code), stage.name


def test_stage_declares_what_its_work_uses(stages: list[Stage]) -> None:
    for stage in (*stages, *judging_stages()):
        assert undeclared(stage) == set(), stage.name


def undeclared(stage: Stage) -> set[tuple[str, str]]:
    """What the work of a stage refers to, as module and name, that is neither declared, a loader nor a section."""
    functions = () if stage.shards is None else stage.shards.functions  # whose source is part of the key, too
    own = {helper for work in (stage.work, *functions) for helper in helpers(work)}
    in_key = {(function.__module__, function.__name__) for function in (*functions, *own)}
    every = {use for work in (stage.work, *functions, *own) for use in uses(work)} - in_key
    used = {(module, name) for module, name in every if not is_declared_section(stage, module, name)}
    used -= LOADERS if stage.parameters.get("extras") else {*LOADERS, ONLY_WITH_EXTRAS}
    return {(module, name) for module, name in used if module not in closure(stage.code)}


def is_declared_section(stage: Stage, module: str, name: str) -> bool:
    """Whether it is a section of the settings, whose values are part of the key."""
    value = getattr(importlib.import_module(module), name, None)
    is_section = isinstance(value, type) and issubclass(value, ConfigSection)
    return is_section and value in (*stage.settings, ComputeConfig)


def uses(work: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """The modules and names of this project that a function refers to, but for constants of its own module."""
    module = work.__module__
    imported = imports_of(module)
    for name in sorted(globals_of(work.__code__) | parameters_of(work)):
        if name in imported:
            if imported[name][0].split(".")[0] in PROJECT:
                yield imported[name]
        elif name in work.__globals__ and not isinstance(work.__globals__[name], str | int | float | tuple):
            yield module, name


def globals_of(code: CodeType) -> set[str]:
    """The global names that a piece of code and those nested in it load."""
    own = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return own.union(*(globals_of(each) for each in code.co_consts if isinstance(each, CodeType)))


def parameters_of(work: Callable[..., Any]) -> set[str]:
    """The global names that are default values of parameters."""
    return {value.__name__ for value in work.__defaults__ or () if callable(value)}


@cache
def imports_of(module: str) -> dict[str, tuple[str, str]]:
    """Each name that a module imports → where it is from, as module and name."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    nodes = list(ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))))
    plain = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [(node.module or "", alias) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {alias.asname or alias.name: (alias.name, "") for alias in plain} | {
        alias.asname or alias.name: (of, alias.name) for of, alias in named
    }


# --- the check itself ------------------------------------------------------------------------------------------------


def a_work(inputs: Any, config: Any, out: Path) -> dict[str, Any]:
    catalog = [closure(("x",)) for _ in range(2)]
    return {"found": lambda: (fold_pool(1), catalog, SECTIONS, ComputeConfig, config[ComputeConfig])}


def test_the_check_sees_what_is_not_declared() -> None:
    pools, digests = ("shared.pipeline.pools", "fold_pool"), ("shared.pipeline.code_digest", "closure")
    own = (__name__, "SECTIONS")
    assert set(uses(a_work)) == {pools, digests, own, ("shared.compute", "ComputeConfig")}
    stage = Stage("x", a_work, code=("shared.pipeline.pools",))
    assert undeclared(stage) == {digests, own}
