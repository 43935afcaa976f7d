"""Make a demo catalog: plan it, make its families in worker processes, write the folder atomically."""

import csv
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from shared.demo.config import Kind
from shared.demo.listings import make_listings
from shared.demo.plan import FamilyPlan, plan_families
from shared.demo.rows import Row
from shared.demo.shops import listings as shops
from shared.demo.shops import plan as shops_plan
from shared.errors import MatcherError
from shared.folders import atomic_folder

FAMILIES_PER_TASK = 8
MIN_MIXED = 4  # listings: two of each kind
Rows = list[tuple[int, Row]]  # the listings of a family, each with its row in the table
Task = Callable[[Path], Rows]  # makes the listings of a family, and its images in a folder


def make_demo(out: Path, listings: int, seed: int, workers: int = 1, kind: Kind = "marketplace") -> None:
    """Make a catalog of invented products in the layout of the Kaggle competition.

    Writes `out/train.csv` (posting_id, image, image_phash, title, label_group) and `out/train_images/*.jpg`. The same
    seed gives the same bytes, whatever the number of workers.

    Args:
        out: The folder to make; it must be new or empty.
        listings: Number of listings, at least 2, or 4 in a mixed catalog.
        seed: At least 0.
        workers: Number of processes that draw, at least 1.
        kind: "marketplace", "shops", or "mixed": one catalog, half of each in random order.

    Raises:
        MatcherError: An argument is out of range, or the folder is not empty or cannot be written. Then nothing is
            left behind.

    Examples:
        make_demo(Path("demo"), 2000, seed=1, kind="shops")
    """
    if seed < 0 or workers < 1:
        raise MatcherError(f"seed must be at least 0 and workers at least 1, not {seed} and {workers}")
    tasks = _plan(kind, listings, seed)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MatcherError(f"{out} exists and is not an empty folder; name a new one")
    with atomic_folder(out) as folder:
        images = folder / "train_images"
        images.mkdir()
        rows: dict[int, Row] = {}
        with tqdm(total=listings, unit="listing", disable=None) as progress:
            for family in _map(tasks, images, workers):
                rows.update(family)
                progress.update(len(family))
        _write_table(folder / "train.csv", [rows[number] for number in range(listings)])


def _plan(kind: Kind, listings: int, seed: int) -> list[Task]:
    """Return a task for each family, which makes its listings."""
    if kind == "marketplace":
        return _marketplace_tasks(plan_families(listings, seed), seed)
    if kind == "shops":
        return _shop_tasks(shops_plan.plan_families(listings, seed), seed)
    if listings < MIN_MIXED:
        raise MatcherError(f"a mixed demo needs at least {MIN_MIXED} listings, not {listings:,}")
    half = listings // 2
    order = np.random.default_rng([seed, 13]).permutation(listings).tolist()
    first, second = order[:half], order[half:]
    marketplace = [plan.with_rows(first) for plan in plan_families(half, seed)]
    lists = [plan.with_rows(second) for plan in shops_plan.plan_families(listings - half, seed)]
    return _marketplace_tasks(marketplace, seed) + _shop_tasks(lists, seed)


def _marketplace_tasks(plans: list[FamilyPlan], seed: int) -> list[Task]:
    return [partial(make_listings, plan, seed, len(plans)) for plan in plans]


def _shop_tasks(plans: list[FamilyPlan], seed: int) -> list[Task]:
    return [partial(shops.make_listings, plan, seed) for plan in plans]


def _map(tasks: list[Task], images: Path, workers: int) -> Iterator[Rows]:
    """Yield the listings that each task makes, in the order of the tasks."""
    call = partial(_call, images=images)
    if workers == 1:
        yield from map(call, tasks)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield from pool.map(call, tasks, chunksize=FAMILIES_PER_TASK)
    except BrokenProcessPool as error:
        raise MatcherError("a worker process was killed, perhaps for lack of memory; try fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _call(task: Task, images: Path) -> Rows:
    return task(images)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the main process, which stops the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_table(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)
