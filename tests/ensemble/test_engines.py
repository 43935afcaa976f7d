"""A whole small job by every engine: the same bytes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ensemble.pair_stages
from tests.support.disturbed_job import SETTINGS, files, table

pytestmark = pytest.mark.slow
SMALL_SHARDS = [*SETTINGS, "--compute.shard_rows=9"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def titles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engines") / "titles.csv"
    table(path, 40)
    return path


@pytest.fixture(scope="module")
def whole(titles: Path, quiet_command: Callable[..., str]) -> dict[str, bytes]:
    """What a job writes that cuts nothing into shards but the described pairs into files."""
    run = titles.parent / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble.pair_stages, "PAIRS_PER_FILE", 200)
        patch.setattr("shared.pipeline.engine.plan_of", lambda *stage: ())
        quiet_command("ensemble", "--run", run, "--data", titles, *SETTINGS)
    written = files(run)
    shutil.rmtree(run)
    assert len([name for name in written if name.startswith("ensemble/features/catalog/pairs-")]) > 2
    return written


@pytest.mark.fault(16)
@pytest.mark.parametrize("options", [(), ("--engine=processes", "--workers=3"), ("--engine=dask", "--workers=3")])
def test_same_bytes(
    options: tuple[str, ...],
    whole: dict[str, bytes],
    titles: Path,
    command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "--engine=dask" in options:
        pytest.importorskip("distributed")
    monkeypatch.setattr(ensemble.pair_stages, "PAIRS_PER_FILE", 200)
    code, output, errors = command("ensemble", "--run", tmp_path / "run", "--data", titles, *SMALL_SHARDS, *options)
    assert (code, errors) == (0, "")
    cut = {line.split()[0] for line in output.splitlines() if " shards " in line}
    stages = ("tfidf/candidates", "ensemble/features", "ensemble/scores")
    assert {f"{stage}/catalog" for stage in stages} <= cut
    written = files(tmp_path / "run")
    assert written.keys() == whole.keys()
    assert [name for name in whole if written[name] != whole[name]] == ["settings.json"]
    shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize("branch", ["distilbert", "image"])
def test_embeddings_same_bytes(branch: str, run: Path, python: Callable[..., Any]) -> None:
    before = (run / branch / "embeddings" / "catalog" / "embeddings.safetensors").read_bytes()
    options = ("--run", run, "--force", "--compute.shard_rows=50", "--engine=processes", "--workers=2")
    done = python(f"branches.{branch}.embed", *options)
    assert (done.returncode, done.stderr) == (0, "")
    line = next(line for line in done.stdout.splitlines() if line.startswith(f"{branch}/embeddings/catalog "))
    assert " shards 3 " in line
    assert (run / branch / "embeddings" / "catalog" / "embeddings.safetensors").read_bytes() == before


def test_approximate_search_same_bytes(run: Path, python: Callable[..., Any]) -> None:
    folder, written = run / "distilbert" / "candidates", []
    for options in ([], ["--compute.shard_rows=20", "--engine=processes", "--workers=2"]):
        shutil.rmtree(folder)
        done = python("ensemble.candidates", "--run", run, "--distilbert.search=approximate", *options)
        assert (done.returncode, done.stderr) == (0, "")
        line = next(line for line in done.stdout.splitlines() if line.startswith("distilbert/candidates/catalog "))
        assert "search approximate" in line
        assert (" shards 3 " in line) == bool(options)
        written.append(files(folder))
    assert written[0] == written[1]
