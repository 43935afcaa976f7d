"""Command line of the demo marketplace."""

import argparse
import csv
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from shared.demo.config import DemoConfig
from shared.demo.market import make_demo
from shared.errors import MatcherError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `python -m shared.demo`; return 0, 2 for bad arguments, or 130 for an interrupt."""
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    try:
        make_demo(options.out, options.listings, options.seed, options.workers)
    except MatcherError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    content = f"{options.listings:,} listings of {_products(options.out):,} products"
    print(f"{content} written to {options.out} ({time.monotonic() - start:.0f} s)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.demo",
        description="Invent products, draw them, and list each 2 to 51 times as sellers do: a catalog in the layout "
        "of the Kaggle competition Shopee - Price Match Guarantee, to try the matcher on.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="new or empty folder for train.csv and train_images/")  # fmt: skip
    parser.add_argument("--listings", type=int, default=DemoConfig().listings, metavar="N",
                        help="number of listings (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S",
                        help="the same seed gives the same files, byte for byte (default: 0)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="W",
                        help="number of processes that draw (default: one per core)")  # fmt: skip
    return parser


def _products(folder: Path) -> int:
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        return len({row["label_group"] for row in csv.DictReader(file)})


if __name__ == "__main__":
    sys.exit(main())
