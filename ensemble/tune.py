"""The command `python -m ensemble.tune`."""

from ensemble.cli import update_run
from ensemble.sections import sections
from ensemble.training_stages import DECISION
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings


def main() -> int:
    """Tune the decision of a run."""

    def options(parser: Parser) -> None:
        what = "listings of the pool that the threshold is for; short for --tune.pool_size"
        parser.add_argument("--pool-size", type=int, metavar="N", help=what)

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        if arguments.pool_size is not None:
            settings = settings.changed({"tune": {"pool_size": arguments.pool_size}})
        update_run(run, settings, [DECISION], force=arguments.force, labels=True)

    about = "Tune the decision rule and its threshold on out-of-fold scores; does the steps before it if needed."
    shown = ["tune", "scorer", "ensemble", "compute"]
    return Command("python -m ensemble.tune", about, sections(), shown, body, options=options, stages="shared").run()


if __name__ == "__main__":
    raise SystemExit(main())
