"""What the tests of the pipeline share: a run folder, and a stage that does what a test says."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shared.pipeline.engine import bring_stage_up_to_date
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Stage

Behavior = Callable[[Path], Mapping[str, Any]]
CODE = ("shared.errors",)  # any module of this project that imports little


class StageDoer:
    """Brings a stage up to date whose source, and so its key, is the same whatever it does."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def __call__(self, behavior: Behavior, name: str = "a/b", *, redo: bool = False, **declared: Any) -> Path:
        """Do or skip the stage, as a new process would; the parameters are `s`, the rest what a stage declares."""
        settings = declared.pop("in_settings", Settings({}, {}))

        def work(inputs: Any, config: Any, out: Path, **parameters: Any) -> Mapping[str, Any]:
            return behavior(out)

        stage = Stage(name, work, **{"code": CODE, **declared})
        return bring_stage_up_to_date(RunFolder(self.run.folder, say=self.run.say), settings, stage, redo=redo)


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, lines: list[str]) -> RunFolder:
    return RunFolder(tmp_path / "run", say=lines.append)


@pytest.fixture
def do(run: RunFolder) -> StageDoer:
    return StageDoer(run)


@pytest.fixture(scope="session")
def writes() -> Callable[..., Behavior]:
    """Work that writes one file."""

    def make(text: str = "content", name: str = "out.txt") -> Behavior:
        def behavior(out: Path) -> Mapping[str, Any]:
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text(text)
            return {"letters": len(text)}

        return behavior

    return make


@pytest.fixture(scope="session")
def raises() -> Callable[[BaseException], Behavior]:
    """Work that fails after it has written half of its outputs."""

    def make(error: BaseException) -> Behavior:
        def behavior(out: Path) -> Mapping[str, Any]:
            (out / "out.txt").write_text("half")
            raise error

        return behavior

    return make


@pytest.fixture(scope="session")
def unwanted(raises: Callable[[BaseException], Behavior]) -> Behavior:
    """Work that must not be done."""
    return raises(AssertionError("not to be done"))
