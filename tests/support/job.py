"""A command that brings the stage of `sharded.py` up to date: `python -m tests.support.job TROUBLE --run R …`."""

from pathlib import Path

from shared.compute import ComputeConfig
from shared.exits import guard_command
from shared.pipeline.catalog_stages import TRAIN
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Stage
from shared.pipeline.update import update_stages
from tests.support.sharded import NAME, letters

SECTIONS = {"compute": ComputeConfig}
SETTINGS = Settings({}, SECTIONS)


def catalog(inputs: object, config: object, out: Path) -> dict[str, int]:
    (out / "catalog.txt").write_text("nothing")
    return {"listings": 0}


def graph(trouble: Path, count: int = 5) -> Graph:
    return Graph([Stage(TRAIN, catalog, code=()), letters(trouble, count)])


def main() -> int:
    def options(parser: Parser) -> None:
        parser.add_argument("trouble", type=Path)
        parser.add_argument("--count", type=int, default=5)

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        update_stages(run, settings, graph(arguments.trouble, arguments.count), [NAME])
        run.say("the end of job 1")

    return Command("job", "Write letters.", SECTIONS, [], body, options=options, stages="shared").run()


if __name__ == "__main__":
    guard_command()  # as the packages of real commands do
    raise SystemExit(main())
