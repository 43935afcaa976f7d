import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.candidate_pairs import union
from ensemble.pool_views import BranchView, PoolViews
from shared.demo import make_demo
from shared.schema import CandidatePairs, Catalog, Embeddings
from shared.search.exact import nearest
from tests.support.catalogs import random_catalog, titled
from tests.support.paths import NO_NETWORK, ROOT
from tests.support.run_files import age

ONE_CORE = ["--compute.threads=1", "--compute.device=cpu"]
SMALL = ["--image.epochs=0", "--distilbert.epochs=0", "--image.size=64", "--image.embed_size=64", "--scorer.rounds=30"]

MakeCatalog = Callable[..., Catalog]
MakePool = Callable[..., PoolViews]


def random_embeddings(present: np.ndarray, seed: int, d: int = 6) -> Embeddings:
    """Vectors of small whole numbers, so that some cosines are equal and some listings are copies."""
    vectors = np.random.default_rng(seed).integers(0, 3, (len(present), d)).astype(np.float64)
    vectors[:, 0] += 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(np.where(present[:, None], vectors, 0).astype(np.float32), present)


@pytest.fixture(scope="session")
def make_catalog() -> MakeCatalog:
    return titled


@pytest.fixture(scope="session")
def make_random_catalog() -> MakeCatalog:
    return random_catalog


@pytest.fixture(scope="session")
def make_pool() -> MakePool:
    """Makes a pool in which a branch embeds titles, another images, and a third nothing at all."""

    def make(listings: Catalog, neighbors: int = 4) -> PoolViews:
        evidence = {
            "words": np.array([bool(title.strip()) for title in listings.titles], dtype=bool),
            "looks": listings.has_image.astype(bool),
            "mute": np.zeros(len(listings), dtype=bool),
        }
        views = {}
        for seed, (name, present) in enumerate(evidence.items()):
            embeddings = random_embeddings(present, seed)
            views[name] = BranchView(embeddings, nearest(embeddings, neighbors, np))
        return PoolViews(listings, views)

    return make


@pytest.fixture(scope="session")
def proposed() -> Callable[[PoolViews], CandidatePairs]:
    """Returns all pairs that the branches of a pool propose."""
    return lambda pool: union((view.candidates for view in pool.branches.values()), len(pool))


@pytest.fixture(scope="session")
def moved() -> Callable[[PoolViews, np.ndarray], PoolViews]:
    """Returns a pool with its listings in another order: new row → old row."""

    def move(pool: PoolViews, order: np.ndarray, neighbors: int = 4) -> PoolViews:
        views = {}
        for name, view in pool.branches.items():
            embeddings = Embeddings(view.embeddings.vectors[order], view.embeddings.present[order])
            views[name] = BranchView(embeddings, nearest(embeddings, neighbors, np))
        return PoolViews(pool.catalog.take(order), views)

    return move


@pytest.fixture(scope="session")
def every_pair() -> Callable[[int], CandidatePairs]:
    """Returns all pairs of n listings."""
    return lambda n: CandidatePairs(n, *(rows.astype(np.int32) for rows in np.triu_indices(n, 1)))


# --- a finished run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in a process of its own, on one core and without the network."""

    def call(module: str, *arguments: object, project: Path = ROOT) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", module, *map(str, arguments)]
        paths = {"PYTHONPATH": os.pathsep.join(map(str, (project, NO_NETWORK))), "PYTHONDONTWRITEBYTECODE": "1"}
        environment = os.environ | paths | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        return subprocess.run(
            line, cwd=project, env=environment, capture_output=True, text=True, timeout=600, check=False
        )

    return call


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo marketplace in Kaggle layout."""
    folder = tmp_path_factory.mktemp("whole_job") / "data"
    make_demo(folder, 120, 0, 1)
    age(folder)
    return folder


@pytest.fixture(scope="session")
def first(data: Path, python: Callable[..., subprocess.CompletedProcess[str]]) -> tuple[Path, str]:
    """A finished run on it, and what it printed. Not to be written to."""
    run = data.parent / "run"
    done = python("ensemble", "--run", run, "--data", data, *ONE_CORE, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return run, done.stdout


@pytest.fixture(scope="session")
def copy_run() -> Callable[[Path, Path], Path]:
    """Copies a run folder; weights and embeddings are hard links, since they are most of it and only ever replaced."""

    def copy(source: str, target: str) -> None:
        os.link(source, target) if source.endswith(".safetensors") else shutil.copy2(source, target)

    return lambda run, to: Path(shutil.copytree(run, to, copy_function=copy))


@pytest.fixture
def run(first: tuple[Path, str], copy_run: Callable[[Path, Path], Path], tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return copy_run(first[0], tmp_path / "run")


@pytest.fixture
def without_data(data: Path, first: tuple[Path, str]) -> Iterator[None]:
    """The folder that the finished run was made of is not on the disk."""
    elsewhere = data.rename(data.with_name("elsewhere"))
    yield
    elsewhere.rename(data)


@pytest.fixture(scope="session")
def listings(data: Path) -> pd.DataFrame:
    """The table of the demo marketplace. Not to be written to."""
    return pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="session")
def stage_lines() -> Callable[[str], dict[str, str]]:
    """Returns what a command printed about each stage: stage → text."""

    def read(output: str) -> dict[str, str]:
        lines = [line.split(maxsplit=1) for line in output.splitlines() if line and not line.startswith((" ", "run "))]
        return {name: text for name, text in lines if "/" in name or name in ("split", "matches")}

    return read


def call_main(module: str, *arguments: object) -> int:
    """Run a command in this process and return its exit code."""
    spec, handler = find_spec(module), signal.getsignal(signal.SIGTERM)
    assert spec is not None
    is_package = spec.submodule_search_locations is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        try:
            code: int = import_module(f"{module}.__main__" if is_package else module).main()
        finally:
            signal.signal(signal.SIGTERM, handler)
    return code


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process; returns its exit code and what it wrote to the two streams."""

    def call(module: str, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        return (call_main(module, *arguments), *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def quiet_command() -> Callable[..., str]:
    """Runs a command in this process that must succeed; returns what it printed."""

    def call(module: str, *arguments: object) -> str:
        with redirect_stdout(StringIO()) as output:
            assert call_main(module, *arguments) == 0
        return output.getvalue()

    return call
