"""The documents keep what they promise: code runs, commands and settings exist, files and links are there."""

import argparse
import csv
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import branches
from branches import registry
from branches.candidates import propose
from ensemble.decision.rules import RULES
from ensemble.features.assemble import FAMILIES
from ensemble.sections import sections
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.cli import Command
from shared.pipeline.settings import Settings, from_arguments
from shared.schema import Catalog
from tests.support.paths import ROOT

ROOMS = ("shared", "branches", "ensemble")
DOCUMENTS = (
    "README.md",
    "shared/README.md",
    "branches/README.md",
    "ensemble/README.md",
    "ensemble/RESULTS.md",
    ".github/CONTRIBUTING.md",
    ".github/CHANGELOG.md",
    ".github/SECURITY.md",
)
LONGEST_README = 160  # lines
LANGUAGES = ("sh", "python", "yaml", "text")
PROGRAMS = ("cp", "dask", "lint-imports", "mypy", "ruff", "tensorboard")  # called with arguments of their own


# --- reading documents -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Args:
        line: Of its first line of code, from 1.
        language: What stands behind the fence.
        text: The code.
        reason: Why it is not run; None where it is.
    """

    line: int
    language: str
    text: str
    reason: str | None


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(text: str, language: str | None = None) -> list[Block]:
    """Return the fenced blocks of a document, of one language or of all."""
    fence = re.compile(r"(?:^<!-- not run: (.+) -->\n\s*)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    every = [Block(text.count("\n", 0, m.start(3)) + 1, m[2], m[3], m[1]) for m in fence.finditer(text)]
    return [block for block in every if language in (None, block.language)]


def prose(text: str) -> str:
    """Return a document without its blocks, and without the names of earlier versions."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    tables = re.split(r"(^\| before \|.*?\n(?=[^|]))", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(re.sub(r"^\|[^|]*\|", "|", t, flags=re.MULTILINE) if "| before |" in t[:20] else t for t in tables)


def spans(text: str) -> list[str]:
    """Return what stands between backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", prose(text))


def first_column(text: str, header: str) -> set[str]:
    """Return what stands between backticks in the first column of the table whose first header is given."""
    table = text.partition(f"\n| {header} |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def anchors(text: str) -> set[str]:
    """Return the names by which GitHub links to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_fences_close_and_name_a_language_that_is_checked() -> None:
    for document in DOCUMENTS:
        text = read(document)
        assert text.count("\n```") == 2 * len(blocks(text)), document
        assert {block.language for block in blocks(text)} <= set(LANGUAGES), document


def test_blocks_tells_language_line_and_reason() -> None:
    text = "a\n```sh\nls\n```\n<!-- not run: no network -->\n```python\nx\ny\n```\n"
    assert blocks(text) == [Block(3, "sh", "ls\n", None), Block(7, "python", "x\ny\n", "no network")]


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= LONGEST_README


# --- links, files and names ------------------------------------------------------------------------------------------


