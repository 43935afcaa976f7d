"""The whole job: `./run_all.sh`, from a catalogue to matches and figures."""

import argparse

from ensemble.evaluate import evaluate_all, write_metrics
from ensemble.report import summary
from shared.command import command
from shared.pools import data_line
from shared.run import Run
from shared.settings import Settings, section_classes


def main() -> int:
    """Take a run through every stage, skip what is unchanged, and sum it up."""

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        run.force = ("",) if arguments.force else ()
        run.say(f"run {run.folder} · {data_line(settings)}\n")
        evaluate_all(run, settings)
        run.say("\n" + summary(run, write_metrics(run)))

    about = "Find the listings of a catalogue that sell the same product: the whole job, from a catalogue to matches."
    return command(body, about, list(section_classes()), usage="./run_all.sh")


if __name__ == "__main__":
    raise SystemExit(main())
