import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from branches import registry
from branches.benchmark import fastest_s, main, measure, recorded, some_products
from branches.image.config import Config
from shared.errors import MatcherError

TINY = {
    "image": ["--image.size=32", "--image.embed_size=32", "--image.batch_size=8", "--image.embed_batch=8"],
    "distilbert": ["--distilbert.batch_size=8", "--distilbert.embed_batch=8", "--distilbert.max_tokens=8"],
}


@pytest.mark.slow
@pytest.mark.parametrize("branch", TINY)
def test_command_prints_both_loops_and_the_bare_network(branch, demo_folder, tmp_path, pytestconfig):
    command = [sys.executable, "-m", "branches.benchmark", branch, "--run", tmp_path / "run", "--data", demo_folder]
    options = ["--listings=16", "--repeats=1", "--compute.threads=1", "--compute.device=cpu", *TINY[branch]]
    output = subprocess.run(
        [*command, *options], cwd=pytestconfig.rootpath, check=True, capture_output=True, text=True
    ).stdout
    assert f"{branch}, 16 listings, cpu, 1 CPU threads:" in output
    lines = re.findall(r"(embed|train) ([\d.]+) listings/s, bare (forward|step) ([\d.]+), ratio ([\d.]+)", output)
    assert [(loop, bare) for loop, _, bare, _, _ in lines] == [("embed", "forward"), ("train", "step")]
    for _, rate, _, bare, ratio in lines:
        assert float(ratio) == pytest.approx(float(rate) / float(bare), abs=0.02)
    assert sorted(p.name for p in (tmp_path / "run").iterdir() if p.is_dir() and p.name[0] != ".") == [
        "catalog",
        "split",
    ]


def test_listings_without_evidence_are_refused(catalog_of, one_thread):
    listings = catalog_of(4, title=["a", "b", "c", "d"], label_group=["g", "g", "h", "h"])
    components = np.array([0, 0, 1, 1], dtype=np.int32)
    with pytest.raises(MatcherError, match="too few listings with this branch's evidence"):
        measure(listings, components, registry.get("image"), Config(), one_thread, 1)


def test_recorded_call_is_repeatable():
    seen = []
    owner = SimpleNamespace(add=lambda a, *, b: seen.append(a + b))
    original = owner.add
    with recorded(owner, "add") as calls:
        owner.add(1, b=2)
    assert owner.add is original
    calls[0]()
    assert (seen, len(calls)) == ([3, 3], 1)


def test_fastest_round_counts(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr("branches.benchmark.time.perf_counter", lambda: clock[0])

    def work(name, durations):
        order.append(name)
        clock[0] += durations.pop(0)

    a, b = [3.0, 1.0, 2.0], [5.0, 6.0, 4.0]
    assert fastest_s({"a": lambda: work("a", a), "b": lambda: work("b", b)}, 3) == {"a": 1.0, "b": 4.0}
    assert order == ["a", "b"] * 3


def test_sample_keeps_components_whole_but_for_the_last():
    components = np.repeat(np.arange(10, dtype=np.int32), 3)
    rows = some_products(components, 8, seed=1)
    assert sorted(np.bincount(components[rows]).tolist(), reverse=True)[:3] == [3, 3, 2]
    assert (np.diff(rows) > 0).all()
    assert some_products(components, 8, seed=2).tolist() != rows.tolist()
    assert len(some_products(components, 99, seed=0)) == 30


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["tfidf"], 2), (["imgae"], 2), (["--help"], 0)])
def test_without_a_branch_that_learns_the_usage_is_shown(arguments, code, capsys):
    assert main(arguments) == code
    assert capsys.readouterr().err == "usage: python -m branches.benchmark {distilbert,image} [--help]\n"


def test_help_of_a_branch(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["image", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m branches.benchmark image")
    assert "--listings" in text
    assert "--image.embed_size=" in text


@pytest.mark.parametrize("option", ["--listings=0", "--repeats=0"])
def test_counts_below_one_are_refused(option, tmp_path, capsys):
    assert main(["image", "--run", str(tmp_path / "run"), option]) == 2
    assert "--listings and --repeats must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "catalog").exists()
