"""The command `python -m ensemble.candidates`."""

from ensemble.cli import step_command


def main() -> int:
    """Unite the candidate pairs of all branches in every pool of a run."""
    about = "Unite the candidate pairs of all branches in every pool; does the steps before it if needed."
    return step_command("ensemble.candidates", about, ["ensemble", "compute"], ["ensemble/candidates"])


if __name__ == "__main__":
    raise SystemExit(main())
