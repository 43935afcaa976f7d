import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ensemble.candidates import union
from ensemble.pool_views import BranchView, PoolViews
from shared.demo import make_demo
from shared.pipeline.run import ROOT
from shared.schema import CATALOG_SCHEMA, CandidatePairs, Catalog, Embeddings
from shared.search.exact import nearest

VOCABULARY = "tas ransel wanita pria hitam 500ml 2 lusin isi 10 pcs iphone 8 64gb lem kaos xl merah ori murah"
WORDS = VOCABULARY.split()
SMALL = ["--image.epochs=0", "--distilbert.epochs=0", "--image.size=64", "--image.embed_size=64", "--scorer.rounds=30"]

MakeCatalog = Callable[..., Catalog]
MakePool = Callable[..., PoolViews]


def catalog(titles: Sequence[str | None], ids: Sequence[str] | None = None, **columns: Sequence[object]) -> Catalog:
    """Listings with these titles; other columns of the catalog as given, else null."""
    n = len(titles)
    arrays = {f.name: pa.nulls(n, f.type) for f in CATALOG_SCHEMA}
    arrays["posting_id"] = pa.array(ids if ids is not None else [f"id{i:04}" for i in range(n)], pa.string())
    arrays["title"] = pa.array(titles, pa.string())
    arrays |= {name: pa.array(values, CATALOG_SCHEMA.field(name).type) for name, values in columns.items()}
    return Catalog(pa.table(arrays, schema=CATALOG_SCHEMA))


def random_catalog(n: int, seed: int = 0) -> Catalog:
    """Listings of which some lack their title, some their picture, some both, and some share one or both."""
    rng = np.random.default_rng(seed)
    titles = [" ".join(rng.choice(WORDS, rng.integers(1, 7))) if rng.random() < 0.85 else None for _ in range(n)]
    shas = [f"sha{rng.integers(n)}" if rng.random() < 0.8 else None for _ in range(n)]
    facts = {
        name: [int(rng.integers(50, 2000)) if sha else None for sha in shas] for name in ("width", "height", "bytes")
    }
    return catalog(titles, image_sha=shas, **facts)


def random_embeddings(present: np.ndarray, seed: int, d: int = 6) -> Embeddings:
    """Vectors of small whole numbers, so that some cosines are equal and some listings are copies."""
    vectors = np.random.default_rng(seed).integers(0, 3, (len(present), d)).astype(np.float64)
    vectors[:, 0] += 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(np.where(present[:, None], vectors, 0).astype(np.float32), present)


@pytest.fixture(scope="session")
def make_catalog() -> MakeCatalog:
    return catalog


@pytest.fixture(scope="session")
def make_random_catalog() -> MakeCatalog:
    return random_catalog


@pytest.fixture(scope="session")
def make_pool() -> MakePool:
    """A pool in which a branch knows titles, another pictures, and a third nothing at all."""

    def make(listings: Catalog, neighbors: int = 4) -> PoolViews:
        known = {
            "words": np.array([bool(title.strip()) for title in listings.titles], dtype=bool),
            "looks": listings.has_image.astype(bool),
            "mute": np.zeros(len(listings), dtype=bool),
        }
        views = {}
        for seed, (name, present) in enumerate(known.items()):
            embeddings = random_embeddings(present, seed)
            views[name] = BranchView(embeddings, nearest(embeddings, neighbors, np))
        return PoolViews(listings, views)

    return make


@pytest.fixture(scope="session")
def proposed() -> Callable[[PoolViews], CandidatePairs]:
    """All that the branches of a pool propose."""
    return lambda pool: union((view.candidates for view in pool.branches.values()), len(pool))


@pytest.fixture(scope="session")
def moved() -> Callable[[PoolViews, np.ndarray], PoolViews]:
    """The same pool with its listings in another order: new row → old row."""

    def move(pool: PoolViews, order: np.ndarray, neighbors: int = 4) -> PoolViews:
        views = {}
        for name, view in pool.branches.items():
            embeddings = Embeddings(view.embeddings.vectors[order], view.embeddings.present[order])
            views[name] = BranchView(embeddings, nearest(embeddings, neighbors, np))
        return PoolViews(pool.catalog.take(order), views)

    return move


@pytest.fixture(scope="session")
def every_pair() -> Callable[[int], CandidatePairs]:
    """All pairs of n listings."""
    return lambda n: CandidatePairs(n, *(rows.astype(np.int32) for rows in np.triu_indices(n, 1)))


# --- a finished run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command in a process of its own, on one core."""

    def call(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", module, *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)

    return call


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo marketplace in Kaggle layout."""
    folder = tmp_path_factory.mktemp("whole_job") / "data"
    make_demo(folder, 120, 0, 1)
    return folder


@pytest.fixture(scope="session")
def first(data: Path, python: Callable[..., subprocess.CompletedProcess[str]]) -> tuple[Path, str]:
    """A finished run on it, and what it said. Not to be written to."""
    run = data.parent / "run"
    one_core = ["--compute.threads=1", "--compute.device=cpu"]
    done = python("ensemble", "--run", run, "--data", data, *one_core, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return run, done.stdout


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """A command in this process: its exit code, and what it wrote to the two streams."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(module: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [module, *map(str, arguments)])
        capsys.readouterr()
        code = import_module("ensemble.__main__" if module == "ensemble" else module).main()
        return (code, *capsys.readouterr())

    yield call
    signal.signal(signal.SIGTERM, handler)
