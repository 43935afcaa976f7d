"""What changes the digest of a stage's code, and what only people read."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.pipeline import code_digest as digests
from shared.pipeline.code_digest import PROJECT, closure, code_digest, helpers
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage

TOP = """
import os
from shared import middle
from shared.plain import value

def add(left, right):
    return left + right
"""
SOURCES = {
    "shared/__init__.py": "",
    "shared/top.py": TOP,
    "shared/plain.py": "value = 1\n",
    "shared/middle.py": "def later():\n    import shared.deep.leaf as leaf\n    from branches import some\n",
    "shared/deep/__init__.py": "",
    "shared/deep/leaf.py": "import shared.top\n",  # a ring of imports
    "shared/stranger.py": "x = 1\n",
    "branches/__init__.py": "",
    "branches/some/__init__.py": "y = 1\n",
    "ensemble/__init__.py": "",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which `shared.top` imports the others, one by way of another."""
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def find(top: str) -> Any:
        return importlib.util.spec_from_file_location(
            top, tmp_path / top / "__init__.py", submodule_search_locations=[str(tmp_path / top)]
        )

    monkeypatch.setattr(digests, "find_spec", find)
    return tmp_path


@pytest.fixture
def now(project: Path) -> Iterator[Callable[..., str]]:
    """The digest of `shared.top`, or of others, as a new process sees it."""

    def digest(*modules: str) -> str:
        forget()
        return code_digest(modules or ("shared.top",))

    yield digest
    forget()


def forget() -> None:
    """Forget what this process has read, as a new one has read nothing."""
    digests._loaded.clear()
    for cached in (digests._parsed, digests._path, digests._function):
        cached.cache_clear()


def test_closure(now: Callable[..., str]) -> None:
    now()
    expected = {"shared", "shared.top", "shared.middle", "shared.plain", "shared.deep.leaf"}
    assert closure(["shared.top"]) == expected | {"branches", "branches.some"}
    assert closure(["shared.plain", "numpy", "shared.no_such_module"]) == {"shared.plain"}


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("shared/top.py", True),
        ("shared/plain.py", True),
        ("shared/middle.py", True),
        ("shared/deep/leaf.py", True),
        ("branches/some/__init__.py", True),
        ("shared/stranger.py", False),
    ],
)
def test_imported_module(project: Path, now: Callable[..., str], changed: str, matters: bool) -> None:
    before = now()
    path = project / changed
    os.utime(path, (1, 1))
    assert now() == before
    path.write_text(path.read_text() + "more = 2\n")
    assert (now() != before) == matters


UNREAD = {
    "comment": ("", "# a comment\n"),
    "docstring of a module": ("", '"""About it."""\n'),
    "docstring of a function": ("def f():\n    return 1\n", 'def f():\n    """About it."""\n    return 1\n'),
    "docstring reworded": ('class C:\n    """One."""\n    x = 1\n', 'class C:\n    """Other."""\n    x = 1\n'),
    "layout": ("y = f(1, 2)\n", "y = f(\n    1,\n    2,\n)\n"),
    "description of a setting": ("y = Field(1, description='one')\n", "y = Field(1, description='other')\n"),
    "print": ("print('one')\n", "print('other', file=x)\n"),
    "say": ("run.say(f'one {1}')\n", "run.say(f'other {2}')\n"),
    "command": ("", "if __name__ == '__main__':\n    from shared.stranger import x\n    x()\n"),
    "types": ("", "if TYPE_CHECKING:\n    from shared.stranger import x\n"),
}
READ = {
    "number": ("x = 1\n", "x = 2\n"),
    "text": ("x = 'one'\n", "x = 'other'\n"),
    "text in a call": ("f('one')\n", "f('other')\n"),
    "text in a message": ("x = f'one {y}'\n", "x = f'other {y}'\n"),
    "text that is no docstring": ("def f():\n    return 'one'\n", "def f():\n    return 'other'\n"),
    "name of an argument": ("def f(a):\n    return a\n", "def f(b):\n    return b\n"),
    "annotation": ("def f(a: int): ...\n", "def f(a: float): ...\n"),
    "bound of a setting": ("y = Field(1, ge=0)\n", "y = Field(1, ge=1)\n"),
    "result of print": ("x = print\n", "x = say\n"),
    "condition": ("if x:\n    f()\n", "if not x:\n    f()\n"),
    "order": ("f()\ng()\n", "g()\nf()\n"),
}


@pytest.mark.parametrize("case", UNREAD)
def test_what_only_people_read(project: Path, now: Callable[..., str], case: str) -> None:
    one, other = digests_of(project, now, *UNREAD[case])
    assert one == other


@pytest.mark.parametrize("case", READ)
def test_what_the_interpreter_reads(project: Path, now: Callable[..., str], case: str) -> None:
    one, other = digests_of(project, now, *READ[case])
    assert one != other


def digests_of(project: Path, now: Callable[..., str], *sources: str) -> list[str]:
    made = []
    for source in sources:
        (project / "shared" / "top.py").write_text(source + TOP)
        made.append(now())
    return made


def test_order_of_modules(now: Callable[..., str]) -> None:
    assert now("shared.top", "shared.stranger") == now("shared.stranger", "shared.top") != now("shared.top")


@pytest.mark.parametrize("is_loaded", [True, False])
def test_code_that_is_edited_while_a_run_works_counts_as_it_was_loaded(
    project: Path, now: Callable[..., str], run: RunFolder, is_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = "shared/plain.py"
    if is_loaded:
        for name in ("shared.top", "shared.plain", "shared.middle", "shared.deep.leaf"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))

    def edit(inputs: Any, config: Any, out: Path) -> dict[str, int]:
        (project / edited).write_text("value = 2\n")
        return {}

    def later(inputs: Any, config: Any, out: Path) -> dict[str, int]:
        return {}

    now()
    graph = Graph([Stage("first", edit, code=()), Stage("later", later, code=("shared.top",), reads=("first",))])
    before = code_digest(("shared.top",), later)
    forget()
    bring_up_to_date(run, Settings({}, {}), graph, ["later"])
    assert ((run.manifest("later") or {})["key"]["code"] == before) == is_loaded


# --- the work of a stage ---------------------------------------------------------------------------------------------


def work(out: Path) -> dict[str, int]:
    return {"n": 1}


def test_source_of_the_work() -> None:
    def other(out: Path) -> dict[str, int]:
        return {"n": 2}

    def renamed(out: Path) -> dict[str, int]:
        return {"n": 1}

    of_work = code_digest((), work)
    assert len({code_digest(()), of_work, code_digest((), other), code_digest((), renamed)}) == 4
    assert code_digest(("shared.errors",), work) != of_work


def test_source_of_the_work_what_only_people_read() -> None:
    def work(out: Path) -> dict[str, int]:
        """Reworded."""
        # a comment
        return {"n": 1}

    assert code_digest((), work) == code_digest((), globals()["work"])


def test_modules_of_this_project_are_found() -> None:
    for module in ("shared.catalog.split", "shared.demo", "branches.image.train", "ensemble.scorer.training"):
        assert module in closure([module])
        assert module.split(".")[0] in PROJECT


def counted(out: Path) -> dict[str, int]:
    return {"n": _number(out)}


def _number(out: Path) -> int:
    return _one() + len(out.parts)


def _one() -> int:
    return 1


def _another_one() -> int:
    return 2


def test_source_of_the_functions_that_the_work_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert helpers(counted) == [_number, _one]
    before = code_digest((), counted)
    monkeypatch.setitem(globals(), "_one", _another_one)
    digests._function.cache_clear()
    assert code_digest((), counted) != before
    digests._function.cache_clear()
