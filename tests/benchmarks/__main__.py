"""Benchmarks, apart from pass and fail: what is measured is told, never judged.

    python -m tests.benchmarks measure --listings 5000,35000 --out results.json
    python -m tests.benchmarks compare --listings 35000 --out results.json
    python -m tests.benchmarks profile --listings 35000 --out results.json
    python -m tests.benchmarks gpu --out results.json
    python -m tests.benchmarks draw results.json --into ensemble/RESULTS.md

Each command's own help says more (`--help`), and so do the modules beside this one. The packages that `compare` sets
beside the project come with `pip install '.[benchmark]'`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from shared.errors import MatcherError
from shared.exits import ended
from shared.pipeline.settings import from_arguments
from tests.benchmarks.results import Results
from tests.benchmarks.works import STAGES, Order

SIZES = "5000,35000,70000,250000,1000000"
Action = Callable[[argparse.Namespace, list[str]], int]


def measure_command(options: argparse.Namespace, settings: list[str]) -> int:
    """Measure stages at several sizes."""
    from tests.benchmarks.measure import measure

    results = Results.open(options.out, to_add=True)
    stages = STAGES if options.stages == "all" else tuple(options.stages.split(","))
    order = replace(_order(options, settings), profile=options.profile)
    return measure(results, _numbers(options.listings), stages, order, again=options.again)


def compare_command(options: argparse.Namespace, settings: list[str]) -> int:
    """Compare searches with what a user would take instead."""
    from tests.benchmarks.alternatives import ALTERNATIVES
    from tests.benchmarks.compare import compare

    results = Results.open(options.out, to_add=True)
    kinds = tuple(ALTERNATIVES) if options.kinds == "all" else tuple(options.kinds.split(","))
    order = _order(options, settings)
    return compare(results, _numbers(options.listings), kinds, options.repeats, order, again=options.again)


def gpu_command(options: argparse.Namespace, settings: list[str]) -> int:
    """Check and measure what an NVIDIA GPU does."""
    from tests.benchmarks.device import check_device

    order = _order(options, settings)
    device = order.settings.get("compute", {}).get("device", "cuda")
    order = replace(
        order, settings=order.settings | {"compute": {**order.settings.get("compute", {}), "device": device}}
    )
    return check_device(Results.open(options.out, to_add=True), options, order)


def draw_command(options: argparse.Namespace, settings: list[str]) -> int:
    """Draw tables and a chart of results into a document."""
    from tests.benchmarks.draw import draw

    if missing := [path for path in options.results if not path.is_file()]:
        raise MatcherError(f"there is no file {missing[0]}")
    draw([Results.open(path) for path in options.results], options.into, options.chart)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `python -m tests.benchmarks` and return its exit code."""
    options, rest = _parser().parse_known_args(arguments)
    failed: list[int] = []
    return ended(lambda: failed.append(options.action(options, rest))) or int(any(failed))


def _order(options: argparse.Namespace, settings: list[str]) -> Order:
    from ensemble.sections import sections

    return Order("", 0, str(options.cache.absolute()), from_arguments(settings, sections()), options.threads)


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.replace("_", "").split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 4:
        raise MatcherError(f"--listings={text}: numbers of at least 4 are needed, such as {SIZES}")
    return numbers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure speed and memory.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, about, sizes, profile in (
        ("measure", "each stage after encoding at several sizes", SIZES, False),
        ("profile", "which library works how long in each stage", "35000", True),
    ):
        each = _measuring(commands, name, measure_command, about, sizes)
        each.add_argument(
            "--stages", default="all", metavar="NAMES", help=f"some of: {', '.join(STAGES)} (default: all)"
        )
        each.set_defaults(profile=profile)
    comparing = _measuring(commands, "compare", compare_command, "our searches beside others, as ratios", "35000")
    comparing.add_argument("--kinds", default="all", metavar="NAMES", help="of: dense,sparse,hashes,titles")
    comparing.add_argument("--repeats", type=int, default=3, metavar="R", help="rounds (default: %(default)s)")
    device = commands.add_parser("gpu", help="tests and speed on an NVIDIA GPU", allow_abbrev=False)
    _add_options(device)
    device.add_argument("--only", metavar="STEPS", help="some of: tests,images,match (default: all)")
    device.add_argument("--images", type=int, default=3000, metavar="N", help="listings to embed (default: 3000)")
    device.set_defaults(action=gpu_command)
    drawing = commands.add_parser("draw", help="tables and a chart of results, into a document", allow_abbrev=False)
    drawing.add_argument("results", type=Path, nargs="+", help="files that other commands wrote")
    drawing.add_argument("--into", type=Path, metavar="DOCUMENT", help="Markdown file that gets or has the section")
    drawing.add_argument("--chart", type=Path, metavar="SVG", help="the chart (default: speed.svg beside the document)")
    drawing.set_defaults(action=draw_command)
    return parser


def _measuring(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, action: Action, about: str, sizes: str
) -> argparse.ArgumentParser:
    """Return the parser of a command that measures, with the options that all of them have."""
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.add_argument("--listings", default=sizes, metavar="N,M", help=f"sizes of the catalogs (default: {sizes})")
    _add_options(parser)
    parser.set_defaults(action=action)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="results; rows are added to it")
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/benchmarks"), metavar="DIR", help="catalogs (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=0, metavar="T", help="CPU threads (default: one for each core)")
    parser.add_argument("--again", action="store_true", help="measure what the file holds already")


if __name__ == "__main__":
    sys.exit(main())
