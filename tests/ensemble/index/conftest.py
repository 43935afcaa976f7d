"""A catalog for indexes, and a matcher that takes no time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from branches import registry
from branches.base import Embedder
from ensemble.matcher import Matcher
from ensemble.sections import sections
from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings, merge
from shared.schema import Catalog, Embeddings

ONE_CORE = {"compute": {"threads": 1, "device": "cpu"}}


class Blind:
    """An embedder without evidence about anything."""

    def transform(self, listings: Catalog) -> Embeddings:
        return Embeddings(np.zeros((len(listings), 2), dtype=np.float32), np.zeros(len(listings), dtype=bool))


@pytest.fixture(scope="module")
def titles_alone(first: tuple[Path, str]) -> Iterator[Matcher]:
    """A matcher whose encoders have no evidence, which takes no time."""
    made = Matcher.of_run(RunFolder(first[0]), Settings(merge(remembered(first[0]), ONE_CORE), sections()))
    embed = made.embed

    def quick(catalog: Catalog, names: list[str]) -> dict[str, Embeddings]:
        nothing = Blind().transform(catalog)
        return {name: nothing if registry.get(name).learns else embed(catalog, [name])[name] for name in names}

    embedder = made.embedder

    def quick_embedder(name: str, pool: Catalog) -> Embedder:
        return Blind() if registry.get(name).learns else embedder(name, pool)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "embed", quick)
        patch.setattr(made, "embedder", quick_embedder)
        yield made


@pytest.fixture(scope="module")
def catalog(data: Path) -> Catalog:
    """The listings of the demo."""
    config = DataConfig()
    return read_catalog(find_source(data, config), config, ComputeConfig(**ONE_CORE["compute"]), labeled=False)
