"""The pieces of work that are measured, each in a process of its own, from the files of those before it.

    python -m tests.benchmarks.works '{"work": "search tfidf", "listings": 5000, ...}'

is how `measure.py` starts one. A piece of work holds one or more stages; what is outside of `Desk.timed` is reading and
writing files and counts for the memory alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import lightgbm  # noqa: F401 - a second to import, which is not to be among the seconds of a stage
from threadpoolctl import threadpool_limits

from ensemble.candidate_pairs import recall
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView, PoolViews
from shared.artifacts import write_json
from shared.catalog.copies import copy_of
from shared.catalog.placeholders import set_aside
from shared.compute import ComputeConfig
from shared.exits import ended
from shared.metrics.matching import measure as measure_matches
from shared.pipeline.profiling import measured
from shared.schema import CandidatePairs, Candidates, Catalog, Embeddings, ScoredPairs
from tests.benchmarks.catalogs import CLOUDS
from tests.benchmarks.sampling import Sampler
from tests.benchmarks.system import embed, labels_of, open_matcher, read_frame, settings_of

BRANCHES = ("distilbert", "image", "tfidf", "phash")
COMPUTED = tuple(name for name in BRANCHES if name not in CLOUDS)  # whose embeddings are not given


@dataclass(frozen=True)
class Order:
    """What a process is to do.

    Args:
        work: Name of the work, a key of `WORKS`.
        listings: Of the catalog.
        cache: Folder with catalogs, the system, and files of the works.
        settings: section → key → value, where they are not the default.
        threads: CPU threads; 0: one for each core.
        profile: Whether to say which library works how long.
    """

    work: str
    listings: int
    cache: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: int = 0
    profile: bool = False

    @property
    def catalog(self) -> Path:
        """Return the folder of the catalog."""
        return Path(self.cache) / str(self.listings)

    def file(self, name: str) -> Path:
        """Return where this order, or one with all settings by default, keeps a file."""
        own = self._files(self.settings) / name
        return own if own.exists() or not self.settings else self._files({}) / name

    def new_file(self, name: str) -> Path:
        """Return the place of a file to write."""
        folder = self._files(self.settings)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def _files(self, settings: dict[str, dict[str, Any]]) -> Path:
        changed = [f"{name}.{key}={value}" for name, keys in sorted(settings.items()) for key, value in keys.items()]
        return Path(self.cache) / f"{self.listings} files" / (" ".join(changed) or "default")


class Desk:
    """Where a piece of work is done: its order, what it reads, and its stopwatch.

    Attributes:
        rows: Stage → what was measured of it.
    """

    def __init__(self, order: Order) -> None:
        self.order, self.settings = order, settings_of(order.settings, order.threads)
        self.rows: dict[str, dict[str, Any]] = {}
        self.sampler = Sampler()
        self._stage: str | None = None
        self._since = 0.0, 0.0
        self.matcher = open_matcher(Path(order.cache), self.settings)

    @contextmanager
    def timed(self, stage: str) -> Iterator[dict[str, Any]]:
        """Add the seconds of a block to those of a stage, less those of blocks inside it that are of other stages.

        More facts may be put into the yielded row.
        """
        outer = self._stage
        row = self.rows.setdefault(stage, {"seconds": 0.0, "cpu_seconds": 0.0})
        self._switch(stage)
        yield row
        self._switch(outer)

    def _switch(self, stage: str | None) -> None:
        """Let the time from now on count for a stage, or for none."""
        now = time.perf_counter(), time.process_time()
        if self._stage is not None:
            self.rows[self._stage]["seconds"] += now[0] - self._since[0]
            self.rows[self._stage]["cpu_seconds"] += now[1] - self._since[1]
        self._stage, self._since, self.sampler.label = stage, now, stage

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog.load(self.order.file("catalog.parquet"))

    @cached_property
    def codes(self) -> Any:
        return labels_of(self.order.catalog)

    @property
    def threads(self) -> int:
        return self.settings[ComputeConfig].cpu_threads

    def embeddings(self, name: str) -> Embeddings:
        file = f"{name}.safetensors"
        return Embeddings.load(self.order.file(file) if name in COMPUTED else self.order.catalog / file)

    def candidates(self, name: str) -> Candidates:
        return Candidates.load(self.order.file(f"{name}.parquet"))

    def pool(self) -> PoolViews:
        views = {name: BranchView(self.embeddings(name), self.candidates(name)) for name in self.matcher.branches}
        return self.matcher.pool(self.catalog, views)


# --- the works --------------------------------------------------------------------------------------------------------


def read(desk: Desk) -> None:
    """Make a catalog of a frame, and set aside what many unlike listings share."""
    frame = read_frame(desk.order.catalog)
    with desk.timed("read"):
        catalog, _ = set_aside(desk.matcher.read(frame))
    catalog.save(desk.order.new_file("catalog.parquet"))


def embed_tfidf(desk: Desk) -> None:
    """Fit and embed by the branches that have no encoder."""
    catalog = desk.catalog
    for name in COMPUTED:
        with desk.timed(f"embed {name}"):
            embeddings = desk.matcher.embed(catalog, [name])[name]
        embeddings.save(desk.order.new_file(f"{name}.safetensors"))


def search(desk: Desk, name: str) -> None:
    """Search the neighbors of every listing by one branch."""
    embeddings, copies = desk.embeddings(name), copy_of(desk.catalog)
    with desk.timed(f"search {name}") as row:
        candidates = desk.matcher.candidates(name, embeddings, copies)
    row["pairs"] = len(candidates)
    row["recall"] = recall(candidates.left, candidates.right, desk.codes, copies)
    candidates.save(desk.order.new_file(f"{name}.parquet"))


def unite(desk: Desk) -> None:
    """Unite the candidates of all branches."""
    pool = desk.pool()
    with desk.timed("union") as row:
        pairs = desk.matcher.proposed(pool)
    row["pairs"] = len(pairs)
    row["recall"] = recall(pairs.left, pairs.right, desk.codes, copy_of(desk.catalog))
    pairs.save(desk.order.new_file("pairs.parquet"))


def describe_and_score(desk: Desk) -> None:
    """Describe the pairs and give them their first scores, block by block, then score them by each other's."""
    pool, pairs = desk.pool(), CandidatePairs.load(desk.order.file("pairs.parquet"))
    with desk.timed("describe"):
        first = desk.matcher.first_scores(pool, pairs)
    with desk.timed("score"):
        scored, _ = desk.matcher.score(pool, first)
    scored.save(desk.order.new_file("scores.parquet"))


