"""Settings of a run: defaults < what the run folder remembers < `--config FILE` < `--section.key=value`.

Every part of the project declares its settings as a `ConfigSection` beside its code. The list of
sections is made where the parts are put together: in `branches/cli.py` for the commands of a branch, in
`ensemble/sections.py` for all others.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import ValidationError

from shared.artifacts import parse_json
from shared.config import ConfigSection
from shared.errors import MatcherError, raise_faults

MAX_YAML_BYTES, MAX_YAML_DEPTH = 2**20, 32
S = TypeVar("S", bound=ConfigSection)
Values = Mapping[str, Mapping[str, Any]]
Sections = Mapping[str, type[ConfigSection]]


class Settings:
    """The settings of one run, checked as a whole.

    Args:
        values: section → key → value; missing keys take their defaults.
        sections: All sections by name, in the order in which `--help` shows them.
        carry: Whether sections of other names are kept in `values` unread, instead of refused.
        defaults: section → key → value, taken before a section's own default; they are not among `values`.

    Raises:
        MatcherError: Lists every unknown name and every bad value.

    Examples:
        >>> from shared.compute import ComputeConfig
        >>> Settings({"compute": {"threads": 2}}, {"compute": ComputeConfig})[ComputeConfig].threads
        2
    """

    def __init__(
        self, values: Values, sections: Sections, *, carry: bool = False, defaults: Values | None = None
    ) -> None:
        faults: list[str] = []
        self.values = {section: dict(keys) for section, keys in values.items() if keys}
        self.sections, self._carry, self._defaults = sections, carry, defaults or {}
        used = merge(self._defaults, self.values)
        for name in values:
            if name not in sections and not carry:
                faults.append(f"there is no section {name!r}{nearest(name, sections)}")
        self._by_class: dict[type[ConfigSection], ConfigSection] = {}
        for name, cls in sections.items():
            try:
                self._by_class[cls] = cls(**_text_keys(used.get(name)))
            except ValidationError as error:
                faults += [_fault(name, cls, dict(e)) for e in error.errors()]
        raise_faults("settings", faults)

    def __getitem__(self, cls: type[S]) -> S:
        """Return the section of a class: `settings[SplitConfig].folds`."""
        section = self._by_class[cls]
        assert isinstance(section, cls)
        return section

    def name_of(self, cls: type[ConfigSection]) -> str:
        """Return the name of the section of a class."""
        return next(name for name, other in self.sections.items() if other is cls)

    def changed(self, *changes: Values) -> Settings:
        """Return the same settings but for some values."""
        return Settings(merge(self.values, *changes), self.sections, carry=self._carry, defaults=self._defaults)

    def over(self, defaults: Values) -> Settings:
        """Return the same settings with other defaults; those of sections that there are not are left out."""
        used = {name: keys for name, keys in defaults.items() if name in self.sections}
        return Settings(self.values, self.sections, carry=self._carry, defaults=used)


def _text_keys(keys: Mapping[str, Any] | None) -> dict[str, Any]:
    return {str(key): value for key, value in (keys or {}).items()}


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: a similar name, or else all names.

    Examples:
        >>> nearest("fold", ["folds", "holdout"])
        "; did you mean 'folds'?"
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(names)}"


def _fault(section: str, cls: type[ConfigSection], error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"there is no setting {section}.{key}{nearest(key, cls.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    value = f".{key}={error['input']!r}" if key else ""
    return f"{section}{value}: {message[0].lower()}{message[1:]}"


def merge(*layers: Values) -> dict[str, dict[str, Any]]:
    """Return the values of all layers; later layers replace earlier ones, key by key.

    Examples:
        >>> merge({"tune": {"thresholds": 100}}, {"tune": {"thresholds": 50}, "compute": {"seed": 1}})
        {'tune': {'thresholds': 50}, 'compute': {'seed': 1}}
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, keys in layer.items():
            merged.setdefault(section, {}).update(keys)
    return merged


# section → keys that hold for one machine or one catalog
MACHINE = {
    "data": ("path", "images", "follow_links", "duplicates", "encoding"),
    "review": ("answers",),
    "compute": ("device", "threads"),
}


