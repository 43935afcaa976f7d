"""A stage that is cut into shards, and does in them what the files in a folder say."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.artifacts import write_json
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.stage import Shards, Stage

NAME = "letters"


def plan(inputs: Any, config: Any, count: int, trouble: str) -> Sequence[Any]:
    return [{"letter": chr(ord("a") + at)} for at in range(count)]


def prepare(inputs: Any, config: Any, out: Path, count: int, trouble: str) -> None:
    with (Path(trouble) / "prepared").open("a") as file:
        file.write("once")
    (out / "prefix.txt").write_text("")


def open_letters(inputs: Any, config: Any, prepared: Path, count: int, trouble: str) -> Callable[[Any, Path], object]:
    """Returns what writes a letter, after the trouble that a file of that letter names."""
    folder, prefix = Path(trouble), (prepared / "prefix.txt").read_text()
    with (folder / "opened").open("a") as file:
        file.write(f"{os.getpid()}\n")

    def do(shard: Mapping[str, str], out: Path) -> None:
        letter, file = shard["letter"], folder / shard["letter"]
        with (folder / "done").open("a") as log:
            log.write(letter)
        what = file.read_text() if file.exists() else ""
        if what == "killed once":
            file.unlink()
        print(f"about to write {letter}", file=sys.stderr, flush=True)
        (out / "half.txt").write_text("half")
        if what.startswith("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "refused":
            raise MatcherError(f"no {letter}")
        if what == "damaged":
            raise ArtifactError(f"{letter} is damaged")
        if what == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
        if what == "bug":
            raise KeyError(letter)
        if what == "slow":
            write_json(file.with_name(f"{letter} began"), {"process": os.getpid()})
            time.sleep(60)
        (out / "half.txt").unlink()
        (out / "letter.txt").write_text(prefix + letter)

    return do


def join(inputs: Any, config: Any, out: Path, shards: Sequence[Path], prepared: Path, **of: Any) -> Mapping[str, Any]:
    assert (prepared / "prefix.txt").exists()
    (out / "letters.txt").write_text("".join((shard / "letter.txt").read_text() for shard in shards))
    return {"letters": len(shards)}


def whole(inputs: Any, config: Any, out: Path, count: int, trouble: str) -> Mapping[str, Any]:
    (out / "letters.txt").write_text("".join(shard["letter"] for shard in plan(inputs, config, count, trouble)))
    return {"letters": count}


def letters(trouble: Path, count: int = 5) -> Stage:
    """The stage; it keeps a log of the shards that were begun (`done`) and of the processes that did any (`opened`)."""
    parameters = {"count": count, "trouble": str(trouble)}
    return Stage(NAME, whole, code=(), parameters=parameters, shards=Shards(plan, open_letters, join, prepare))
