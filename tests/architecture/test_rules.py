"""Rules about the code itself: who imports whom, what is never used, how large a file or function grows."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("shared", "branches", "ensemble")
BRANCH_FILES = {"__init__", "config", "data", "model", "train", "embed", "candidates", "ablate", "speed"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines
CONTRACT = {"__init__", "config", "embed", "candidates"}
SOURCES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
BRANCHES = sorted(path.parent for path in SOURCES if path.parts[0] == "branches" and path.name == "config.py")


def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The modules that a file imports, wherever in it, with their lines; a relative import begins with a dot."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from ((f"{start}.{alias.name}", node.lineno) for alias in node.names)


def allowed(path: Path) -> tuple[str, ...]:
    """What a file may import of this project: names of modules, or of packages that it lies in."""
    return {"shared": ("shared",), "ensemble": ("shared", "ensemble")}.get(
        path.parts[0], ("shared", ".".join(path.parts[:2]))
    )


def faults(path: Path) -> list[str]:
    found = []
    for name, line in imported(path):
        ours = name.startswith(".") or name.split(".")[0] in (*ROOMS, "tests")
        if ours and not any(f"{name}.".startswith(f"{package}.") for package in allowed(path)):
            found.append(f"{path}:{line} imports {name}")
    return found


def test_shared_imports_only_shared_a_branch_only_shared_and_itself_the_ensemble_no_branch() -> None:
    assert SOURCES
    assert [fault for path in SOURCES for fault in faults(path)] == []


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("shared/x.py", "import branches.image.model"),
        ("shared/x.py", "def f():\n    from ensemble import train"),
        ("shared/x.py", "from . import run"),
        ("branches/image/x.py", "from branches.tfidf.config import Config"),
        ("branches/image/x.py", "from branches import tfidf"),
        ("branches/image/x.py", "import ensemble"),
        ("ensemble/x.py", "import branches.image.embed as e"),
        ("ensemble/x.py", "if 1:\n    from branches.image import embed"),
        ("ensemble/x.py", "import tests.conftest"),
    ],
)
def test_the_import_rule_sees_what_it_forbids(where: str, text: str, tmp_path: Path) -> None:
    path = Path(where)
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "ROOT", tmp_path)
        assert len(faults(path)) == 1


def test_a_module_is_imported_by_name_only_where_the_contract_says_so() -> None:
    """`import_module` gets round the rule above, so the places are counted."""
    users = {str(path) for path in SOURCES if "import_module" in (ROOT / path).read_text(encoding="utf-8")}
    assert users <= {"branches/stages.py", "shared/pipeline/settings.py", "shared/search/dot_products.py"}
    assert "cupyx" in (ROOT / "shared/search/dot_products.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("branch", BRANCHES, ids=str)
def test_a_branch_has_the_files_of_the_contract_and_no_others(branch: Path) -> None:
    found = {path.stem for path in SOURCES if path.is_relative_to(branch)}
    assert found >= CONTRACT
    assert found <= BRANCH_FILES
    assert all(path.parent == branch for path in SOURCES if path.is_relative_to(branch))


def test_every_folder_of_branches_is_a_branch() -> None:
    folders = {path.parent for path in SOURCES if path.parts[0] == "branches" and len(path.parts) > 2}
    assert folders == set(BRANCHES)


def test_nothing_reads_or_writes_pickle() -> None:
    banned = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert [(str(p), name) for p in SOURCES for name, _ in imported(p) if name.split(".")[0] in banned] == []


def called(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_torch_loads_weights_only_and_numpy_no_objects() -> None:
    for path in SOURCES:
        for name, call in called(path):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load":
                assert given.get("weights_only") == "True", f"{path}:{call.lineno}"
            assert given.get("allow_pickle", "False") == "False", f"{path}:{call.lineno}"
            assert name not in ("torch.save", "pd.read_pickle", "eval", "exec", "yaml.load"), f"{path}:{call.lineno}"
            assert not name.endswith(".to_pickle"), f"{path}:{call.lineno}"


def test_no_file_is_too_long_to_read() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_too_long_to_read() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_test_folders_are_no_packages() -> None:
    assert [path for path in TESTS if path.name == "__init__.py"] == []


def test_scripts_are_executable() -> None:
    for name in ("run_all.sh", "tests/run.sh", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111, name
        subprocess.run(["bash", "-n", ROOT / name], check=True)
