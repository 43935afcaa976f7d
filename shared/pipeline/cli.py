"""What all commands share: `--run`, `--data`, `--config`, `--section.key=value`, `--help`, errors and exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from safetensors import SafetensorError
from threadpoolctl import threadpool_limits

from shared import processes
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, from_arguments, from_file, help_text, merge, remembered

DEFAULT_RUN = Path("runs/default")
Body = Callable[[Run, Settings, argparse.Namespace], None]
Follow = Callable[[Run, Settings], None]


def command(
    body: Body,
    description: str,
    sections: Sequence[str],
    *,
    usage: str,
    new_data: bool = False,
    only_reads: Callable[[argparse.Namespace], bool] = lambda arguments: arguments.data is not None,
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    opened: Callable[[argparse.Namespace], Run] = lambda arguments: Run(arguments.run),
    follow: Follow | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Read the arguments, do the work, and turn what goes wrong into one message.

    Args:
        body: The work; gets the run folder, the settings, and the parsed options.
        description: One sentence for `--help`.
        sections: Sections of the settings that `--help` lists.
        usage: The command as it is typed.
        new_data: Whether `--data` names a new catalog, which the run does not take as its own.
        only_reads: With `new_data`, whether by its options the command only reads the run, and does not hold it alone.
        options: Adds the command's own options.
        opened: Opens what they name as the run.
        follow: What the other processes of `torchrun` do while the first does the work; without it there can be none.
        argv: Arguments; those of the process when None.

    Returns:
        The exit code: 0, 2 for bad input or settings, 3 for a bad artifact, 130 for an interrupt.
    """
    parser = _parser(description, usage, new_data, options)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with processes.connect():
            parser.epilog = "settings, as --section.key=value (defaults shown):\n" + help_text(sections)
            arguments, rest = parser.parse_known_args(argv)
            run = opened(arguments)
            settings = _settings(run, arguments, rest, new_data)
            if processes.size() > 1 and follow is None:
                raise MatcherError("only branches.<name>.train runs under torchrun; start this command without it")
            processes.take_device(settings[ComputeConfig])
            with threadpool_limits(settings[ComputeConfig].cpu_threads):
                if follow is not None and processes.rank() > 0:
                    follow(run, settings)
                    return 0
                with nullcontext() if new_data and only_reads(arguments) else run.locked():
                    body(run, settings, arguments)
                processes.release()
    except MatcherError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from here", 130)
    except UnicodeEncodeError as error:
        return _fail(f"{error.object!r} is not text in UTF-8; rename it", 2)
    except (OSError, SafetensorError) as error:
        fault = _refusal(error)
        if fault is None:
            raise
        return _fail(f"{fault}; what was finished before is intact", 2)
    return 0


def step_command(
    work: Callable[[Run, Settings], object],
    redo: str,
    description: str,
    sections: Sequence[str],
    *,
    usage: str,
    follow: Follow | None = None,
) -> int:
    """A command that takes a run up to one step and has no options of its own.

    Args:
        work: Does the step, and those before it where they are needed.
        redo: The stage, or folder of stages, that `--force` does again.
        description: One sentence for `--help`.
        sections: Sections of the settings that `--help` lists.
        usage: The command as it is typed.
        follow: As for `command`.
    """

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        run.force = (redo,) if arguments.force else ()
        work(run, settings)

    return command(body, description, sections, usage=usage, follow=follow)


def _parser(
    description: str, usage: str, new_data: bool, options: Callable[[argparse.ArgumentParser], object]
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(usage, description=description, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=Path, default=DEFAULT_RUN, help=f"run folder (default: {DEFAULT_RUN})")
    what = "catalog to work on, beside the run's own" if new_data else "catalog: a folder, a table, or `demo`"
    parser.add_argument("--data", help=f"{what}; short for --data.path")
    parser.add_argument("--config", type=Path, help="YAML or JSON file of settings")
    parser.add_argument("--force", action="store_true", help="do it again even if nothing changed")
    options(parser)
    return parser


def _settings(run: Run, arguments: argparse.Namespace, rest: Sequence[str], new_data: bool) -> Settings:
    named = {} if arguments.data is None else {"data": {"path": arguments.data}}
    given = merge(from_file(arguments.config) if arguments.config else {}, named, from_arguments(rest))
    data = given.get("data", {})
    if isinstance(data.get("path"), str) and data["path"] != "demo":
        data["path"] = _absolute(data["path"])
    for keys in given.values():
        if isinstance(keys.get("extra"), list):
            keys["extra"] = [_absolute(str(path)) for path in keys["extra"]]
    base = remembered(run.folder)
    if "path" in data:  # the image folder belongs to the data it was given with
        base.get("data", {}).pop("images", None)
    return Settings(merge(base, given))


def _absolute(path: str) -> str:
    """A path that means the same in whatever folder the next command is given."""
    return str(Path(os.path.expanduser(path)).absolute())


def _refusal(error: OSError | SafetensorError) -> str | None:
    """What the system refuses to write or to read, in words; None when the error is of another kind."""
    refusals = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
    if isinstance(error, SafetensorError):  # keeps the system's error in its text alone
        return next((f"cannot write a file: {error}" for no in refusals if f"(os error {no})" in str(error)), None)
    return f"{error.filename or 'cannot write a file'}: {error.strerror}" if error.errno in refusals else None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    sys.stdout.flush()
    print(f"\n{message}" if code == 130 else f"error: {message}", file=sys.stderr)
    return code
