"""The progress of a whole job: on a terminal one live line says how many stages are done and how much time is left.

Elsewhere nothing is added to the lines of the stages. The time left is estimated from what the same stage took before,
or another one of its kind takes; where most of the work is of unknown length, the line counts stages alone.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tqdm import tqdm

from shared.pipeline.run import RunFolder
from shared.pipeline.shards import shards_done
from shared.pipeline.stage import Stage

# Kind of stage → its usual share of the time, 1 for all others; measured on the demo.
WEIGHTS = {"encoder": 300.0, "embeddings": 25.0, "scorer": 100.0, "decision": 50.0, "evaluation": 50.0, "demo": 15.0}
WHOLE = 2.0  # times the share for what works on the whole catalog and not on a fold
_POOL = re.compile(r"/(fold\d+|holdout|catalog|all)(-.+)?$")
COVERED = 0.5  # share of the work, by weight, whose time must be known for an estimate
REFRESH_S = 5.0
ERASE_LINE, ERASE_BELOW = "\x1b[K", "\x1b[J"  # what bars that have ended left behind the cursor


def kinds(stage: str) -> tuple[str, str]:
    """Return what stages share that do the same for different pools, and what such stages of all branches share.

    Examples:
        >>> kinds("image/encoder/fold0"), kinds("ensemble/scorer")
        (('image/encoder', 'encoder'), ('ensemble/scorer', 'scorer'))
    """
    of_pools = _POOL.sub("", stage)
    return of_pools, of_pools.rpartition("/")[2]


def weight(stage: str) -> float:
    """Return the usual time of a stage, in parts of that of an ordinary one.

    Examples:
        >>> weight("image/encoder/fold0"), weight("image/encoder/all"), weight("split")
        (300.0, 600.0, 1.0)
    """
    return WEIGHTS.get(kinds(stage)[1], 1.0) * (WHOLE if stage.endswith(("/all", "/catalog")) else 1.0)


def seconds_left(to_come: Sequence[str], seconds: Mapping[str, float]) -> float | None:
    """Return how many seconds some stages will take; None where that cannot be told.

    A stage takes what it took before, else what its weight says at the rate of stages of its kind: those that do the
    same for other pools, or else those of other branches. The rest goes at the rate of all stages whose time is known,
    if these are most of the work.

    Args:
        to_come: Names of the stages that will run.
        seconds: Seconds that stages took, in this run or before; they may be others than those to come.

    Examples:
        >>> seconds_left(["image/encoder/fold1", "image/encoder/all"], {"image/encoder/fold0": 60.0})
        180.0
        >>> seconds_left(["image/encoder/fold0"], {"split": 0.1}) is None
        True
    """
    rates = _rates(seconds)
    expected: dict[str, float] = {}
    for name in to_come:
        rate = next((rates[each] for each in kinds(name) if each in rates), None)
        if name in seconds:
            expected[name] = seconds[name]
        elif rate is not None:
            expected[name] = rate * weight(name)
    rest = sum(weight(name) for name in to_come if name not in expected)
    times = expected | dict(seconds)
    covered = sum(map(weight, times))
    if not rest:
        return sum(expected.values())
    return (
        None if covered < COVERED * (covered + rest) else sum(expected.values()) + sum(times.values()) / covered * rest
    )


def _rates(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds per unit of weight of each kind of stage."""
    sums: dict[str, list[float]] = {}
    for name, value in seconds.items():
        for each in set(kinds(name)):
            total = sums.setdefault(each, [0.0, 0.0])
            total[0] += value
            total[1] += weight(name)
    return {each: total / weights for each, (total, weights) in sums.items()}


def line_of(done: int, count: int, stage: str, left: float | None, shards: tuple[int, int] | None = None) -> str:
    """Return the live line.

    Args:
        done: Number of stages that are up to date.
        count: Number of all stages.
        stage: The one that runs.
        left: Seconds that are left; None where that is unknown.
        shards: How many of its shards are done, and how many it has; None: its work is not cut.

    Examples:
        >>> line_of(3, 41, "image/encoder/fold0", 700.0)
        '3 of 41 stages · about 12 min left · image/encoder/fold0'
        >>> line_of(3, 41, "split", None)
        '3 of 41 stages · split'
        >>> line_of(3, 41, "image/embeddings/catalog", None, (4, 20))
        '3 of 41 stages · image/embeddings/catalog · 4 of 20 shards'
    """
    parts = [f"{done:,} of {count:,} stages", *([] if left is None else [_in_words(left)]), stage]
    if shards is not None:
        parts.append(f"{shards[0]:,} of {shards[1]:,} shards")
    return " · ".join(parts)


def _in_words(left: float) -> str:
    if left < 60:
        return "less than a minute left"
    minutes = round(left / 60)
    if minutes < 60:
        return f"about {minutes} min left"
    return (
        f"about {minutes // 60} h {minutes % 60} min left" if minutes < 600 else f"about {round(minutes / 60)} h left"
    )


