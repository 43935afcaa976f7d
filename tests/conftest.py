"""What several tests share."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.demo import make_demo
from shared.schema import Catalog
from tests.support.catalogs import catalog_of
from tests.support.run_files import age
from tests.support.tables import TEST_ROWS, read_rows, write_rows

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

FINISHED_RUN = "first"  # the fixture, see tests/ensemble/conftest.py


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a finished run as slow."""
    for item in items:
        if FINISHED_RUN in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def one_thread() -> ComputeConfig:
    return ComputeConfig(device="cpu", threads=1)


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo marketplace of 40 listings in Kaggle layout, not to be written to."""
    folder = tmp_path_factory.mktemp("demo") / "market"
    make_demo(folder, listings=40, seed=0)
    age(folder)
    return folder


@pytest.fixture
def tested(demo_folder: Path, tmp_path: Path) -> Path:
    """The demo with its last `TEST_ROWS` listings in a test.csv, labels and all."""
    folder = tmp_path / "data"
    shutil.copytree(demo_folder, folder)
    shutil.copytree(demo_folder / "train_images", folder / "test_images")
    rows = read_rows(folder / "train.csv")
    write_rows(folder / "train.csv", rows[:-TEST_ROWS])
    write_rows(folder / "test.csv", rows[-TEST_ROWS:])
    return folder


@pytest.fixture
def sigterm() -> Iterator[None]:
    """Give SIGTERM back, which a command takes over."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def demo_catalog(demo_folder: Path, one_thread: ComputeConfig) -> Catalog:
    return read_catalog(find_source(demo_folder, DataConfig()), DataConfig(), one_thread, labeled=True)


@pytest.fixture(scope="session", name="catalog_of")
def catalog_of_columns() -> Callable[..., Catalog]:
    """Makes a catalog of the given columns; ids are l0, l1, …, all else is null."""
    return catalog_of
