"""Make a demo marketplace: plan it, make its families in worker processes, write the folder atomically."""

import csv
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from shared.demo.listings import Row, make_listings
from shared.demo.plan import FamilyPlan, plan_families
from shared.errors import MatcherError

FAMILIES_PER_TASK = 8


def make_demo(out: Path, listings: int, seed: int, workers: int = 1) -> None:
    """Make a marketplace of invented products in the layout of the Kaggle competition.

    Writes `out/train.csv` (posting_id, image, image_phash, title, label_group) and `out/train_images/*.jpg`. The same
    seed gives the same bytes, whatever the number of workers.

    Args:
        out: The folder to make; it must be new or empty.
        listings: Number of listings, at least 2.
        seed: At least 0.
        workers: Number of processes that draw, at least 1.

    Raises:
        MatcherError: An argument is out of range, or the folder is not empty or cannot be written. Then nothing is
            left behind.
    """
    if seed < 0 or workers < 1:
        raise MatcherError(f"seed must be at least 0 and workers at least 1, not {seed} and {workers}")
    plans = plan_families(listings, seed)
    with _atomic_folder(out) as folder:
        images = folder / "train_images"
        images.mkdir()
        make = partial(make_listings, seed=seed, families=len(plans), images=images)
        rows: dict[int, Row] = {}
        with tqdm(total=listings, unit="listing", disable=None) as progress:
            for family in _map(make, plans, workers):
                rows.update(family)
                progress.update(len(family))
        _write_table(folder / "train.csv", [rows[number] for number in range(listings)])


def _map(
    make: "partial[list[tuple[int, Row]]]", plans: list[FamilyPlan], workers: int
) -> Iterator[list[tuple[int, Row]]]:
    if workers == 1:
        yield from map(make, plans)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield from pool.map(make, plans, chunksize=FAMILIES_PER_TASK)
    except BrokenProcessPool as error:
        raise MatcherError("a worker process was killed, perhaps for lack of memory; try fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the main process, which stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _atomic_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`, which takes its place at the end; on an error it is removed."""
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise MatcherError(f"{out} exists and is not an empty folder; name a new one")
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = out.absolute().parent / f".{out.absolute().name}.{os.getpid()}.tmp"
        folder.mkdir()
        try:
            yield folder
            if out.exists():  # empty; Windows does not replace a folder
                out.rmdir()
            folder.replace(out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise MatcherError(f"cannot write the demo marketplace to {out}: {error.strerror or error}") from error


def _write_table(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)
