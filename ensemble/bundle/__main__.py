"""The command `python -m ensemble.bundle`."""

from ensemble.bundle.pack import main

if __name__ == "__main__":
    raise SystemExit(main())
