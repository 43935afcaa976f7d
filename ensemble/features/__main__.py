"""The command `python -m ensemble.features`."""

from ensemble.features import features_all
from shared.pipeline.cli import step_command


def main() -> int:
    """Describe the candidate pairs of every pool of a run."""
    about = "Describe the candidate pairs of every pool by features; does the steps before it if needed."
    return step_command(
        features_all, "ensemble/features", about, ["ensemble", "compute"], usage="python -m ensemble.features"
    )


if __name__ == "__main__":
    raise SystemExit(main())
