"""The command `python -m ensemble.score`."""

from ensemble.cli import step_command


def main() -> int:
    """Score the candidate pairs of a run's holdout and catalog."""
    about = "Score the candidate pairs of the holdout and the catalog; does the steps before it if needed."
    return step_command("ensemble.score", about, ["scorer", "ensemble", "compute"], ["ensemble/scores"])


if __name__ == "__main__":
    raise SystemExit(main())
