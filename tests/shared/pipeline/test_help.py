"""What `--help` of every command says."""

import importlib
import sys
from functools import partial

import pytest

from branches import cli as branch_cli
from branches import registry
from ensemble import sections as ensemble_sections
from tests.support.paths import ROOT

SECTIONS = ensemble_sections.sections()
ENSEMBLE = [  # modules of commands, without those that have commands of their own
    "ensemble.__main__",
    "ensemble.ablation.__main__",
    "ensemble.bundle.__main__",
    "ensemble.candidates",
    "ensemble.evaluate",
    "ensemble.explain.__main__",
    "ensemble.features.__main__",
    "ensemble.match",
    "ensemble.report.__main__",
    "ensemble.review.__main__",
    "ensemble.review.simulate",
    "ensemble.score",
    "ensemble.search",
    "ensemble.train",
    "ensemble.transfer.__main__",
    "ensemble.tune",
]
LEARNING = [name for name in registry.names() if registry.get(name).learns]
BRANCHES = [f"branches.{name}.embed" for name in registry.names()] + [f"branches.{name}.train" for name in LEARNING]
TOOLS = {
    "branches.ablation": "image",
    "branches.benchmark": "image",
    "ensemble.answers.__main__": "export",
    "ensemble.index.__main__": "add",
}


OF_NO_STAGE = {  # commands that have nothing to do again
    "branches.benchmark",
    "ensemble.answers.__main__",
    "ensemble.explain.__main__",
    "ensemble.index.__main__",
    "ensemble.report.__main__",
    "ensemble.review.__main__",
    "ensemble.review.simulate",
}


def shown_help(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["x", *([TOOLS[module]] if module in TOOLS else []), "--help"])
    if module in BRANCHES:
        _, name, step = module.split(".")
        main = partial(getattr(branch_cli, f"main_{step}"), name)
    else:
        main = importlib.import_module(module).main
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("module", [*BRANCHES, *ENSEMBLE, *TOOLS])
def test_help(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown_help(module, monkeypatch, capsys)
    typed = "./run_all.sh" if module == "ensemble.__main__" else f"python -m {module.removesuffix('.__main__')}"
    assert text.startswith(f"usage: {typed} ")
    for option in ("--run RUN", "--data DATA", "--config CONFIG"):
        assert option in text
    assert ("--force" in text) == (module not in OF_NO_STAGE)
    if module in BRANCHES:
        name = module.split(".")[1]
        assert all(f"  --{name}.{key}=" in text for key in SECTIONS[name].model_fields)
    assert ("  --compute.threads=0\n" in text) == (module != "ensemble.answers.__main__")  # which computes nothing


def test_help_of_the_whole_job_lists_every_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown_help("ensemble.__main__", monkeypatch, capsys)
    for name, cls in SECTIONS.items():
        assert all(f"  --{name}.{key}=" in text for key in cls.model_fields), name


def test_help_is_tested_of_every_command() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("branches", "ensemble")
        for path in (ROOT / folder).rglob("*.py")
        if "raise SystemExit(main" in path.read_text(encoding="utf-8")
    }
    assert found == {*BRANCHES, *ENSEMBLE, *TOOLS}
