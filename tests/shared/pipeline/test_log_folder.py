"""The folder `log` of a stage: how the work went, and not what came of it."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.pipeline.engine import LOG
from shared.pipeline.run import MANIFEST, RunFolder


def logs(text: str, output: str = "weights") -> Callable[[Path], Mapping[str, Any]]:
    """Work that writes the same output whatever it notes in its log."""

    def behavior(out: Path) -> Mapping[str, Any]:
        (out / LOG / "deep").mkdir(parents=True)
        (out / LOG / "metrics.jsonl").write_text(text)
        (out / LOG / "deep" / "events").write_text(text)
        (out / "out.txt").write_text(output)
        return {}

    return behavior


def test_log_is_kept_and_no_output(run: RunFolder, do: Any) -> None:
    folder = do(logs("1.5 s"))
    assert (folder / LOG / "deep" / "events").read_text() == "1.5 s"
    assert run.files("a/b").keys() == {"out.txt"}


def test_digest_of_equal_outputs_with_other_logs(run: RunFolder, do: Any) -> None:
    for name, text, output in (("one", "1.5 s", "w"), ("two", "9 s", "w"), ("other", "1.5 s", "v")):
        do(logs(text, output), name)
    assert run.digest_of("one") == run.digest_of("two") != run.digest_of("other")


@pytest.mark.parametrize("name", ["log.txt", "deep/log/out.txt", "log"])
def test_log_elsewhere_is_an_output(run: RunFolder, do: Any, writes: Any, name: str) -> None:
    def behavior(out: Path) -> Mapping[str, Any]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("output")
        return {}

    do(behavior)
    assert run.files("a/b").keys() == {name}


def test_log_altered_or_removed_damages_nothing(run: RunFolder, do: Any, unwanted: Any) -> None:
    folder = do(logs("1.5 s"))
    (folder / LOG / "metrics.jsonl").write_text("other")
    do(unwanted)
    shutil.rmtree(folder / LOG)
    do(unwanted)
    assert run.open("a/b") == folder


def test_log_of_a_killed_stage_is_gone_on_with(do: Any) -> None:
    def killed(out: Path) -> Mapping[str, Any]:
        (out / LOG).mkdir()
        (out / LOG / "file").write_text("before")
        raise KeyboardInterrupt

    def resumed(out: Path) -> Mapping[str, Any]:
        with (out / LOG / "file").open("a") as file:
            file.write(" and after")
        return {}

    with pytest.raises(KeyboardInterrupt):
        do(killed)
    folder = do(resumed)
    assert (folder / LOG / "file").read_text() == "before and after"
    assert sorted(path.name for path in folder.iterdir()) == [LOG, MANIFEST]


def test_log_of_a_finished_stage_is_not_found_by_the_next(run: RunFolder, do: Any) -> None:
    do(logs("old"))
    folder = do(lambda out: {"found": (out / LOG).exists()}, parameters={"s": 1})
    assert (run.manifest("a/b") or {})["metrics"] == {"found": False}
    assert [path.name for path in folder.iterdir()] == [MANIFEST]
