import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from branches import registry
from branches.benchmark import bare_steps, fastest_s, main, measure, recorded, train_again
from branches.image.config import Config
from shared.errors import MatcherError
from shared.training.trainer import Training
from tests.shared.training.test_trainer import COMPUTE, config_with, new_toy, toy_data

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


def test_bare_steps_repeat_the_batches_and_change_no_weight(tmp_path):
    training = Training("toy", new_toy(), toy_data(), config_with(epochs=1), COMPUTE, tmp_path)
    with recorded(Training, "_train_step") as calls:
        training.run()
    passes, before = [], {name: value.clone() for name, value in training.encoder.named_parameters()}
    training.encoder.register_forward_hook(lambda module, given, embeddings: passes.append(len(embeddings)))
    steps = bare_steps(training, calls)
    steps()
    assert passes == [len(call.args[1]) for call in calls]
    assert all(torch.equal(value, before[name]) for name, value in training.encoder.named_parameters())
    assert all(value.grad is not None for value in training.encoder.head.parameters())
    assert len(training.loss.memory) == 16  # as the training left it


def test_training_with_validation_is_repeatable(tmp_path):
    training = Training("toy", new_toy(), toy_data(), config_with(epochs=2, validation=0.3), COMPUTE, tmp_path)
    training.run()
    training.best["map_at_20"] = 1.0  # nothing can be better, and the weights of that epoch are gone
    assert train_again(training) > 0
    assert training.best["map_at_20"] < 1


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
