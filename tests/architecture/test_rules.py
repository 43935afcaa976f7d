"""Rules about the code that the import contracts in pyproject.toml cannot say."""

import ast
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines
SHORTEST_TWIN = 4  # lines; shorter functions may be alike by chance
STRING_IMPORTS = {"branches/registry.py": "module_of(", "shared/search/dot_products.py": "cupyx."}
LOADERS = ("import_module", "__import__", "spec_from_file_location", "run_module", "run_path")
CONTRACT = {"__init__", "config", "embed"}
BRANCH_FILES = CONTRACT | {"data", "model", "ngrams", "train"}
SOURCES = sorted(
    path.relative_to(ROOT) for room in ("shared", "branches", "ensemble") for path in ROOT.glob(f"{room}/**/*.py")
)
TESTS = sorted(path.relative_to(ROOT) for path in ROOT.glob("tests/**/*.py"))
BRANCHES = sorted({path.parent for path in SOURCES if path.parts[0] == "branches" and len(path.parts) > 2})


def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    yield from ((ast.unparse(n.func), n) for n in ast.walk(tree(path)) if isinstance(n, ast.Call))


def string_imports(path: Path) -> list[str]:
    """Every place where a file imports a module by its name, less those that may."""
    return [
        f"{path}:{call.lineno} {ast.unparse(call)}"
        for name, call in calls(path)
        if name.split(".")[-1] in LOADERS
        and not (path.as_posix() in STRING_IMPORTS and STRING_IMPORTS[path.as_posix()] in ast.unparse(call))
    ]


def twins(paths: list[Path]) -> list[list[str]]:
    """Functions of several lines that stand more than once, whatever their names."""
    places = defaultdict(list)
    for path in paths:
        for function in functions(path):
            if length(function) >= SHORTEST_TWIN:
                text = "\n".join(ast.unparse(node) for node in (function.args, *function.body))
                places[text].append(f"{path}:{function.lineno} {function.name}")
    return [places for places in places.values() if len(places) > 1]


def test_imports_by_name_are_few() -> None:
    assert SOURCES
    assert [place for path in SOURCES for place in string_imports(path)] == []


@pytest.mark.parametrize("branch", BRANCHES, ids=str)
def test_branch_has_the_files_of_the_contract(branch: Path) -> None:
    files = {path.relative_to(branch).with_suffix("").as_posix() for path in SOURCES if path.is_relative_to(branch)}
    assert CONTRACT <= files <= BRANCH_FILES


@pytest.mark.fault(21)
def test_arrays_and_weights_are_loaded_without_objects() -> None:
    for path in SOURCES:
        for name, call in calls(path):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", f"{path}:{call.lineno}"
            assert keywords.get("allow_pickle", "False") == "False", f"{path}:{call.lineno}"
            banned = ("torch.save", "pd.read_pickle", "eval", "exec", "yaml.load", "joblib.load", "joblib.dump")
            assert name not in banned, f"{path}:{call.lineno}"
            assert not name.endswith(".to_pickle"), f"{path}:{call.lineno}"


def test_no_file_is_too_long_to_read() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long_to_read() -> None:
    assert [
        f"{path}:{function.lineno} {function.name}"
        for path in SOURCES
        for function in functions(path)
        if length(function) > LONGEST_FUNCTION
    ] == []


def test_no_function_of_the_tests_stands_twice() -> None:
    assert twins(TESTS) == []


def test_scripts_are_executable() -> None:
    for name in ("run_all.sh", "tests/run.sh", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111, name
        subprocess.run(["bash", "-n", ROOT / name], check=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ensemble/x.py", "import importlib\nimportlib.import_module('branches.image.embed')"),
        ("shared/x.py", "def f():\n    return __import__('ensemble')"),
        ("branches/registry.py", "import_module('ensemble.config')"),
    ],
)
def test_the_rule_of_imports_by_name_sees_what_it_forbids(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert len(string_imports(Path(name))) == 1


def test_the_rule_of_twins_sees_what_it_forbids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "(n: int) -> int:\n" + "".join(f"    n += {line}\n" for line in range(SHORTEST_TWIN))
    (tmp_path / "a.py").write_text(f"def one{body}", encoding="utf-8")
    (tmp_path / "b.py").write_text(f"def two{body}", encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert twins([Path("a.py"), Path("b.py")]) == [["a.py:1 one", "b.py:1 two"]]
