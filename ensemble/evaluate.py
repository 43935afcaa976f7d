"""The command `python -m ensemble.evaluate`."""

from ensemble.cli import step_command
from ensemble.evaluation.run_metrics import write_metrics
from ensemble.evaluation.summary import summary
from ensemble.result_stages import EVALUATION, MATCHES
from shared.pipeline.run import RunFolder


def main() -> int:
    """Measure a run on its holdout."""

    def say_metrics(run: RunFolder) -> None:
        run.say("\n" + summary(run, write_metrics(run)))

    about = "Measure a run on its holdout; does the steps before it if needed."
    shown = ["ensemble", "tune", "compute"]
    return step_command("ensemble.evaluate", about, shown, [EVALUATION], also=[MATCHES], after=say_metrics, labels=True)


if __name__ == "__main__":
    raise SystemExit(main())