def decide_and_write(desk: Desk) -> None:
    """Decide the matches and write them."""
    catalog, scored = desk.catalog, ScoredPairs.load(desk.order.file("scores.parquet"))
    with desk.timed("decide"):
        result = MatchResult.from_scores(desk.matcher.decision, catalog, scored)
    folder = desk.order.new_file("matches")
    folder.mkdir(exist_ok=True)
    with desk.timed("write"):
        result.save(folder)


def whole(desk: Desk) -> None:
    """Match a table that is on the disk, as `Matcher.match` does, but with given embeddings; write the matches."""
    folder = desk.order.new_file("matches of the whole")
    folder.mkdir(exist_ok=True)
    with desk.timed("whole") as row:
        catalog, _ = set_aside(desk.matcher.read(read_frame(desk.order.catalog)))
        result = desk.matcher.match_embedded(catalog, embed(desk.matcher, catalog, desk.order.catalog))
        result.save(folder)
    metrics = measure_matches(result.match_rows, result.group_numbers, desk.codes)
    row |= {"pairs": len(result.scored_pairs), "row_f1": round(float(metrics.row_f1), 4)}


@dataclass(frozen=True)
class Work:
    """A piece of work.

    Args:
        stages: The stages that it measures.
        run: Does it.
        reads: Files of other works that it reads.
        writes: Files for other works.
    """

    stages: tuple[str, ...]
    run: Callable[[Desk], None]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


_VECTORS = tuple(f"{name}.safetensors" for name in COMPUTED)
_LISTS = tuple(f"{name}.parquet" for name in BRANCHES)
WORKS = {
    "read": Work(("read",), read, (), ("catalog.parquet",)),
    "embed": Work(tuple(f"embed {name}" for name in COMPUTED), embed_tfidf, ("catalog.parquet",), _VECTORS),
    **{
        f"search {name}": Work(
            (f"search {name}",),
            partial(search, name=name),
            ("catalog.parquet", *(f"{each}.safetensors" for each in COMPUTED if each == name)),
            (f"{name}.parquet",),
        )
        for name in BRANCHES
    },
    "union": Work(("union",), unite, ("catalog.parquet", *_VECTORS, *_LISTS), ("pairs.parquet",)),
    "pairs": Work(
        ("describe", "score"),
        describe_and_score,
        ("catalog.parquet", *_VECTORS, *_LISTS, "pairs.parquet"),
        ("scores.parquet",),
    ),
    "decision": Work(("decide", "write"), decide_and_write, ("catalog.parquet", "scores.parquet")),
    "whole": Work(("whole",), whole),
}
STAGES = tuple(stage for work in WORKS.values() for stage in work.stages)


def do(order: Order) -> dict[str, dict[str, Any]]:
    """Do a piece of work in this process; return stage → what was measured of it."""
    with measured() as cost:
        desk = Desk(order)
        with threadpool_limits(desk.threads), desk.sampler if order.profile else nullcontext():
            WORKS[order.work].run(desk)
    if order.profile:
        for stage, row in desk.rows.items():
            row["shares"] = desk.sampler.shares(stage)
    peak = {"peak_memory_mb": cost["peak_memory_mb"], "threads": desk.threads}
    return {stage: _rounded(row) | peak for stage, row in desk.rows.items()}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def order_text(order: Order) -> str:
    """Return an order as the argument of a process."""
    return json.dumps(asdict(order))


def main(order: str, file: str) -> int:
    """Do an order and write what was measured to a file; return the exit code."""
    return ended(lambda: write_json(Path(file), do(Order(**json.loads(order)))), interrupted="interrupted")


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
