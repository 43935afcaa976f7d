"""Settings of a run: defaults < what the run folder remembers < `--config FILE` < `--section.key=value`.

Every stage declares its settings as a `ConfigSection` beside its code. They are found by name, so a new branch's
section appears here without a line being changed: `shared.*` and `ensemble.config` name theirs, a branch has
`branches/<name>/config.py` with a class `Config`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError

from shared.catalog.reader import DataConfig
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import BranchConfig, ConfigSection
from shared.demo.config import DemoConfig
from shared.errors import ArtifactError, MatcherError, raise_faults

S = TypeVar("S", bound=ConfigSection)
Values = Mapping[str, Mapping[str, Any]]
ROOT = Path(__file__).resolve().parents[2]


def branch_names() -> list[str]:
    """The branches there are: the folders of `branches/` that have a `config.py`."""
    return sorted(path.parent.name for path in (ROOT / "branches").glob("*/config.py"))


@cache
def section_classes() -> dict[str, type[ConfigSection]]:
    """Every section of the settings by name, in the order in which `--help` shows them."""
    sections: dict[str, type[ConfigSection]] = {"data": DataConfig, "demo": DemoConfig, "split": SplitConfig}
    sections |= {name: import_module(f"branches.{name}.config").Config for name in branch_names()}
    sections |= import_module("ensemble.config").SECTIONS
    return sections | {"compute": ComputeConfig}


class Settings:
    """The settings of one run, checked as a whole.

    Args:
        values: section → key → value, as given; keys that are not given take their default.

    Raises:
        MatcherError: Lists every unknown name and every bad value.
    """

    def __init__(self, values: Values) -> None:
        faults: list[str] = []
        self.values = {section: dict(keys) for section, keys in values.items() if keys}
        classes = section_classes()
        for name in values:
            if name not in classes:
                faults.append(f"there is no section {name!r}{_nearest(name, classes)}")
        self._sections: dict[str, ConfigSection] = {}
        for name, cls in classes.items():
            try:
                self._sections[name] = cls(**_keys(self.values.get(name)))
            except ValidationError as error:
                faults += [_fault(name, cls, dict(e)) for e in error.errors()]
        raise_faults("settings", faults)

    def __getitem__(self, cls: type[S]) -> S:
        """The section of a class: `settings[SplitConfig].folds`."""
        return next(section for section in self._sections.values() if type(section) is cls)

    def branch(self, name: str) -> BranchConfig:
        """The settings of a branch.

        Raises:
            MatcherError: There is no such branch.
        """
        if name not in branch_names():
            raise MatcherError(f"there is no branch {name!r}{_nearest(name, branch_names())}")
        section = self._sections[name]
        assert isinstance(section, BranchConfig)
        return section


def _keys(given: Mapping[str, Any] | None) -> dict[str, Any]:
    return {str(key): value for key, value in (given or {}).items()}


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names)}"


def _fault(section: str, cls: type[ConfigSection], error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"there is no setting {section}.{key}{_nearest(key, cls.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    given = f".{key}={error['input']!r}" if key else ""
    return f"{section}{given}: {message[0].lower()}{message[1:]}"


def merge(*layers: Values) -> dict[str, dict[str, Any]]:
    """Lay later values over earlier ones, key by key."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, keys in layer.items():
            merged.setdefault(section, {}).update(keys)
    return merged


MACHINE = {"data": ("path", "images"), "compute": ("device", "threads")}  # section → keys that speak of one machine


def portable(values: Values) -> dict[str, dict[str, Any]]:
    """Settings without what means something on one machine only: places of data and weights, processor, threads."""
    kept: dict[str, dict[str, Any]] = {}
    for section, keys in values.items():
        left_out = (*MACHINE.get(section, ()), "extra")
        placed = {key for key, value in keys.items() if section in branch_names() and _is_place(value)}
        kept[section] = {key: value for key, value in keys.items() if key not in left_out and key not in placed}
    return {section: keys for section, keys in kept.items() if keys}


def _is_place(value: Any) -> bool:
    """Whether a branch's setting, such as the name of a pretrained network, is a path on this machine."""
    path = Path(value).expanduser() if isinstance(value, str) and value else None
    return path is not None and (path.is_absolute() or path.is_dir())


def from_arguments(arguments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Read `--section.key=value` arguments; a list is written `a,b` or `[a, b]`.

    Raises:
        MatcherError: An argument of another form.
    """
    values: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        section, dot, key = name.partition(".")
        if not (argument.startswith("--") and equals and dot and section and key):
            raise MatcherError(f"cannot read {argument!r}: settings are given as --section.key=value; see --help")
        values.setdefault(section, {})[key] = _value(section, key, text)
    return values


def _value(section: str, key: str, text: str) -> Any:
    cls = section_classes().get(section)
    info = cls.model_fields.get(key) if cls else None
    if info is not None and get_origin(info.annotation) in (list, tuple):
        return _yaml_list(f"{section}.{key}", text) if text.startswith("[") else [p for p in text.split(",") if p]
    return None if text == "null" and info is not None and type(None) in get_args(info.annotation) else text


def _yaml_list(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise MatcherError(f"cannot read --{name}={text}: a list is written a,b or [a, b]") from error


def from_file(path: Path) -> dict[str, dict[str, Any]]:
    """Read a YAML or JSON settings file: sections with keys.

    Raises:
        MatcherError: The file cannot be read, is not YAML, or is not made of sections.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MatcherError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MatcherError(f"{path} is not valid YAML: {error}") from error
    return _sections(path, {} if loaded is None else loaded)


def _sections(path: Path, loaded: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(loaded, dict) or not all(isinstance(keys, dict) for keys in loaded.values()):
        raise MatcherError(f"{path}: settings are sections with keys, such as\n  image:\n    epochs: 8")
    return {str(section): _keys(keys) for section, keys in loaded.items()}


def remembered(run: Path) -> dict[str, dict[str, Any]]:
    """The settings that earlier commands gave to a run folder.

    Raises:
        ArtifactError: They are damaged.
    """
    path = run / "settings.json"
    try:
        return _sections(path, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}); remove it and give the run's settings again") from error


def help_text(sections: Iterable[str]) -> str:
    """The settings of some sections with their defaults and meaning, for `--help`."""
    lines = []
    for name in sections:
        cls = section_classes()[name]
        lines.append(
            f"\n{name}: {(cls.__doc__ or '').strip().splitlines()[0].removeprefix(f'ConfigSection `{name}`: ')}"
        )
        for key, info in cls.model_fields.items():
            value = info.get_default(call_default_factory=True)
            default = ",".join(value) if isinstance(value, list) else json.dumps(value, ensure_ascii=False, default=str)
            lines.append(f"  --{name}.{key}={default}\n        {info.description}")
    return "\n".join(lines)
