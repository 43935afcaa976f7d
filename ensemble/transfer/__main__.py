"""The command `python -m ensemble.transfer`."""

from ensemble.transfer.study import main

if __name__ == "__main__":
    raise SystemExit(main())
