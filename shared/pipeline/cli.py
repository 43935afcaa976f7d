"""The options of all commands: `--run`, `--data`, `--config`, `--section.key=value`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from shared import processes
from shared.catalog.config import DataConfig
from shared.catalog.tables import FOLDER_ENDINGS
from shared.compute import ComputeConfig
from shared.config import weights_fields
from shared.errors import MatcherError
from shared.exits import ended
from shared.folders import is_same, kind_of, require_place, require_replaceable
from shared.pipeline.engine_options import ENGINE_OPTIONS, add_engine_options, held
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Sections, Settings, from_arguments, from_file, help_text, merge, parse_list

DEFAULT_RUN = Path("runs/default")
Parser = argparse.ArgumentParser
Arguments = argparse.Namespace


def open_run(arguments: Arguments) -> RunFolder:
    """Return the run folder that `--run` names.

    Examples:
        >>> open_run(Arguments(run=Path("runs/mine"))).folder.name
        'mine'
    """
    return RunFolder(arguments.run)


def _run_folder(text: str) -> Path:
    """Return the run folder that `--run` names.

    Raises:
        ArgumentTypeError: It is empty, as a variable of a script that was not set: not the folder that is called from.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it names no folder")
    return Path(text)


def _no_options(parser: Parser) -> None:
    pass


