"""The ablation: who is trained on what, who is judged by whom, and what the table says."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from branches import ablation
from branches.ablation import FIGURES, main_ablate, table
from shared.schema import Embeddings

VARIANTS = {
    "own labels": {"extra": []},
    "no memory": {"memory_size": 0},
    "embedded more at a time": {"embed_batch": 7},
}


def figures(**values):
    return {"recall_at_1": 0.5, "map_at_20": 0.5, "row_f1": 0.5, "pool_size": 20} | values


def test_the_table_gives_means_and_paired_differences():
    measured = {
        "the recipe": [figures(row_f1=0.5), figures(row_f1=0.7)],
        "no memory": [figures(row_f1=0.4, recall_at_1=0.4), figures(row_f1=0.64)],
    }
    assert table(measured).splitlines() == [
        "| | Recall@1 | mAP@20 | row F1 | difference in row F1 |",
        "|---|---|---|---|---|",
        "| the recipe | 0.500 | 0.500 | 0.600 |  |",
        "| no memory | 0.450 | 0.500 | 0.520 | -0.080 ± 0.028 |",
    ]


@pytest.fixture
def command(demo_folder, tmp_path, monkeypatch, capsys):
    """Runs the command with trainings that only write down what they were given."""
    trainings = []

    def train(name, catalog, component, config, compute, out):
        trainings.append((set(catalog.ids), config.memory_size, compute.seed))
        save_file({"seed": np.array([compute.seed, config.memory_size])}, out / "encoder.safetensors")
        (out / "ids.json").write_text(json.dumps(sorted(catalog.ids)))
        return {}

    def embed(name, catalog, encoder, config, compute):
        assert not set(json.loads((encoder / "ids.json").read_text())) & set(catalog.ids)
        seed, memory = load_file(encoder / "encoder.safetensors")["seed"]
        codes = np.unique(catalog.labels.astype(str), return_inverse=True)[1]
        vectors = np.random.default_rng(seed).normal(size=(len(catalog), 64)) / (2 if memory else 1)
        vectors += np.eye(64)[codes % 64] * 3
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return Embeddings(vectors, np.ones(len(catalog), dtype=bool))

    monkeypatch.setattr(ablation, "train_encoder", train)
    monkeypatch.setattr(ablation, "embed_with", embed)
    run = tmp_path / "run"

    def call(*arguments):
        trainings.clear()
        monkeypatch.setattr(sys, "argv", ["x", "--run", str(run), "--data", str(demo_folder), *arguments])
        code = main_ablate("distilbert", VARIANTS)
        return code, list(trainings), capsys.readouterr()

    call.run = run
    return call


def test_each_half_is_judged_by_the_encoder_of_the_other(command):
    code, trainings, output = command("--splits", "2")
    assert code == 0
    assert [(memory, seed) for _, memory, seed in trainings] == [(m, s) for m in (1024, 0) for s in (0, 0, 1, 1)]
    for first, second in zip(trainings[::2], trainings[1::2], strict=True):
        assert len(first[0] | second[0]) == 40
        assert not first[0] & second[0]
    assert trainings[0][0] != trainings[2][0]  # another seed, another split
    measured = json.loads((command.run / "distilbert" / "ablation" / "figures.json").read_text())
    assert {name: len(found) for name, found in measured.items()} == dict.fromkeys(
        ["the recipe", "no memory", "embedded more at a time"], 4
    )
    assert measured["no memory"] != measured["the recipe"]
    assert measured["embedded more at a time"] == measured["the recipe"]  # the same encoders, embedded again
    assert table(measured) in output.out
    assert "2 splits" in output.out


def test_what_is_measured_is_not_measured_again(command):
    command()
    code, trainings, output = command("--splits", "2")
    assert (code, len(trainings)) == (0, 4)
    assert output.out.count("unchanged") > 6
    assert command("--splits", "2")[1] == []


def test_the_threshold_of_a_half_comes_from_the_other(command, monkeypatch):
    used = []
    judged = ablation.row_f1_at
    monkeypatch.setattr(
        ablation, "row_f1_at", lambda v, c, threshold: used.append(threshold) or judged(v, c, threshold)
    )
    best = []
    searched = ablation.retrieval_of
    monkeypatch.setattr(ablation, "retrieval_of", lambda v, c: best.append(searched(v, c)) or best[-1])
    command("--only", "no memory")
    assert len(best) == len(used) == 4
    assert used == [best[at].threshold for at in (1, 0, 3, 2)]
    assert best[0].threshold != best[1].threshold


def test_extra_data_takes_part_but_for_what_the_other_half_holds(command, tmp_path, demo_catalog):
    titles, ids = demo_catalog.titles, demo_catalog.ids
    pairs = {"title_1": [titles[0], "a thing"], "title_2": ["what nobody sells", "another thing"], "label": [1, 1]}
    pd.DataFrame(pairs).to_csv(tmp_path / "pairs.csv", index=False)
    _, trainings, output = command(f"--distilbert.extra={tmp_path / 'pairs.csv'}", "--only", "own labels")
    extra = [sorted(each[0] - set(ids)) for each in trainings]
    with_first = [ids[0] in each[0] for each in trainings]
    assert [len(each) for each in extra] == [4 if has else 2 for has in with_first[:2]] + [0, 0]
    assert "own labels, extra = []" in output.out


def test_one_variant_alone_and_no_such_variant(command):
    code, trainings, _ = command("--only", "no memory")
    assert (code, len(trainings)) == (0, 4)
    code, trainings, output = command("--only", "no menory")
    assert (code, trainings) == (2, [])
    assert "there is no variant 'no menory'; there are: own labels; no memory; embedded more at a time" in output.err


@pytest.mark.parametrize("branch", ["image", "distilbert"])
def test_every_variant_of_a_branch_has_sound_settings_that_differ(branch):
    from importlib import import_module

    config = import_module(f"branches.{branch}.config").Config
    variants = import_module(f"branches.{branch}.ablate").VARIANTS
    with_extra = config(extra=["more.csv"])
    made = [with_extra.model_copy(update=changes).cache_key("embed") for changes in variants.values()]
    assert all(values != with_extra.cache_key("embed") for values in made)
    assert all(config(**changes) for changes in variants.values())
    assert len({json.dumps(values) for values in made}) == len(variants)
    assert set(FIGURES) == {"recall_at_1", "map_at_20", "row_f1"}


def test_no_split_at_all_is_a_users_mistake(command):
    code, trainings, output = command("--splits", "0")
    assert (code, trainings) == (2, [])
    assert "--splits 0: at least one split is needed" in output.err
