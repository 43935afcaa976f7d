"""The command `python -m ensemble.train`."""

from ensemble.scorer.training import main

if __name__ == "__main__":
    raise SystemExit(main())
