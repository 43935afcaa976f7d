"""The command `python -m ensemble.features`."""

import argparse

from ensemble.features import features_all
from shared.command import command
from shared.run import Run
from shared.settings import Settings


def main() -> int:
    """Describe the candidate pairs of every pool of a run."""

    def body(run: Run, settings: Settings, arguments: argparse.Namespace) -> None:
        run.force = ("ensemble/features",) if arguments.force else ()
        features_all(run, settings)

    about = "Describe the candidate pairs of every pool by features; does the steps before it if needed."
    return command(body, about, ["ensemble", "compute"], usage="python -m ensemble.features")


if __name__ == "__main__":
    raise SystemExit(main())
