"""Command line of the demo: invent a catalog of one of three kinds."""

import argparse
import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from shared.demo.config import DemoConfig, Kind
from shared.demo.market import make_demo
from shared.exits import ended
from shared.folders import require_place


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `python -m shared.demo` and return its exit code; see `shared.exits`."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        start = time.monotonic()
        require_place(options.out, [])
        make_demo(options.out, options.listings, options.seed, options.workers, options.kind)
        print(f"{_content(options.out, options.kind)} written to {options.out} ({time.monotonic() - start:.0f} s)")

    return ended(work, interrupted="interrupted; nothing was written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shared.demo",
        description="Invent products, draw them, and list them: a catalog in the layout of the Kaggle competition "
        "Shopee - Price Match Guarantee, to try the matcher on.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="new or empty folder for train.csv and train_images/")  # fmt: skip
    parser.add_argument("--kind", choices=get_args(Kind), default=DemoConfig().kind,
                        help="marketplace: each product 2 to 51 times, as sellers there list it; shops: joined lists "
                        "of several shops in English, most products once or twice, with model numbers, "
                        "specifications and siblings that differ in one of these; mixed: one catalog, half of each "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--listings", type=int, default=DemoConfig().listings, metavar="N",
                        help="number of listings (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="S",
                        help="the same seed gives the same files, byte for byte (default: 0)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="W",
                        help="number of processes that draw (default: one per core)")  # fmt: skip
    return parser


def _content(folder: Path, kind: Kind) -> str:
    """Return what a demo holds; where some products are listed once, also how many listings have a match."""
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sizes = Counter(row["label_group"] for row in rows)
    content = f"{len(rows):,} listings of {len(sizes):,} products"
    if kind == "marketplace":
        return content
    matched = sum(size for size in sizes.values() if size > 1) / len(rows)
    without = sum(not row["image"] for row in rows) / len(rows)
    return f"{content} ({matched:.0%} of the listings have a match, {without:.0%} no image)"


if __name__ == "__main__":
    sys.exit(main())
