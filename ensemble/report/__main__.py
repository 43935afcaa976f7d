"""The command `python -m ensemble.report`: one HTML file that shows what was matched, how good it is, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ensemble.report.file import write_report
from ensemble.report.page import html
from ensemble.report.run_content import matches_content
from ensemble.sections import sections
from ensemble.written_matches import REPORT
from shared.artifacts import atomic_file
from shared.catalog.config import DataConfig
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.cli import DEFAULT_RUN, Arguments, Command, Parser
from shared.pipeline.settings import Settings


def main() -> int:
    """Write the report of a finished run, or of the matches of another catalog."""

    def options(parser: Parser) -> None:
        what = f"folder that ensemble.match --out wrote: its report instead of a run's ({REPORT} in it)"
        parser.add_argument("--out", type=Path, help=what)

    def body(store: Any, settings: Settings, arguments: Arguments) -> None:
        if arguments.data is not None:
            raise MatcherError("a report is of matches that there are: name a run (--run) or their folder (--out)")
        if arguments.out is None:
            write_report(store, settings, force=True)
            print(store.folder / REPORT)
            return
        if arguments.run != DEFAULT_RUN:
            raise MatcherError("--run and --out cannot be used together; name one of them")
        content = matches_content(arguments.out, settings[DataConfig].max_pixels, settings[ComputeConfig].seed)
        with atomic_file(arguments.out / REPORT) as partial:
            partial.write_text(html(content), encoding="utf-8")
        print(arguments.out / REPORT)

    return Command(
        "python -m ensemble.report",
        f"Write {REPORT}, which shows what was matched, how good it is, and why, of a run or of matches in a folder.",
        sections(),
        ["compute"],
        body,
        options=options,
        holds=lambda arguments: False,
        force=False,
    ).run()


if __name__ == "__main__":
    raise SystemExit(main())
