"""The command `python -m ensemble.bundle`."""

from pathlib import Path

from ensemble.bundle.pack import pack, require_own
from ensemble.sections import sections
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings


def main() -> int:
    """Pack a finished run into a bundle."""

    def options(parser: Parser) -> None:
        parser.add_argument("--out", type=Path, required=True, help="folder to write the bundle to")
        what = "first train encoders and scorer on all labeled listings; the metrics stay those of the run"
        parser.add_argument("--refit", action="store_true", help=what)

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        require_own(run, settings)
        pack(run, settings, arguments.out, refit=arguments.refit, force=arguments.force)
        size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
        run.say(f"\nbundle written to {arguments.out} ({size / 2**20:,.0f} MB); its README.md says how to use it")

    about = (
        "Pack the parts of a finished run that matching needs into one folder that works anywhere, without a network."
    )
    command = "python -m ensemble.bundle"
    return Command(
        command, about, sections(), ["compute"], body, options=options, makes="a bundle", stages="alone"
    ).run()


if __name__ == "__main__":
    raise SystemExit(main())