def portable(values: Values, with_weights: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return settings without those that hold for one machine or catalog only: paths of data, device, threads.

    Args:
        values: section → key → value.
        with_weights: Sections in which a value may be the path of pretrained weights.

    Examples:
        >>> portable({"data": {"path": "/home/me/photos", "max_pixels": 100}}, with_weights=[])
        {'data': {'max_pixels': 100}}
    """
    result: dict[str, dict[str, Any]] = {}
    for section, keys in values.items():
        left_out = (*MACHINE.get(section, ()), "extra")
        places = {key for key, value in keys.items() if section in with_weights and _is_place(value)}
        result[section] = {key: value for key, value in keys.items() if key not in left_out and key not in places}
    return {section: keys for section, keys in result.items() if keys}


def _is_place(value: Any) -> bool:
    """Return whether a value, such as the name of a pretrained network, is a path on this machine."""
    path = Path(value).expanduser() if isinstance(value, str) and value else None
    return path is not None and (path.is_absolute() or path.is_dir())


def from_arguments(arguments: Iterable[str], sections: Sections) -> dict[str, dict[str, Any]]:
    """Return the values of `--section.key=value` arguments; a list is written `a,b` or `[a, b]`.

    Raises:
        MatcherError: An argument has another form, or names a section that this command does not have.

    Examples:
        >>> from shared.compute import ComputeConfig
        >>> from_arguments(["--compute.threads=2"], {"compute": ComputeConfig})
        {'compute': {'threads': '2'}}
    """
    values: dict[str, dict[str, Any]] = {}
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        section, dot, key = name.partition(".")
        if not (argument.startswith("--") and equals and dot and section and key):
            raise MatcherError(f"cannot read {argument!r}: settings are given as --section.key=value; see --help")
        if section not in sections:
            advice = nearest(section, sections)
            raise MatcherError(f"{section}.{key} is not a setting of this command{advice}; ./run_all.sh takes all")
        values.setdefault(section, {})[key] = _value(sections[section], section, key, text)
    return values


def _value(cls: type[ConfigSection], section: str, key: str, text: str) -> Any:
    info = cls.model_fields.get(key)
    if info is not None and get_origin(info.annotation) in (list, tuple):
        return parse_list(f"{section}.{key}", text)
    return None if text == "null" and info is not None and type(None) in get_args(info.annotation) else text


def parse_list(name: str, text: str) -> Any:
    """Return the parts of a list that is written `a,b` or `[a, b]`.

    Args:
        name: The setting, for errors.
        text: The list.

    Raises:
        MatcherError: It begins as `[a, b]` does and goes on in another way.

    Examples:
        >>> parse_list("data.path", "shop.csv,demo")
        ['shop.csv', 'demo']
    """
    if not text.startswith("["):
        return [part for part in text.split(",") if part]
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise MatcherError(f"cannot read --{name}={text}: a list is written a,b or [a, b]") from error


def from_file(path: Path) -> dict[str, dict[str, Any]]:
    """Return the values of a YAML or JSON settings file: section → key → value.

    Raises:
        MatcherError: The file cannot be read, is not YAML, or is not made of sections.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "quick.yaml"
        ...     _ = path.write_text("{compute: {threads: 2}}")
        ...     from_file(path)
        {'compute': {'threads': 2}}
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
        if len(data) > MAX_YAML_BYTES:
            raise ValueError(f"it is larger than {MAX_YAML_BYTES:,} bytes")
        loaded = _parsed(data)
    except OSError as error:
        raise MatcherError(f"cannot read the settings file {path}: {error.strerror}") from error
    except ValueError as error:
        raise MatcherError(f"{path} is not valid YAML: {error}") from error
    return _checked(path, {} if loaded is None else loaded)


def _parsed(data: bytes) -> Any:
    """Return the value of a settings file; JSON apart, of which YAML takes no tabs and no pairs of surrogates."""
    if data.lstrip().startswith(b"{"):
        with suppress(ValueError):
            return parse_json(data)
    return parse_yaml(data.decode("utf-8"))


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text that needs no more than settings do.

    Raises:
        ValueError: It is no YAML, nested deeper than `MAX_YAML_DEPTH`, holds a key twice, or refers to a part of itself
            (`*name`), which a few lines could grow to gigabytes with.

    Examples:
        >>> parse_yaml("compute: {threads: 2}")
        {'compute': {'threads': 2}}
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_YAML_DEPTH:
                raise ValueError(f"it is nested deeper than {MAX_YAML_DEPTH}")
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"it refers to a part of itself (*{event.anchor})")
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError, OverflowError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(str(error)) from error  # PyYAML raises all of these, such as for `!!int ''` and `!!bool x`


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key, count in counts.items() if count > 1]:
            raise ValueError(f"it holds the key {twice[0][:40]!r} twice")
        return super().construct_mapping(node, deep)


def _checked(path: Path, loaded: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(loaded, dict) or not all(isinstance(keys, dict) for keys in loaded.values()):
        raise MatcherError(f"{path}: settings are sections with keys, such as\n  image:\n    epochs: 8")
    return {str(section): _text_keys(keys) for section, keys in loaded.items()}


def help_text(sections: Sections, names: Iterable[str]) -> str:
    """Return some sections of the settings with their defaults and meaning, for `--help`.

    Examples:
        >>> from shared.compute import ComputeConfig
        >>> "--compute.threads=0" in help_text({"compute": ComputeConfig}, ["compute"])
        True
    """
    lines = []
    for name in names:
        cls = sections[name]
        lines.append(f"\n{name}: {(cls.__doc__ or '').strip().splitlines()[0].removeprefix(f'Section `{name}`: ')}")
        for key, info in cls.model_fields.items():
            value = info.get_default(call_default_factory=True)
            default = (
                ",".join(map(str, value))
                if isinstance(value, list)
                else json.dumps(value, ensure_ascii=False, default=str)
            )
            lines.append(f"  --{name}.{key}={default}\n        {info.description}")
    return "\n".join(lines)
