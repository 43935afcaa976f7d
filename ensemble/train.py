"""The command `python -m ensemble.train`."""

from ensemble.cli import step_command
from ensemble.training_stages import SCORER


def main() -> int:
    """Train the scorer on the fold pools of a run."""
    about = "Train the scorer on the fold pools; does the steps before it if needed."
    return step_command("ensemble.train", about, ["scorer", "ensemble", "compute"], [SCORER], labels=True)


if __name__ == "__main__":
    raise SystemExit(main())
