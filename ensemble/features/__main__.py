"""The command `python -m ensemble.features`."""

from ensemble.cli import step_command


def main() -> int:
    """Describe the candidate pairs of every pool of a run."""
    about = "Describe the candidate pairs of every pool by features; does the steps before it if needed."
    return step_command("ensemble.features", about, ["ensemble", "compute"], ["ensemble/features"])


if __name__ == "__main__":
    raise SystemExit(main())
