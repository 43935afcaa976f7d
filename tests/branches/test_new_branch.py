"""A new branch is a new folder: nothing else is written for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from branches.pool_stages import load_candidates, load_embeddings
from ensemble.pair_stages import load_features
from shared.pipeline.run import RunFolder, remembered
from tests.support.paths import ROOT

CONFIG = '''
"""Settings of the branch of letter counts."""

from pydantic import Field

from branches.base import BranchConfig


class Config(BranchConfig):
    """Section `lengths`: titles with as many of each letter."""

    letters: str = Field("abcdefghijklmnopqrstuvwxyz", description="letters that are counted")
'''
EMBED = '''
"""Embeds titles by how many of each letter they have."""

import numpy as np

from shared.schema import Embeddings


class LetterCounts:
    def __init__(self, letters):
        self.letters = letters

    def transform(self, listings):
        counts = [[title.count(letter) for letter in self.letters] for title in listings.normalized_titles]
        vectors = np.array(counts, dtype=np.float32).reshape(len(listings), len(self.letters))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(np.divide(vectors, norms, out=vectors, where=norms > 0), norms[:, 0] > 0)


def fit(pool, encoder, config, compute):
    return LetterCounts(config.letters)


if __name__ == "__main__":
    from branches.cli import main_embed

    raise SystemExit(main_embed("lengths"))
'''
SMALL = [
    "--demo.listings=120",
    "--ensemble.branches=lengths,tfidf",
    "--ensemble.features=branches,titles",
    "--scorer.rounds=20",
    "--tune.resamples=20",
    "--compute.threads=1",
    "--compute.device=cpu",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one more folder below `branches`."""
    project = tmp_path_factory.mktemp("new_branch") / "project"
    for name in ("shared", "branches", "ensemble"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = project / "branches" / "lengths"
    folder.mkdir()
    (folder / "config.py").write_text(CONFIG)
    (folder / "embed.py").write_text(EMBED)
    return project


def call(project: Path, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(line, cwd=project, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def run(project: Path) -> RunFolder:
    """A finished run with the new branch."""
    done = call(project, "ensemble", "--run", project / "run", *SMALL, "--lengths.neighbors=5")
    assert done.returncode == 0, done.stderr
    return RunFolder(project / "run")


@pytest.mark.slow
def test_new_branch_proposes_candidates(run: RunFolder) -> None:
    for pool in ("fold0", "fold1", "holdout", "catalog"):
        candidates = load_candidates(run.open(f"lengths/candidates/{pool}"))
        embeddings = load_embeddings(run.open(f"lengths/embeddings/{pool}"))
        assert len(candidates) > 0
        assert candidates.rank_left.max() >= 5
        assert embeddings.vectors.shape == (candidates.n, 26)
    recall = json.loads((run.open("ensemble/candidates/holdout") / "recall.json").read_text())
    assert recall["lengths"] > 0
    assert recall["union"] >= max(recall["lengths"], recall["tfidf"])


@pytest.mark.slow
def test_new_branch_has_features_and_metrics(run: RunFolder) -> None:
    features = load_features(run.open("ensemble/features/fold0")).features
    assert {name for name in features.columns if "lengths" in name}
    assert {name.replace("lengths", "tfidf") for name in features.columns if "lengths" in name} <= set(features.columns)
    evaluation = json.loads((run.open("ensemble/evaluation") / "evaluation.json").read_text())
    assert evaluation["branches"].keys() == {"lengths", "tfidf"}
    assert (run.open("matches") / "submission.csv").exists()


@pytest.mark.slow
def test_new_branch_has_settings_and_a_command(run: RunFolder, project: Path) -> None:
    assert remembered(run.folder)["lengths"] == {"neighbors": "5"}
    before = run.manifest("lengths/embeddings/fold0")
    done = call(project, "branches.lengths.embed", "--run", run.folder, "--lengths.letters=aeiou")
    assert done.returncode == 0, done.stderr
    assert load_embeddings(run.folder / "lengths/embeddings/fold0").vectors.shape[1] == 5
    assert run.manifest("lengths/embeddings/fold0") != before
    shown = call(project, "ensemble", "--help").stdout
    assert "lengths: titles with as many of each letter" in shown
    assert "--lengths.letters=" in shown
