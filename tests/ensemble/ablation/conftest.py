"""A small catalog, a finished study of it, and a way to run studies."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ensemble.ablation.study import NAMED
from shared.pipeline.pools import load_catalog
from shared.schema import Catalog

QUICK = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=15", "--tune.thresholds=20", "--compute.threads=1",
         "--compute.device=cpu"]  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A run folder with a study in it."""

    run: Path

    @property
    def catalog(self) -> Catalog:
        return load_catalog(self.run / "catalog" / "train")

    @property
    def results(self) -> dict[str, Any]:
        """What the table says: system → metrics."""
        content: dict[str, Any] = json.loads((self.run / NAMED / "ablation.json").read_text(encoding="utf-8"))
        systems: dict[str, Any] = content["systems"]
        return systems

    def fit(self, part: int, split: int = 0, count: int = 2) -> Path:
        """Return the folder of what was trained and tuned on a part."""
        return self.run / NAMED / f"split{split}" / f"{part + 1}of{count}"


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Titles and hashes of 60 products in groups of two to four: many share words and images, some lack a hash."""
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bdgklmprst" for b in ("an", "ur", "ipa", "olo")]
    rows: list[tuple[str, ...]] = []
    for product in range(60):
        chosen = rng.choice(words, 3, replace=False)
        image = (product % 3) * 0x0123_4567_89AB_CDEF  # near those of other products, never equal
        for _ in range(rng.integers(2, 5)):
            title = " ".join([*rng.permutation(chosen)[: rng.integers(2, 4)], *rng.choice(words, 2)])
            changed = image ^ (product << 40) ^ (1 << int(rng.integers(30)))
            hashes = [f"{changed:016x}", f"{int(rng.integers(1 << 62)):016x}", ""]
            rows.append((f"id{len(rows)}", hashes[rng.choice(3, p=(0.6, 0.2, 0.2))], title, f"g{product}"))
    table = pd.DataFrame(rows, columns=["posting_id", "image_phash", "title", "label_group"])
    path = tmp_path_factory.mktemp("ablate") / "market.csv"
    table.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


@pytest.fixture
def call(market: Path, command: Callable[..., tuple[int, str, str]]) -> Callable[..., tuple[int, str, str]]:
    """Runs a study in a run folder; returns exit code and output."""

    def study(run: Path, *arguments: str) -> tuple[int, str, str]:
        return command("ensemble.ablation", "--run", run, "--data", market, *QUICK, *arguments)

    return study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """The run folder for a test's own study."""
    return Study(tmp_path / "run")


@pytest.fixture(scope="session")
def finished(market: Path, tmp_path_factory: pytest.TempPathFactory, quiet_command: Callable[..., str]) -> Study:
    """A run with every system judged on both halves of one split. Not to be written to."""
    run = tmp_path_factory.mktemp("finished") / "run"
    quiet_command("ensemble.ablation", "--run", run, "--data", market, *QUICK)
    return Study(run)
