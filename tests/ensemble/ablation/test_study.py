"""The study: who is trained and tuned on what, and what is done again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from branches.registry import FolderBranch
from ensemble import training_stages
from ensemble.ablation import scoring
from ensemble.ablation import study as study_module
from ensemble.ablation.study import NAMED
from ensemble.ablation.variants import FULL, System, judge_stage
from ensemble.config import ScorerConfig
from ensemble.decision.tuning import tune
from ensemble.scorer.training import NothingToLearnError, train_scorer
from ensemble.thinning import kinds_of
from shared.catalog.split import HOLDOUT, components, part_split, parts
from shared.metrics.matching import label_codes
from shared.pipeline import catalog_stages
from shared.pipeline.pools import save_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Stage
from shared.schema import Catalog, Embeddings

pytestmark = pytest.mark.slow  # runs of several stages
Study = Any  # of conftest.py
Call = Callable[..., tuple[int, str, str]]
COPIES = len(kinds_of(ScorerConfig().thinned))


def judged_stages(output: str) -> list[str]:
    """What the lines of the judgments say, in order."""
    return [line.split(maxsplit=1)[1] for line in output.splitlines() if line.strip().startswith("judged ")]


# --- who is trained, tuned and judged on what ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [2, 3])
def test_part_split_keeps_components_whole(finished: Study, seed: int, count: int) -> None:
    catalog = finished.catalog
    part_of, component = parts(catalog, seed, count), components(catalog)
    assert np.ptp(np.bincount(part_of, minlength=count)) <= 4
    for part in range(count):
        split = part_split(catalog, seed, part, count)
        assert ((split.fold == HOLDOUT) == (part_of != part)).all()
        assert set(split.fold[part_of == part]) == {0, 1}
        assert all(len(set(split.fold[component == c])) == 1 for c in np.unique(component))
        sizes = np.bincount(split.fold[part_of == part])
        assert np.ptp(sizes) <= 4
        assert (split.component == component).all()


def test_each_part_of_each_split_is_trained_on_once(call: Call, study: Study) -> None:
    code, output, _ = call(study.run, "--splits", "2", "--only", "phash alone", "--compute.seed=5")
    assert code == 0
    catalog = study.catalog
    judged = {}
    for split in (5, 6):
        for half in (0, 1):
            rows = pd.read_parquet(study.fit(half, split) / "systems/phash-alone/judged/row_f1.parquet")
            judged[split, half] = set(rows.posting_id)
            assert judged[split, half] == set(catalog.ids[parts(catalog, split) != half])
    assert judged[5, 0] | judged[5, 1] == set(catalog.ids)
    assert not judged[5, 0] & judged[5, 1]
    assert judged[5, 0] not in (judged[6, 0], judged[6, 1])
    assert {name: len(system["fits"]) for name, system in study.results.items()} == {FULL: 4, "phash alone": 4}
    assert "2 splits into 2 parts" in output


def test_three_parts_shift_the_threshold(call: Call, study: Study) -> None:
    options = ["--parts", "3", "--tune.guard=false"]  # which may raise either threshold
    code, output, _ = call(study.run, *options, "--only", "threshold as tuned")
    assert code == 0
    assert "1 split into 3 parts" in output
    results, n = study.results, len(study.catalog)
    for system in results.values():
        assert sum(fit["pool_size"] for fit in system["fits"]) == 2 * n
    fits = zip(results[FULL]["fits"], results["threshold as tuned"]["fits"], strict=True)
    for part, (moves, stays) in enumerate(fits):
        base = study.fit(part, count=3)
        assert set(pd.read_parquet(base / "systems" / "the-whole-system" / "judged" / "row_f1.parquet").posting_id) == (
            set(study.catalog.ids[parts(study.catalog, 0, 3) != part])
        )
        assert moves["rule"] == stays["rule"]
        assert moves["threshold"] >= stays["threshold"]


@pytest.mark.fault(26)
def test_labels_of_the_judged_half_are_not_read(
    finished: Study, call: Call, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One study in which the pool that is judged has other labels; all that is learned is the same."""

    def save_relabeled(catalog: Catalog, folder: Path) -> None:
        if folder.name.startswith("holdout"):
            one_group = pa.array(["one group"] * len(catalog), pa.string())
            position = catalog.table.schema.get_field_index("label_group")
            catalog = Catalog(catalog.table.set_column(position, "label_group", one_group))
        save_catalog(catalog, folder)

    monkeypatch.setattr(catalog_stages, "save_catalog", save_relabeled)
    some = ["tfidf or phash", "mean cosine", "without phash", "without the second model"]
    assert call(study.run, "--only", *some)[0] == 0
    for half in (0, 1):
        plain, relabeled = finished.fit(half), study.fit(half)
        models = sorted(path.relative_to(relabeled) for path in relabeled.rglob("*.txt"))
        assert len(models) == 2 + 2 + 1
        for path in models:
            assert (plain / path).read_bytes() == (relabeled / path).read_bytes()
    assert list(study.results) == [FULL, *some]
    for name, system in study.results.items():
        for fit, expected in zip(system["fits"], finished.results[name]["fits"], strict=True):
            assert [fit[key] for key in ("rule", "threshold")] == [expected[key] for key in ("rule", "threshold")]
            assert fit["row_f1"] != expected["row_f1"]  # the judgment alone reads these labels