@dataclass(frozen=True)
class Command:
    """A command: its usage, its help text and its work.

    Args:
        usage: The command as it is typed.
        description: One sentence for `--help`.
        sections: All sections of the settings that it reads.
        shown: Names of those that `--help` lists.
        body: The work; gets the result of `opened`, the settings and the parsed options.
        carry: Whether it keeps settings of other sections that a run remembers or a file holds.
        options: Adds the command's own options.
        new_data: Whether `--data` names a catalog beside the run's own.
        opened: Returns the run folder, or another store, that the options name.
        holds: Returns whether the command with these options locks the run folder; one that only reads does not.
        makes: What `--out` may be already: `a bundle`, or nothing that is known.
        makes_file: Whether `--out` is a file, not a folder.
        force: Whether it has the option `--force`.
        follow: The work of the other processes of `torchrun` meanwhile; without it there can be none.
        stages: `shared` if it brings stages of the run up to date by `update_stages`, so that options say what does
            their shards, and jobs may share them; `alone` if it does other things as well, which one job alone may do.

    Examples:
        >>> Command("python -m tools.count", "Count listings.", {}, [], lambda run, settings, arguments: None).usage
        'python -m tools.count'
    """

    usage: str
    description: str
    sections: Sections
    shown: Sequence[str]
    body: Callable[[Any, Settings, Arguments], object]
    carry: bool = False
    options: Callable[[Parser], object] = _no_options
    new_data: bool = False
    opened: Callable[[Arguments], Any] = open_run
    holds: Callable[[Arguments], bool] = lambda arguments: True
    makes: str = ""
    makes_file: bool = False
    force: bool = True
    follow: Callable[[RunFolder, Settings], object] | None = None
    stages: Literal["", "shared", "alone"] = ""

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Read the arguments, do the work, and return the exit code; see `shared.exits`.

        Args:
            argv: Arguments; those of the process when None.
        """

        def work() -> None:
            with processes.connect():
                self._do(argv)

        return ended(work)

    def _do(self, argv: Sequence[str] | None) -> None:
        parser = self._parser()
        arguments, rest = parser.parse_known_args(argv)
        if not self.holds(arguments):
            _require_unset(parser, arguments)
        for name, value in vars(arguments).items():
            if isinstance(value, Path):  # a shell leaves the `~` of `--out=~/matches` as it is
                setattr(arguments, name, Path(os.path.expanduser(value)))
        store = self.opened(arguments)
        settings = self._settings(remembered(store.folder), arguments, rest)
        if processes.size() > 1 and self.follow is None:
            raise MatcherError("only branches.<name>.train runs under torchrun; start this command without it")
        self._check_places(store, settings, arguments)
        processes.take_device(settings[ComputeConfig])
        with threadpool_limits(settings[ComputeConfig].cpu_threads):
            if self.follow is not None and processes.rank() > 0:
                self.follow(store, settings)
                return
            with self._hold(store, settings, arguments):
                self.body(store, settings, arguments)
            processes.release()

    def _hold(self, store: Any, settings: Settings, arguments: Arguments) -> AbstractContextManager[None]:
        if not self.holds(arguments):
            return nullcontext()
        if self.stages and isinstance(store, RunFolder):
            return held(store, settings, arguments)
        hold: AbstractContextManager[None] = store.locked()
        return hold

    def _check_places(self, store: Any, settings: Settings, arguments: Arguments) -> None:
        """Raise an error where something would be written to what is read.

        Raises:
            MatcherError: `--out`, `--index` or `--run` is, contains or lies within it, or is or lies within something
                else.
        """
        options = vars(arguments)
        out, index, bundle = options.get("out"), options.get("index"), options.get("bundle")
        of_store = f"the {'run' if isinstance(store, RunFolder) else 'bundle'}"
        catalogs = _catalogs(settings)
        read = [(of_store, store.folder), *catalogs, *([] if bundle is None else [("the bundle", bundle)])]
        if out is not None:
            require_place(out, read if index is None else [*read, ("the index", index)], self.makes)
            if not self.makes_file:
                require_replaceable(out)
        if index is not None:
            require_place(index, read, "an index")
        if isinstance(store, RunFolder):
            if any(is_same(store.folder, path) for path in [*_named(settings), *(path for _, path in catalogs)]):
                raise MatcherError(f"the run folder {store.folder} is the catalog; name another folder with --run")
            if kind_of(store.folder) not in ("", "a run"):
                raise MatcherError(f"the run folder {store.folder} is {kind_of(store.folder)}; name another one")
            require_place(store.folder, [] if bundle is None else [("the bundle", bundle)], "a run")

    def _parser(self) -> Parser:
        parser = Parser(self.usage, description=self.description, allow_abbrev=False)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = "settings, as --section.key=value (defaults shown):\n" + help_text(self.sections, self.shown)
        run_help = f"run folder (default: {DEFAULT_RUN})"
        parser.add_argument("--run", type=_run_folder, default=DEFAULT_RUN, help=run_help)
        data_help = (
            "catalog to work on, beside the run's own"
            if self.new_data
            else "catalog: a folder, a table, or `demo`; A,B: several catalogs that train one system"
        )
        parser.add_argument("--data", help=f"{data_help}; short for --data.path")
        parser.add_argument("--config", type=Path, help="YAML or JSON file of settings")
        if self.force:
            force = "run finished stages again even if nothing changed"
            parser.add_argument("--force", action="store_true", help=force)
        self.options(parser)
        if self.stages:
            add_engine_options(parser, jobs=self.stages == "shared")
        return parser

    def _settings(self, base: dict[str, dict[str, Any]], arguments: Arguments, rest: Sequence[str]) -> Settings:
        """Return the settings of this call over those that the run remembers."""
        of_option = {} if arguments.data is None else {"data": {"path": arguments.data}}
        of_file = self._known(arguments.config, from_file(arguments.config)) if arguments.config else {}
        values = merge(of_file, of_option, from_arguments(rest, self.sections))
        data = values.get("data", {})
        if "path" in data:
            data["path"] = _data_paths(data["path"])
        if isinstance(data.get("images"), str):
            data["images"] = _image_folder(data["images"], data.get("path", base.get("data", {}).get("path")))
        for section, key in (("start", "bundle"), ("review", "answers")):
            if path := values.get(section, {}).get(key):
                values[section][key] = _absolute(str(path))
        for section, keys in values.items():
            if isinstance(keys.get("extra"), list):
                keys["extra"] = [_absolute(str(path)) for path in keys["extra"]]
            for key in weights_fields(self.sections[section]) if section in self.sections else ():
                if isinstance(keys.get(key), str) and keys[key] not in ("", self.sections[section]().model_dump()[key]):
                    keys[key] = _weights(keys[key])
        if "path" in data:  # these belong to the data that they were given with
            for key in ("images", "follow_links", "duplicates", "encoding"):
                base.get("data", {}).pop(key, None)
        return Settings(merge(base, values), self.sections, carry=self.carry)

    def _known(self, file: Path, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return the sections of a file that this command has; say which others are not read where it carries any."""
        others = [name for name in values if name not in self.sections]
        if self.carry and others:
            print(f"{file}: not read by this command: {', '.join(others)}; give the file to ./run_all.sh as well")
            return {name: keys for name, keys in values.items() if name not in others}
        return values


