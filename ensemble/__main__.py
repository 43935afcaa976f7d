"""The whole job: `./run_all.sh`, from a catalog to matches and figures."""

import argparse

from ensemble.evaluate import evaluate_all, write_metrics
from ensemble.evaluation.summary import summary
from shared.pipeline.cli import command
from shared.pipeline.pools import data_line
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, section_classes


def main() -> int:
    """Take a run through every stage, skip what is unchanged, and sum it up."""

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        run.force = ("",) if arguments.force else ()
        run.say(f"run {run.folder} · {data_line(settings)}\n")
        evaluate_all(run, settings)
        run.say("\n" + summary(run, write_metrics(run)))

    about = "Find the listings of a catalog that sell the same product: the whole job, from a catalog to matches."
    return command(body, about, list(section_classes()), usage="./run_all.sh")


if __name__ == "__main__":
    raise SystemExit(main())
