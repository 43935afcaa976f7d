"""The command `python -m ensemble.ablation`."""

from ensemble.ablation.study import main

if __name__ == "__main__":
    raise SystemExit(main())
