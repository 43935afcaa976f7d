"""The ablation: who is trained on what, who judges whom, and what the table says."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from branches import ablation, registry
from branches.ablation import AS_SET, COMMON, METRICS, main, table
from branches.registry import FolderBranch
from shared.metrics.retrieval import retrieval_of, row_f1_at
from shared.schema import Embeddings

VARIANTS = {
    "own labels": {"extra": []},
    "more dropout": {"dropout": 0.5},
    "embedded more at a time": {"embed_batch": 7},
}


def metrics(**values):
    costs = {"pool_size": 20, "listings_per_s": 1234.5, "seconds": 7.6}
    return {"recall_at_1": 0.5, "map_at_20": 0.5, "row_f1": 0.5} | costs | values


def test_table_of_means_and_paired_differences():
    measured = {
        AS_SET: [metrics(row_f1=0.5), metrics(row_f1=0.7, pool_size=22, listings_per_s=1000)],
        "more dropout": [metrics(row_f1=0.4, recall_at_1=0.4), metrics(row_f1=0.64)],
    }
    assert table(measured).splitlines() == [
        "| | Recall@1 | mAP@20 | row F1 | difference in row F1 | pool | listings/s | seconds |",
        "|---|---|---|---|---|---|---|---|",
        "| the settings as they are | 0.500 | 0.500 | 0.600 |  | 21 | 1,117 | 8 |",
        "| more dropout | 0.450 | 0.500 | 0.520 | -0.080 ± 0.028 | 20 | 1,234 | 8 |",
    ]


def test_one_difference_has_no_spread():
    rows = table({AS_SET: [metrics(row_f1=0.5)], "more dropout": [metrics(row_f1=0.4)]}).splitlines()
    assert rows[-1] == "| more dropout | 0.500 | 0.500 | 0.400 | -0.100 | 20 | 1,234 | 8 |"


@pytest.fixture
def command(demo_folder, tmp_path, monkeypatch, capsys):
    """Runs the command with trainings that only write down their arguments."""
    trainings = []

    class Embedder:
        def __init__(self, encoder):
            self.trained_on = set(json.loads((encoder / "ids.json").read_text()))
            self.seed, self.spread = load_file(encoder / "encoder.safetensors")["settings"]

        def transform(self, listings):
            assert not self.trained_on & set(listings.ids)
            codes = np.unique(listings.labels.astype(str), return_inverse=True)[1]
            noise = np.random.default_rng(int(self.seed)).normal(size=(len(listings), 64))
            vectors = noise / (1 + self.spread) + np.eye(64)[codes % 64] * 3
            vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
            return Embeddings(vectors, np.ones(len(listings), dtype=bool))

    def train(branch, catalog, components, config, compute, out):
        trainings.append((set(catalog.ids), config.dropout, compute.seed))
        save_file({"settings": np.array([compute.seed, config.dropout])}, out / "encoder.safetensors")
        (out / "ids.json").write_text(json.dumps(sorted(catalog.ids)))
        return {"listings_per_s": 100 + config.dropout}

    monkeypatch.setattr(FolderBranch, "train", train)
    monkeypatch.setattr(FolderBranch, "fit", lambda branch, pool, encoder, config, compute: Embedder(encoder))
    monkeypatch.setattr(ablation, "COMMON", VARIANTS)
    monkeypatch.setattr(registry.get("distilbert").Config, "variants", {})
    run = tmp_path / "run"

    def call(*arguments):
        trainings.clear()
        code = main(["distilbert", "--run", str(run), "--data", str(demo_folder), *arguments])
        return code, list(trainings), capsys.readouterr()

    call.run = run  # type: ignore[attr-defined]
    return call


@pytest.fixture
def thresholds(monkeypatch):
    """The thresholds that halves are judged at, and the best of each half, in the order of the calls."""
    used, best = [], []

    def judged(vectors, codes, threshold):
        used.append(threshold)
        return row_f1_at(vectors, codes, threshold)

    def measured(vectors, codes):
        metrics = retrieval_of(vectors, codes)
        best.append(metrics.threshold)
        return metrics

    monkeypatch.setattr(ablation, "row_f1_at", judged)
    monkeypatch.setattr(ablation, "retrieval_of", measured)
    return used, best


def test_each_half_is_judged_by_the_encoder_of_the_other(command):
    code, trainings, output = command("--splits", "2")
    assert code == 0
    assert [(dropout, seed) for _, dropout, seed in trainings] == [(d, s) for d in (0, 0.5) for s in (0, 0, 1, 1)]
    for first, second in zip(trainings[::2], trainings[1::2], strict=True):
        assert len(first[0] | second[0]) == 40
        assert not first[0] & second[0]
    assert trainings[0][0] != trainings[2][0]  # another seed, another split
    measured = json.loads((command.run / "distilbert" / "ablation" / "metrics.json").read_text())
    assert {name: len(halves) for name, halves in measured.items()} == dict.fromkeys(
        [AS_SET, "more dropout", "embedded more at a time"], 4
    )
    assert measured["more dropout"] != measured[AS_SET]
    assert measured["embedded more at a time"] == measured[AS_SET]  # the same encoders, embedded again
    assert [half["listings_per_s"] for half in measured["more dropout"]] == [100.5] * 4
    assert all(half["seconds"] > 0 for half in measured[AS_SET])
    assert table(measured) in output.out
    assert "Trained on the other half, in pools of 19 and 21 listings, 2 splits into two halves." in output.out


def test_some_products_of_a_half_are_learned_from(command, demo_catalog):
    whole, some = (command("--only", "more dropout", *more) for more in ((), ("--listings", "16")))
    assert [len(trained) for trained, _, _ in some[1]] == [16] * 4
    for (ids, dropout, _), (all_ids, all_dropout, _) in zip(some[1], whole[1], strict=True):
        assert ids < all_ids
        assert dropout == all_dropout
    assert "Trained on up to 16 listings of the other half" in some[2].out
    assert command("--only", "more dropout")[1] == []  # both are kept


def test_one_half_by_itself_is_judged_at_its_own_best_threshold(command, thresholds):
    used, best = thresholds
    code, trainings, output = command("--only", "more dropout", "--splits", "2", "--halves", "1")
    assert (code, [seed for _, _, seed in trainings]) == (0, [0, 1, 0, 1])
    assert used == best
    measured = json.loads((command.run / "distilbert" / "ablation" / "metrics.json").read_text())
    assert [len(halves) for halves in measured.values()] == [2, 2]
    assert "2 splits into two halves. One half of each is judged, at its best threshold." in output.out
    _, trainings, _ = command("--only", "more dropout", "--splits", "2")
    assert [seed for _, _, seed in trainings] == [0, 1, 0, 1]  # those of the other halves
    assert used[4:] == [best[4 + half] for half in (1, 0, 3, 2, 5, 4, 7, 6)]


def test_second_call_trains_and_measures_what_is_new(command):
    command()
    code, trainings, output = command("--splits", "2")
    assert (code, len(trainings)) == (0, 4)
    assert output.out.count("unchanged") > 6
    assert command("--splits", "2")[1] == []


def test_threshold_of_a_half_comes_from_the_other(command, thresholds):
    used, best = thresholds
    command("--only", "more dropout")
    assert len(best) == len(used) == 4
    assert used == [best[half] for half in (1, 0, 3, 2)]
    assert best[0] != best[1]


def test_extra_data_without_what_the_other_half_holds(command, tmp_path, demo_catalog):
    titles, ids = demo_catalog.titles, demo_catalog.ids
    pairs = {"title_1": [titles[0], "a thing"], "title_2": ["what nobody sells", "another thing"], "label": [1, 1]}
    pd.DataFrame(pairs).to_csv(tmp_path / "pairs.csv", index=False)
    _, trainings, output = command(f"--distilbert.extra={tmp_path / 'pairs.csv'}", "--only", "own labels")
    extra = [sorted(each[0] - set(ids)) for each in trainings]
    with_first = [ids[0] in each[0] for each in trainings]
    assert [len(each) for each in extra] == [4 if has else 2 for has in with_first[:2]] + [0, 0]
    assert "own labels, extra = []" in output.out


def test_one_variant_and_unknown_variant(command):
    code, trainings, _ = command("--only", "more dropout")
    assert (code, len(trainings)) == (0, 4)
    code, trainings, output = command("--only", "more dropuot")
    assert (code, trainings) == (2, [])
    assert (
        "there is no variant 'more dropuot'; there are: own labels; more dropout; embedded more at a time" in output.err
    )


@pytest.mark.parametrize("name", ["image", "distilbert"])
def test_variants_have_valid_distinct_settings(name):
    config = registry.get(name).Config
    variants = {**COMMON, **config.variants}
    with_extra = config(extra=["more.csv"])  # type: ignore[call-arg]
    changed = [with_extra.model_copy(update=changes).cache_key("embed") for changes in variants.values()]
    assert all(values != with_extra.cache_key("embed") for values in changed)
    assert all(config(**changes) for changes in variants.values())
    assert len({json.dumps(values) for values in changed}) == len(variants)
    assert set(METRICS) == {"recall_at_1", "map_at_20", "row_f1"}


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["tfidf"], 2), (["imgae"], 2), (["--help"], 0)])
def test_without_a_branch_that_learns_the_usage_is_shown(arguments, code, capsys):
    assert main(arguments) == code
    assert capsys.readouterr().err == "usage: python -m branches.ablation {distilbert,image} [--help]\n"


def test_help_of_a_branch(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["image", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m branches.ablation image")
    assert "--only VARIANT" in text
    assert "--image.epochs=" in text


@pytest.mark.parametrize(("option", "need"), [("--splits", "one split is"), ("--listings", "4 are")])
def test_too_small_number_is_refused(command, option, need):
    code, trainings, output = command(option, "0")
    assert (code, trainings) == (2, [])
    assert f"{option} 0: at least {need} needed" in output.err
