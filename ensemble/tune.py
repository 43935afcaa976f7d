"""The command `python -m ensemble.tune`."""

from ensemble.decision.tuning import main

if __name__ == "__main__":
    raise SystemExit(main())
