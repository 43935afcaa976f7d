"""A digest of the code that a stage's result depends on: some modules, and all they import of this project.

Text for people does not count: comments, docstrings, the `description` of settings, arguments of `print` and `say`, and
functions with the name `in_words`. So a change in a help text or a progress line makes no stage run again.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shared.artifacts import digest

PROJECT = ("shared", "branches", "ensemble")
SPEECH = ("print", "say")  # functions whose arguments are words for people
COMMAND = ("__name__ ==", "sys.argv[:1] == ['-m']", "TYPE_CHECKING")  # what an `if` begins with that a stage ignores
WORDING = ("in_words", "_in_words")  # functions that put numbers into words for people


def code_digest(modules: Iterable[str], work: Callable[..., Any] | None = None, *more: Callable[..., Any]) -> str:
    """Return the digest of some modules with all they import of this project, however deep, 64 hex digits.

    Args:
        modules: Names of modules, such as `ensemble.scorer.training`.
        work: A function whose own source counts as well, with that of the functions of its module that it calls
            (`helpers`), but not the imports of its module.
        more: More such functions.

    Examples:
        >>> len(code_digest(["shared.titles"]))
        64
    """
    sources = {name: _module(name)[0] for name in closure(modules)}
    return digest([sources, None if work is None else _function(work), *map(_function, more)])


def closure(modules: Iterable[str]) -> set[str]:
    """Return the names of modules and of all modules of this project that they import, directly or not.

    Examples:
        >>> closure(["shared.errors"])
        {'shared.errors'}
    """
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name not in seen and _path(name) is not None:
            seen.add(name)
            queue += _module(name)[1]
    return seen


_loaded: dict[str, tuple[str, tuple[str, ...]]] = {}  # of modules that are imported: their files may change later


def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a module's digest and the names that it imports from this project."""
    if name in _loaded:
        return _loaded[name]
    path = _path(name)
    assert path is not None
    found = _parsed(path, path.stat().st_mtime_ns)
    if name in sys.modules:
        _loaded[name] = found
    return found


@cache
def _parsed(path: Path, modified: int) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a file, as it is since some time, and the names that it imports from this project."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _is_command(node)]
    return digest(_canonical(tree)), tuple(_imports(tree))


def helpers(work: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the functions of its own module that a function names, directly or by way of another one, by name.

    Those that have no name of their own in the module, such as a lambda, are left out.

    Examples:
        >>> [helper.__name__ for helper in helpers(_canonical)]
        ['_is_text', '_name']
    """
    found: dict[str, Callable[..., Any]] = {work.__name__: work}
    queue = [inspect.unwrap(work)]
    while queue:
        function = queue.pop()
        names = {node.id for node in ast.walk(_function_tree(function)) if isinstance(node, ast.Name)}
        for name in sorted(names - found.keys()):
            value = function.__globals__.get(name)
            value = inspect.unwrap(value) if callable(value) else None
            if inspect.isfunction(value) and value.__module__ == work.__module__ and value.__qualname__.isidentifier():
                found[name] = value
                queue.append(value)
    del found[work.__name__]
    return [found[name] for name in sorted(found)]


@cache
def _function(work: Callable[..., Any]) -> str:
    texts = [_canonical(_function_tree(each)) for each in (work, *helpers(work))]
    return digest(texts if len(texts) > 1 else texts[0])


def _function_tree(function: Callable[..., Any]) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(function)))


@cache
def _path(module: str) -> Path | None:
    """Return the file of a module of this project; None if the name is no module of it, but for example a class."""
    top, *rest = module.split(".")
    if top not in PROJECT:
        return None
    spec = find_spec(top)
    assert spec is not None
    for folder in spec.submodule_search_locations or []:
        base = Path(folder).joinpath(*rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _is_command(node: ast.stmt) -> bool:
    """Return whether code runs in a command alone, or for type checkers."""
    return isinstance(node, ast.If) and ast.unparse(node.test).startswith(COMMAND)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PROJECT:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PROJECT)


def _canonical(tree: ast.Module) -> str:
    """Return the code as text in one form, without text for people."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
        if isinstance(node, ast.FunctionDef) and node.name in WORDING:
            node.body = []
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
            if _name(node.func) in SPEECH:
                node.args, node.keywords = [], []
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