def broken_links(document: str, text: str) -> list[str]:
    """Return the links of a document that lead nowhere."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        path = ((ROOT / document).parent / name).resolve() if name else ROOT / document
        sound = target.startswith("https://") or path.exists()
        if not sound or (anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document: str) -> None:
    assert broken_links(document, read(document)) == []


def test_broken_links_are_seen() -> None:
    text = "[a](shared/README.md#pools) [b](#results) [c](nowhere.md) [d](#nothing) [e](shared/README.md#no)"
    assert broken_links("README.md", text) == ["nowhere.md", "#nothing", "shared/README.md#no"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_of_the_project_exist(document: str) -> None:
    named = [span for span in spans(read(document)) if re.fullmatch(r"(?:\.?\w+/)[\w./-]+\.(?:py|md|sh|toml)", span)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_tables_name_everything_there_is() -> None:
    rooms = {path.name + "/" * path.is_dir() for path in (ROOT / "shared").iterdir() if not path.name.startswith("_")}
    assert first_column(read("shared/README.md"), "room") == rooms - {"README.md"}
    assert first_column(read("branches/README.md"), "branch") == set(registry.names())
    text = read("ensemble/README.md")
    assert first_column(text, "rule") == set(RULES)
    assert first_column(text, "family") == set(FAMILIES)
    assert first_column(text, "section") == set(sections())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_in_the_text_exist(document: str) -> None:
    for span in spans(read(document)):
        name = re.match(r"(?:--)?(\w+)\.(\w+)(?=$|[=\s])", span)
        if name and name[1] in sections() and name[2] != "py":
            is_setting = name[2] in sections()[name[1]].model_fields
            is_module = name[1] in ROOMS and find_spec(f"{name[1]}.{name[2]}") is not None
            assert is_setting or is_module, f"{document}: {span}"


# --- commands --------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of a shell block."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def entry(module: str) -> Callable[[], Any]:
    """Return the function that a module of the project calls as a command."""
    assert find_spec(module) is not None, f"there is no module {module}"
    if step := re.fullmatch(r"branches\.(\w+)\.(train|embed)", module):
        cli = import_module("branches.cli")
        return lambda: getattr(cli, f"main_{step[2]}")(step[1])
    imported = import_module(module)
    main: Callable[[], Any] = (import_module(f"{module}.__main__") if hasattr(imported, "__path__") else imported).main
    return main


def parse(command: Command, argv: Sequence[str] | None = None) -> int:
    """Read arguments and settings as `Command.run` does, and do no more."""
    _, rest = command._parser().parse_known_args(argv)
    Settings(from_arguments(rest, command.sections), command.sections)
    return 0


def parse_and_stop(parser: argparse.ArgumentParser, *given: Any) -> None:
    """Read arguments as `ArgumentParser.parse_args` does, and end the command."""
    parser.parse_known_args(*given)
    raise SystemExit(0)


def check_module(module: str, arguments: Sequence[str]) -> None:
    """Fail unless a command of the project takes these arguments."""
    if module.split(".")[0] not in ROOMS:
        assert find_spec(module) is not None, f"there is no module {module}"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setattr(Command, "run", parse)
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            code = entry(module)()
        except SystemExit as end:
            code = end.code
        except MatcherError as error:
            pytest.fail(f"{module} {shlex.join(arguments)}: {error}")
    assert code == 0, f"{module} does not take {shlex.join(arguments)}"


def check_command(words: Sequence[str]) -> None:
    """Fail unless a command exists and takes its arguments."""
    program, *arguments = words
    if program == "./run_all.sh":
        check_module("ensemble", arguments)
    elif program == "python":
        assert arguments[0] == "-m"
        check_module(arguments[1], arguments[2:])
    elif program == "torchrun":
        run = import_module("torch.distributed.run")
        started = run.get_args_parser().parse_args(arguments)
        check_module(started.training_script, started.training_script_args)
    elif program == "pip":
        name, *options = arguments
        pip = pytest.importorskip("pip._internal.commands")
        pip.create_command(name).parse_args(options)
    elif program == "tests/run.sh":
        assert all(argument in read(program) for argument in arguments)
    else:
        assert program in PROGRAMS, f"{program}: no command that is known here"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist_and_take_their_arguments(document: str) -> None:
    for block in blocks(read(document), "sh"):
        for words in commands(block.text):
            try:
                check_command(words)
            except SystemExit:
                pytest.fail(f"{document}:{block.line}: {shlex.join(words)} is refused")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_in_the_text_exist(document: str) -> None:
    for span in spans(read(document)):
        if module := re.match(r"python -m ([\w.]+)", span):
            assert callable(entry(module[1])), f"{document}: {span}"


@pytest.mark.parametrize(
    "line",
    [
        "python -m ensemble.ablate",
        "python -m ensemble.tune --pool 3",
        "python -m ensemble.tune --pool-size many",
        "python -m ensemble.tune --tune.rule=threshold",
        "python -m branches.image.train --tune.rules=threshold",
        "python -m branches.tfidf.train",
        "python -m shared.demo --listings 3",
        "./run_all.sh --image.epochs=few",
        "pip install --offline .",
        "tests/run.sh --slow",
        "frobnicate",
    ],
)
def test_a_command_that_does_not_work_is_seen(line: str) -> None:
    with pytest.raises((AssertionError, SystemExit, pytest.fail.Exception)):
        check_command(shlex.split(line))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_files_are_read(document: str) -> None:
    for block in blocks(read(document), "yaml"):
        Settings(yaml.safe_load(block.text), sections())


# --- Python ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a run without encoders."""
    folder = tmp_path_factory.mktemp("documents")
    run, out = folder / "run", folder / "bundle"
    plain = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=20", "--compute.threads=1", "--compute.device=cpu"]
    for line in (["ensemble", "--data", demo_folder, *plain], ["ensemble.bundle", "--out", out]):
        words = [sys.executable, "-m", *map(str, line), "--run", str(run)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def workplace(demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the files that documents name."""
    with (demo_folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:12]
    with (tmp_path / "listings.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["posting_id", "title", "image"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    shutil.copytree(demo_folder / "train_images", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(text: str) -> str:
    """Return the Python blocks of a document as one script, each at its line; blocks that are files are left out."""
    lines: list[str] = []
    for block in blocks(text, "python"):
        if block.reason is None and not block.text.startswith("# branches/"):
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if script(read(name)).strip()])
@pytest.mark.slow
def test_python_runs(document: str, bundle: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bundle, workplace / "my-bundle")
    path = workplace / "document.py"
    path.write_text(script(read(document)), encoding="utf-8")
    runpy.run_path(str(path))
    assert capsys.readouterr().out


def test_script_keeps_line_numbers() -> None:
    a_file, skipped = "```python\n# branches/x.py\n```\n", "<!-- not run: why -->\n```python\nb\n```\n"
    text = "\n```python\na\n```\n" + a_file + skipped + "```python\nc\n```\n"
    assert script(text) == "\n\na\n\n\n\n\n\n\n\n\n\nc\n"


@pytest.fixture
def example_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The branch that `branches/README.md` shows, as a folder of `branches/`; its name."""
    files = [
        block.text for block in blocks(read("branches/README.md"), "python") if block.text.startswith("# branches/")
    ]
    for text in files:
        path = tmp_path / text.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    before = set(sys.modules)
    monkeypatch.setattr(branches, "__path__", [*branches.__path__, str(tmp_path / "branches")])
    registry.names.cache_clear()
    registry.get.cache_clear()
    yield path.parent.name
    registry.names.cache_clear()
    registry.get.cache_clear()
    for module in set(sys.modules) - before:
        del sys.modules[module]


def test_the_example_of_a_branch_meets_the_contract(
    example_branch: str, demo_catalog: Catalog, one_thread: ComputeConfig
) -> None:
    branch = registry.get(example_branch)
    config = branch.Config(neighbors=4)
    embeddings = branch.fit(demo_catalog, None, config, one_thread).transform(demo_catalog)
    assert not branch.learns
    assert example_branch in sections()
    assert len(embeddings) == len(demo_catalog)
    with_digit = [bool(re.search(r"\d", title)) for title in demo_catalog.normalized_titles]
    assert embeddings.present.tolist() == with_digit
    pairs = propose(embeddings, config, one_thread)
    equal = demo_catalog.normalized_titles[pairs.left] == demo_catalog.normalized_titles[pairs.right]
    assert len(pairs)
    assert np.allclose(pairs.similarity[equal], 1)


def test_the_example_of_a_branch_is_short() -> None:
    files = [
        block.text for block in blocks(read("branches/README.md"), "python") if block.text.startswith("# branches/")
    ]
    code = [line for text in files for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 30