def test_encoder_embeds_none_of_its_training_listings(
    call: Call, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[set[str]] = []
    embedded: list[tuple[set[str], set[str]]] = []
    fit_branch = FolderBranch.fit

    class Embedder:
        def __init__(self, encoder: Path) -> None:
            self.trained_on = set(json.loads((encoder / "ids.json").read_text()))

        def transform(self, listings: Catalog) -> Embeddings:
            embedded.append((self.trained_on, set(listings.ids)))
            vectors = np.eye(64, dtype=np.float32)[[int(label[1:]) % 50 for label in listings.labels]]
            return Embeddings(vectors, np.ones(len(listings), dtype=bool))

    def train(branch: Any, catalog: Catalog, components: Any, config: Any, compute: Any, out: Path) -> dict[str, Any]:
        trained.append(set(catalog.ids))
        (out / "ids.json").write_text(json.dumps(catalog.ids.tolist()))
        return {}

    def fit(branch: FolderBranch, pool: Catalog, encoder: Path | None, config: Any, compute: Any) -> Any:
        return fit_branch(branch, pool, None, config, compute) if encoder is None else Embedder(encoder)

    monkeypatch.setattr(FolderBranch, "train", train)
    monkeypatch.setattr(FolderBranch, "fit", fit)
    code, _, error = call(study.run, "--ensemble.branches=distilbert,tfidf", "--only", "distilbert alone")
    assert (code, error) == (0, "")
    catalog = study.catalog
    half = parts(catalog, 0)
    assert len(trained) == len(embedded) == 6  # an encoder per fold, and one on all of the half, for each half
    for part in (0, 1):
        learned = set(catalog.ids[half == part])
        judged = set(catalog.ids[half != part])
        first, second, whole = embedded[3 * part : 3 * part + 3]
        assert first == second[::-1]  # each fold by the encoder of the other one
        assert first[0] | first[1] == learned
        assert not first[0] & first[1]
        assert whole == (learned, judged)


def test_decision_is_tuned_on_the_fold_pools(call: Call, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned_on: list[list[np.ndarray]] = []

    def spy(pools: list[Any], config: Any, *, thinned: list[Any]) -> Any:
        tuned_on.append([codes for _, codes in pools])
        assert [len(copies) for copies in thinned] == [COPIES, COPIES]
        return tune(pools, config, thinned=thinned)

    monkeypatch.setattr(scoring, "tune", spy)
    assert call(study.run, "--only", FULL)[0] == 0
    catalog = study.catalog
    assert [len(pools) for pools in tuned_on] == [2, 2]  # both fold pools of each half
    for half, pools in enumerate(tuned_on):
        split = part_split(catalog, 0, half)
        labels = [catalog.labels[split.fold == fold] for fold in (0, 1)]
        assert [codes.tolist() for codes in pools] == [label_codes(of_fold).tolist() for of_fold in labels]


# --- done once -------------------------------------------------------------------------------------------------------


def test_second_study_does_nothing(finished: Study, call: Call) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.run.rglob("manifest.json")}
    measured = (finished.run / NAMED / "ablation.json").read_bytes()
    code, output, _ = call(finished.run)
    assert code == 0
    assert judged_stages(output) == ["unchanged"] * 2 * len(finished.results)
    assert {path: path.stat().st_mtime_ns for path in finished.run.rglob("manifest.json")} == before
    assert (finished.run / NAMED / "ablation.json").read_bytes() == measured


@pytest.mark.fault(17)
def test_killed_study_goes_on(call: Call, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    only = ["--only", "phash alone", "without tfidf"]
    trained: list[int] = []
    monkeypatch.setattr(
        training_stages, "train_scorer", lambda *given: trained.append(len(given[0])) or train_scorer(*given)
    )
    with monkeypatch.context() as patch:
        count = iter(range(4))

        def interrupt(settings: Settings, system: System) -> Stage:
            if next(count) == 3:
                raise KeyboardInterrupt
            return judge_stage(settings, system)

        patch.setattr(study_module, "judge_stage", interrupt)
        code, _, error = call(study.run, *only)
        assert code == 130
        assert "run the same command again to continue" in error
    assert trained == [2 + 2 * COPIES] * 3  # both scorers of the first half, and the first one of the second
    code, output, _ = call(study.run, *only)
    assert code == 0
    assert trained == [2 + 2 * COPIES] * 4
    assert [line == "unchanged" for line in judged_stages(output)] == [True, True, True, False, False, False]
    _, again, _ = call(study.run, *only, "--force")
    assert "unchanged" not in judged_stages(again)
    assert trained == [2 + 2 * COPIES] * 8


def test_stages_of_a_study_are_none_of_the_run(finished: Study) -> None:
    assert {manifest["stage"] for manifest in RunFolder(finished.run).manifests()} == {"catalog/train"}


def test_system_with_nothing_to_learn_is_left_out(call: Call, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(pools: Any, config: Any, compute: Any, left_out: Any) -> Any:
        if config.group_size_power == 0:
            raise NothingToLearnError("nothing can be learned")
        return train_scorer(pools, config, compute, left_out)

    monkeypatch.setattr(training_stages, "train_scorer", train)
    code, output, error = call(study.run, "--only", "without row weights", "phash alone")
    assert (code, error) == (0, "")
    assert output.count("without row weights is left out of the table: nothing can be learned") == 1
    assert list(study.results) == [FULL, "phash alone"]


def test_system_that_does_not_reach_the_precision_is_left_out(call: Call, study: Study) -> None:
    options = ["--tune.objective=precision>=0.7", "--scorer.models=1"]
    code, output, error = call(study.run, *options, "--only", "scorer, min2", "phash alone")
    assert (code, error) == (0, "")
    assert "scorer, min2 is left out of the table: no rule and threshold reaches tune.objective=" in output
    assert list(study.results) == [FULL, "phash alone"]


def test_whole_system_that_cannot_be_tuned_is_an_error(call: Call, study: Study) -> None:
    options = ["--tune.rules=min2", "--tune.objective=precision>=0.9", "--scorer.models=1"]
    code, output, error = call(study.run, *options, "--only", "phash alone")
    assert code == 2
    assert "no rule and threshold reaches tune.objective=precision>=0.9" in error
    assert "left out of the table" not in output


def test_unknown_system_and_no_split_are_refused(call: Call, study: Study) -> None:
    code, _, error = call(study.run, "--only", "tfidf alnoe")
    assert code == 2
    assert "there is no system 'tfidf alnoe'; there are: the whole system; tfidf alone;" in error
    code, _, error = call(study.run, "--splits", "0")
    assert code == 2
    assert "at least one split" in error
