"""The whole job: `./run_all.sh`, from a catalog to matches and metrics."""

from pathlib import Path

from ensemble.cli import update_run
from ensemble.evaluation.left_out import left_out_lines
from ensemble.evaluation.run_metrics import write_metrics
from ensemble.evaluation.summary import summary
from ensemble.evaluation.unlabeled import unlabeled_summary, unused_extras, write_unlabeled_metrics
from ensemble.report.file import write_report
from ensemble.result_stages import EVALUATION, MATCHES
from ensemble.sections import sections
from ensemble.stages import run_graph
from ensemble.unlabeled_stages import start_settings
from shared.catalog.config import DataConfig
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings


def main() -> int:
    """Take a run through every stage, skip what is unchanged, and sum it up."""

    def options(parser: Parser) -> None:
        what = "for a catalog without labels: match with this bundle; short for --start.bundle"
        parser.add_argument("--bundle", type=Path, help=what)

    def body(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
        if arguments.bundle is not None:
            settings = settings.changed({"start": {"bundle": str(arguments.bundle.expanduser().absolute())}})
        paths = settings[DataConfig].paths
        what = f"catalog {paths[0]}" if len(paths) == 1 else f"{len(paths)} catalogs: {', '.join(paths)}"
        what = "the demo (invented listings; see README)" if paths == ["demo"] else what
        run.say(f"run {run.folder} · {what}\n")
        everything = list(run_graph(run, start_settings(settings))) if arguments.force else [MATCHES, EVALUATION]
        graph = update_run(run, settings, everything, force=arguments.force)
        if EVALUATION in graph:
            run.say("\n" + summary(run, write_metrics(run)))
        else:
            run.say("\n" + unlabeled_summary(run, write_unlabeled_metrics(run, graph)))
            if line := unused_extras(settings):
                run.say(line)
        for line in left_out_lines(run, settings[DataConfig].sources):
            run.say(line)
        run.say(f"Report, to look at in a browser: {write_report(run, settings)}")

    about = "Find the listings of a catalog that sell the same product: the whole job, from a catalog to matches."
    return Command("./run_all.sh", about, sections(), list(sections()), body, options=options, stages="shared").run()


if __name__ == "__main__":
    raise SystemExit(main())