def run_subcommand(usage: str, commands: Mapping[str, Command], argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names; see `Command.run`.

    Args:
        usage: The part of the command before the name, such as `python -m ensemble.index`.
        commands: The commands by name.
        argv: Arguments; those of the process when None.

    Examples:
        >>> run_subcommand("python -m ensemble.index", {}, ["--help"])
        0
    """
    name, *rest = (sys.argv[1:] if argv is None else list(argv)) or [""]
    if name in commands:
        return commands[name].run(rest)
    lines = [f"  {usage} {name:<8} {command.description}" for name, command in commands.items()]
    print("\n".join(["usage:", *lines, f"\n{usage} NAME --help shows the options"]), file=sys.stderr)
    return 0 if name in ("-h", "--help") else 2


def _require_unset(parser: Parser, arguments: Arguments) -> None:
    """Raise an error if an option is set that has a meaning for the stages of a run alone.

    Raises:
        MatcherError: One is set.
    """
    options = vars(arguments)
    names = [name for name in ("force", *ENGINE_OPTIONS) if options.get(name) not in (None, parser.get_default(name))]
    if names:
        raise MatcherError(
            f"--{names[0]} does nothing here: it is for the stages of a run, and with these options the command does "
            f"none of them; leave out {' and '.join(f'--{name}' for name in names)}"
        )


def _catalogs(settings: Settings) -> list[tuple[str, Path]]:
    """Return the tables and image folders that are read, each in words and with its path.

    A folder in Kaggle layout may hold results beside them.
    """
    places: list[tuple[str, Path]] = []
    for path in _named(settings):
        data = settings[DataConfig]
        folder = path if path.is_dir() else path.parent
        tables = (
            [folder / f"{kind}{end}" for kind in ("train", "test") for end in FOLDER_ENDINGS]
            if path.is_dir()
            else [path]
        )
        places += [("the table", table) for table in tables if table.is_file()]
        names = (data.images, "images", *(f"{table.name.partition('.')[0]}_images" for table in tables))
        images = [folder / name for name in names if name] + ([Path(data.images)] if data.images else [])
        places += [("the image folder", at) for at in images if at.is_dir() and not is_same(at, folder)]
    return list(dict.fromkeys(places))


def _named(settings: Settings) -> list[Path]:
    """Return the folders and tables that the settings name."""
    reads_data = DataConfig in settings.sections.values()
    return [Path(path) for path in settings[DataConfig].paths if path != "demo"] if reads_data else []


def _image_folder(images: str, data: object) -> str:
    """Return an image folder such that it means the same in any folder: as it is if it lies beside the data."""
    paths = [data] if isinstance(data, str) else data if isinstance(data, list) else []
    places = [place for path in map(Path, paths) for place in (path, path.parent)]
    if not images or any((place / images).is_dir() for place in places):
        return images
    folder = _absolute(images)
    return folder if Path(folder).is_dir() else images


def _weights(name: str) -> str:
    """Return the name of a network as it is, or the absolute path of the folder that it names."""
    return _absolute(name) if name.startswith("~") or Path(name).is_dir() else name


def _data_paths(value: Any) -> Any:
    """Return the path of a catalog, or the paths of several, absolute but for `demo`.

    Args:
        value: As it was given; `A,B` names two unless it is itself a path that exists. What is no text and no list of
            texts is returned as it is, for the section to refuse.
    """
    parts = value if isinstance(value, list) else [value]
    if isinstance(value, str) and ("," in value or value.startswith("[")):
        parts = [value] if os.path.exists(os.path.expanduser(value)) else parse_list("data.path", value) or [value]
    if not parts or not all(isinstance(part, str) for part in parts):
        return value
    if any(not part.strip() for part in parts):  # such as a variable of a script that was not set
        raise MatcherError("--data (data.path) is empty; name a folder, a table, or `demo`")
    paths = [part if part == "demo" else _absolute(part) for part in parts]
    return paths[0] if len(paths) == 1 else paths


def _absolute(path: str) -> str:
    """Return an absolute path, which means the same wherever the next command starts, in one spelling.

    `a/../b` becomes `b` unless `a` is a link to another place, where `..` means what is above that place. Links stay
    links: they may lead elsewhere tomorrow.
    """
    whole = str(Path(os.path.expanduser(path)).absolute())
    plain = os.path.normpath(whole)
    return plain if is_same(Path(plain), Path(whole)) else whole