@dataclass
class Progress:
    """What is done of some stages, and how long the rest will take.

    Args:
        stages: All stages of the job, in order.
        seconds: Seconds that stages took before, by name.
        stale: Names of stages that will run again for certain.

    Examples:
        >>> read, count = Stage("read", dict, code=()), Stage("count", dict, code=(), reads=("read",))
        >>> progress = Progress([read, count], {"read": 60.0, "count": 120.0}, {"read"})
        >>> progress.start("read", now=0.0)
        >>> progress.line(now=30.0)
        '0 of 2 stages · about 2 min left · read'
        >>> progress.end("read", 45.0)
        >>> progress.start("count", now=45.0)
        >>> progress.line(now=45.0)
        '1 of 2 stages · about 2 min left · count'
    """

    stages: Sequence[Stage]
    seconds: dict[str, float]
    stale: set[str]
    done: set[str] = field(default_factory=set)
    current: str = ""
    began: float = 0.0

    def start(self, stage: str, now: float) -> None:
        """Note that a stage begins, at a time in seconds."""
        self.current, self.began = stage, now

    def end(self, stage: str, seconds: float | None) -> None:
        """Note that a stage is up to date; `seconds` is what its work took, None if it was unchanged."""
        self.done.add(stage)
        if seconds is None:
            self.stale.discard(stage)
        else:
            self.stale.add(stage)
            self.seconds[stage] = seconds

    def to_run(self) -> list[str]:
        """Return the stages that are not done and will run: new ones, and those that read what has changed."""
        changed = set(self.stale)
        for stage in self.stages:
            if stage.name not in self.done and changed.intersection(stage.reads):
                changed.add(stage.name)
        return [stage.name for stage in self.stages if stage.name in changed - self.done]

    def left(self, now: float) -> float | None:
        """Return the seconds left; the stage that runs counts as one that will run until it is done."""
        to_run = self.to_run()
        left = seconds_left(to_run, self.seconds)
        if left is None or self.current not in to_run:
            return left
        spent, whole = now - self.began, seconds_left([self.current], self.seconds)
        return left - min(spent, left if whole is None else whole)

    def line(self, now: float, shards: tuple[int, int] | None = None) -> str:
        """Return the live line at a time in seconds, with how many shards of the stage are done, of how many."""
        return line_of(len(self.done), len(self.stages), self.current, self.left(now), shards)


def progress_of(run: RunFolder, stages: Sequence[Stage], redo: Collection[str]) -> Progress:
    """Return the progress of a job that has not begun.

    Args:
        run: The run folder.
        stages: All stages of the job, in order.
        redo: Names of stages that run again even if nothing changed.

    Examples:
        >>> from pathlib import Path
        >>> progress_of(RunFolder(Path("no/such/run")), [Stage("split", dict, code=())], []).to_run()
        ['split']
    """
    manifests = {stage.name: run.manifest(stage.name) for stage in stages}
    seconds = {
        name: float(manifest.get("seconds", 0.0)) for name, manifest in manifests.items() if manifest is not None
    }
    return Progress(stages, seconds, {name for name, manifest in manifests.items() if manifest is None} | set(redo))


# --- the live line ---------------------------------------------------------------------------------------------------


def is_terminal() -> bool:
    """Return whether both streams go to a terminal, where a line can be written over.

    Examples:
        >>> is_terminal()
        False
    """
    return sys.stdout.isatty() and sys.stderr.isatty()


@contextmanager
def live_line(run: RunFolder, stages: Sequence[Stage], redo: Collection[str]) -> Iterator[Iterable[Stage]]:
    """Yield the stages of a job; on a terminal, a live line below all that is printed tells how far it is.

        with live_line(run, stages, redo=()) as each:
            for stage in each:
                bring_stage_up_to_date(run, settings, stage)

    The line is one of tqdm's, so that the bars of trainings stand beside it and not upon it. Lines that the run says
    meanwhile are printed above it.

    Args:
        run: The run folder.
        stages: All stages of the job, in order.
        redo: Names of stages that run again even if nothing changed.
    """
    if not is_terminal():
        yield stages
        return
    progress, say, ended = progress_of(run, stages, redo), run.say, threading.Event()
    bar = tqdm(total=0, bar_format="{desc}", leave=False, dynamic_ncols=True)

    def show() -> None:
        shards = shards_done(run, progress.current)
        bar.set_description_str(progress.line(time.monotonic(), shards) + ERASE_LINE)

    def refresh() -> None:
        while not ended.wait(REFRESH_S):
            show()

    def say_above(text: str) -> None:
        with tqdm.external_write_mode():
            print(ERASE_BELOW, end="", flush=True)
            say(text)

    clock = threading.Thread(target=refresh, daemon=True)
    clock.start()
    run.say = say_above
    try:
        yield _with_progress(run, progress, show)
    finally:
        run.say = say
        ended.set()
        clock.join()
        bar.close()
        print(ERASE_BELOW, end="", flush=True)


def _with_progress(run: RunFolder, progress: Progress, show: Callable[[], None]) -> Iterator[Stage]:
    """Yield the stages of a job, and note what became of each when the next one is asked for."""
    for stage in progress.stages:
        before = run.manifest(stage.name)
        progress.start(stage.name, time.monotonic())
        show()
        yield stage
        after = run.manifest(stage.name)
        has_run = after is not None and after != before
        progress.end(stage.name, float(after["seconds"]) if after is not None and has_run else None)
