"""The folder `log` of a stage: how the work went, and not what came of it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.errors import MatcherError
from shared.pipeline.run import LOG, MANIFEST, Run, Work

MODULE = "shared.errors"  # any module of ours that imports little


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", say=lambda line: None)


def logs(text: str, output: str = "weights") -> Work:
    """Work that writes the same output whatever it notes in its log."""

    def work(out: Path) -> Mapping[str, Any]:
        (out / LOG / "deep").mkdir(parents=True)
        (out / LOG / "metrics.jsonl").write_text(text)
        (out / LOG / "deep" / "events").write_text(text)
        (out / "out.txt").write_text(output)
        return {}

    return work


def not_to_be_done(out: Path) -> Mapping[str, Any]:
    raise AssertionError("not to be done")


def stage(run: Run, work: Work, name: str = "a/b", **settings: Any) -> Path:
    return Run(run.folder, say=run.say).stage(name, MODULE, {}, settings, work)


def test_a_finished_stage_keeps_its_log_which_is_no_output(run: Run) -> None:
    made = stage(run, logs("1.5 s"))
    assert (made / LOG / "deep" / "events").read_text() == "1.5 s"
    assert (run.manifest("a/b") or {})["outputs"].keys() == {"out.txt"}


def test_equal_outputs_have_equal_digests_whatever_the_logs_say(run: Run) -> None:
    for name, text, output in (("one", "1.5 s", "w"), ("two", "9 s", "w"), ("other", "1.5 s", "v")):
        stage(run, logs(text, output), name)
    assert run.digest_of("one") == run.digest_of("two")
    assert run.digest_of("one") != run.digest_of("other")


@pytest.mark.parametrize("name", ["log.txt", "deep/log/out.txt", "log"])
def test_only_the_folder_log_right_below_the_stage_is_no_output(run: Run, name: str) -> None:
    def work(out: Path) -> Mapping[str, Any]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("output")
        return {}

    stage(run, work)
    assert (run.manifest("a/b") or {})["outputs"].keys() == {name}


def test_a_log_that_was_altered_or_removed_damages_nothing(run: Run) -> None:
    made = stage(run, logs("1.5 s"))
    (made / LOG / "metrics.jsonl").write_text("other")
    stage(run, not_to_be_done)
    shutil.rmtree(made / LOG)
    stage(run, not_to_be_done)
    assert Run(run.folder).open("a/b") == made


def test_a_killed_stage_finds_its_log_and_checkpoint_again(run: Run) -> None:
    def killed(out: Path) -> Mapping[str, Any]:
        for folder in (LOG, "checkpoint", "half"):
            (out / folder).mkdir()
            (out / folder / "file").write_text("before")
        raise KeyboardInterrupt

    def resumed(out: Path) -> Mapping[str, Any]:
        assert sorted(path.name for path in out.iterdir()) == ["checkpoint", "key", LOG]
        shutil.rmtree(out / "checkpoint")
        with (out / LOG / "file").open("a") as file:
            file.write(" and after")
        return {}

    with pytest.raises(KeyboardInterrupt):
        stage(run, killed)
    made = stage(run, resumed)
    assert (made / LOG / "file").read_text() == "before and after"
    assert sorted(path.name for path in made.iterdir()) == [LOG, MANIFEST]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), MatcherError("bad"), None])
def test_the_log_of_other_settings_is_not_found(run: Run, end: BaseException | None) -> None:
    def first(out: Path) -> Mapping[str, Any]:
        logs("old")(out)
        if end:
            raise end
        return {}

    def looks(out: Path) -> Mapping[str, Any]:
        return {"found": (out / LOG).exists()}

    if end:
        with pytest.raises(type(end)):
            stage(run, first)
    else:
        stage(run, first)
    made = stage(run, looks, s=1)
    assert (run.manifest("a/b") or {})["figures"] == {"found": False}
    assert [path.name for path in made.iterdir()] == [MANIFEST]
