"""The ablation: who is trained and tuned on what, what a system is left without, and what is done again."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

import branches.stages
from ensemble.ablation import study as ablate
from ensemble.ablation import variants as systems
from ensemble.ablation.study import NAMED
from ensemble.ablation.variants import FULL, any_thresholds, best_scaled
from ensemble.config import EnsembleConfig, Family, Rule, TuneConfig
from ensemble.decision import tuning as tune
from ensemble.features import feature_names
from ensemble.scorer import training as train
from shared.catalog.split import HOLDOUT, components, part_split, parts
from shared.metrics.matching import row_f1
from shared.pipeline.pools import load_split
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, merge
from shared.schema import CandidatePairs, Catalog, Embeddings, Matches, PairFeatures

pytestmark = pytest.mark.slow  # runs of several stages
QUICK = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=15", "--tune.thresholds=20", "--compute.threads=1",
         "--compute.device=cpu"]  # fmt: skip
USED = EnsembleConfig().features
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Titles and hashes of 60 products in groups of two to four: many share words and pictures, some lack a hash."""
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bdgklmprst" for b in ("an", "ur", "ipa", "olo")]
    rows: list[Any] = []
    for product in range(60):
        own = rng.choice(words, 3, replace=False)
        picture = (product % 3) * 0x0123_4567_89AB_CDEF  # near those of other products, never equal
        for _ in range(rng.integers(2, 5)):
            title = " ".join([*rng.permutation(own)[: rng.integers(2, 4)], *rng.choice(words, 2)])
            seen = picture ^ (product << 40) ^ (1 << int(rng.integers(30)))
            hashed = [f"{seen:016x}", f"{int(rng.integers(1 << 62)):016x}", ""]
            rows.append((f"id{len(rows)}", hashed[rng.choice(3, p=(0.6, 0.2, 0.2))], title, f"g{product}"))
    table = pd.DataFrame(rows, columns=["posting_id", "image_phash", "title", "label_group"])
    path = tmp_path_factory.mktemp("ablate") / "market.csv"
    table.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


@pytest.fixture
def call(market: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    handler = signal.getsignal(signal.SIGTERM)

    def command(run: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["x", "--run", str(run), "--data", str(market), *QUICK, *arguments])
        return ablate.main(), *capsys.readouterr()

    yield command
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def finished(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every system judged on both halves of one split. Not to be written to."""
    run = tmp_path_factory.mktemp("finished") / "run"
    handler, argv = signal.getsignal(signal.SIGTERM), sys.argv
    sys.argv = ["x", "--run", str(run), "--data", str(market), *QUICK]
    try:
        assert ablate.main() == 0
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    return run


def listings(run: Path) -> Catalog:
    return Catalog.load(run / "catalog" / "train" / "catalog.parquet")


def fit_of(run: Path, part: int, split: int = 0, count: int = 2) -> Path:
    """The folder of what was trained and tuned on a part."""
    return run / NAMED / f"split{split}" / f"{part + 1}of{count}"


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / NAMED / "ablation.json").read_text(encoding="utf-8"))["systems"]  # type: ignore[no-any-return]


def judged_stages(output: str) -> list[str]:
    """What the lines of the judgments say, in order."""
    return [line.split(maxsplit=1)[1] for line in output.splitlines() if line.strip().startswith("judged ")]


# --- who is trained, tuned and judged on what ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [2, 3])
def test_a_part_is_folded_and_the_others_held_out_without_parting_a_component(
    finished: Path, seed: int, count: int
) -> None:
    catalog = listings(finished)
    of, component = parts(catalog, seed, count), components(catalog)
    assert np.ptp(np.bincount(of, minlength=count)) <= 4
    for part in range(count):
        split = part_split(catalog, seed, part, count)
        assert ((split.fold == HOLDOUT) == (of != part)).all()
        assert set(split.fold[of == part]) == {0, 1}
        assert all(len(set(split.fold[component == c])) == 1 for c in np.unique(component))
        sizes = np.bincount(split.fold[of == part])
        assert np.ptp(sizes) <= 4
        assert (split.component == component).all()


def test_every_part_of_every_split_is_trained_on_and_the_rest_judged(call: Call, tmp_path: Path) -> None:
    code, output, _ = call(tmp_path / "run", "--splits", "2", "--only", "phash alone", "--compute.seed=5")
    assert code == 0
    catalog = listings(tmp_path / "run")
    judged = {}
    for split in (5, 6):
        for half in (0, 1):
            rows = pd.read_parquet(fit_of(tmp_path / "run", half, split) / "systems/phash-alone/judged/row_f1.parquet")
            judged[split, half] = set(rows.posting_id)
            assert judged[split, half] == set(catalog.ids[parts(catalog, split) != half])
    assert judged[5, 0] | judged[5, 1] == set(catalog.ids)
    assert not judged[5, 0] & judged[5, 1]
    assert judged[5, 0] not in (judged[6, 0], judged[6, 1])
    found = results(tmp_path / "run")
    assert {name: len(system["fits"]) for name, system in found.items()} == {FULL: 4, "phash alone": 4}
    assert "2 splits into 2 parts" in output


def test_with_more_parts_a_larger_pool_is_judged_at_a_moved_threshold(call: Call, tmp_path: Path) -> None:
    code, output, _ = call(tmp_path / "run", "--parts", "3", "--only", "threshold as tuned")
    assert code == 0
    assert "1 split into 3 parts" in output
    found = results(tmp_path / "run")
    n = len(listings(tmp_path / "run"))
    for system in found.values():
        assert sum(fit["pool_size"] for fit in system["fits"]) == 2 * n
    for part, (moves, stays) in enumerate(zip(found[FULL]["fits"], found["threshold as tuned"]["fits"], strict=True)):
        base = fit_of(tmp_path / "run", part, count=3)
        assert set(pd.read_parquet(base / "systems" / "the-whole-system" / "judged" / "row_f1.parquet").posting_id) == (
            set(listings(tmp_path / "run").ids[parts(listings(tmp_path / "run"), 0, 3) != part])
        )
        assert moves["rule"] == stays["rule"]
        assert moves["threshold"] >= stays["threshold"]


def test_no_encoder_scorer_or_threshold_sees_the_half_that_is_judged(
    finished: Path, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels of the judged half are spoilt for all but the judgment; nothing that is learned may differ."""
    catalog = listings(finished)

    def spoilt(run: Run) -> Any:
        return SimpleNamespace(labels=np.where(load_split(run).fold == HOLDOUT, "one group", catalog.labels))

    for module in (train, tune):
        monkeypatch.setattr(module, "train_catalog", spoilt)
    some = ["tfidf or phash", "mean cosine", "without phash", "without the second model"]
    assert call(tmp_path / "run", "--only", *some)[0] == 0
    for half in (0, 1):
        one, other = fit_of(finished, half), fit_of(tmp_path / "run", half)
        models = sorted(path.relative_to(other) for path in other.rglob("*.txt"))
        assert len(models) == 2 + 2 + 1
        for path in models:
            assert (one / path).read_bytes() == (other / path).read_bytes()
    found = results(tmp_path / "run")
    assert list(found) == [FULL, *some]
    assert all(system["fits"] == results(finished)[name]["fits"] for name, system in found.items())


def test_an_encoder_embeds_none_of_the_listings_it_was_trained_on(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[set[str]] = []
    embedded: list[tuple[set[str], set[str]]] = []
    embed_as_it_is = branches.stages.embed_with

    def learn(name: str, catalog: Catalog, component: Any, config: Any, compute: Any, out: Path) -> dict[str, Any]:
        trained.append(set(catalog.ids))
        (out / "ids.json").write_text(json.dumps(catalog.ids.tolist()))
        return {}

    def embed(name: str, catalog: Catalog, encoder: Path | None, config: Any, compute: Any) -> Embeddings:
        if encoder is None:
            return embed_as_it_is(name, catalog, encoder, config, compute)
        embedded.append((set(json.loads((encoder / "ids.json").read_text())), set(catalog.ids)))
        vectors = np.eye(64, dtype=np.float32)[[int(label[1:]) % 50 for label in catalog.labels]]
        return Embeddings(vectors, np.ones(len(catalog), dtype=bool))

    monkeypatch.setattr(branches.stages, "train_encoder", learn)
    monkeypatch.setattr(branches.stages, "embed_with", embed)
    code, _, error = call(tmp_path / "run", "--ensemble.branches=distilbert,tfidf", "--only", "distilbert alone")
    assert (code, error) == (0, "")
    catalog = listings(tmp_path / "run")
    half = parts(catalog, 0)
    assert len(trained) == len(embedded) == 6  # an encoder a fold, and one on all of the half, for each half
    for of in (0, 1):
        learned = set(catalog.ids[half == of])
        judged = set(catalog.ids[half != of])
        first, second, whole = embedded[3 * of : 3 * of + 3]
        assert first == second[::-1]  # each fold by the encoder of the other one
        assert first[0] | first[1] == learned
        assert not first[0] & first[1]
        assert whole == (learned, judged)


def test_a_decision_is_tuned_on_the_fold_pools_and_applied_to_the_other_half(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned_on: list[list[np.ndarray]] = []
    whole = tune.tune
    monkeypatch.setattr(
        systems, "tune", lambda pools, config: tuned_on.append([codes for _, codes in pools]) or whole(pools, config)
    )
    assert call(tmp_path / "run", "--only", FULL)[0] == 0
    catalog = listings(tmp_path / "run")
    numbers = pd.factorize(catalog.labels)[0]
    assert [len(pools) for pools in tuned_on] == [2, 1, 2, 1]  # the other time for the best threshold there would be
    for half, pools in enumerate(tuned_on[::2]):
        split = part_split(catalog, 0, half)
        assert [codes.tolist() for codes in pools] == [numbers[split.fold == fold].tolist() for fold in (0, 1)]


# --- what a system is ------------------------------------------------------------------------------------------------


def features(folder: Path) -> set[str]:
    return set(lgb.Booster(model_file=str(folder / "ensemble/scorer/first.txt")).feature_name())


def test_every_system_is_judged_and_in_the_table(finished: Path) -> None:
    found = results(finished)
    expected = [FULL, "tfidf alone", "phash alone", "tfidf or phash", "mean cosine"]
    expected += [
        *(f"scorer, {rule}" for rule in get_args(Rule)),
        "threshold as tuned",
        "the highest point of the curve",
        "with the quantity veto",
        "without tfidf",
        "without phash",
    ]
    expected += [f"without the features of {family}" for family in USED]
    expected += ["without the second model", "without row weights"]
    assert list(found) == expected
    for system in found.values():
        assert sum(fit["pool_size"] for fit in system["fits"]) == len(listings(finished))
        assert {"missed_never_proposed", "missed_scored_wrong", "rule", "threshold"} <= system["fits"][0].keys()
        assert all(fit["at_best"] >= fit["row_f1"] for fit in system["fits"])
        assert system["interval"][0] <= system["difference"] <= system["interval"][1]


def test_a_rule_is_tuned_alone_and_the_whole_system_decides_by_one_of_them(finished: Path) -> None:
    found = results(finished)
    for rule in get_args(Rule):
        assert {fit["rule"] for fit in found[f"scorer, {rule}"]["fits"]} == {rule}
    for at, fit in enumerate(found[FULL]["fits"]):
        assert fit == found[f"scorer, {fit['rule']}"]["fits"][at]
    assert {fit["rule"] for name in ("tfidf alone", "mean cosine") for fit in found[name]["fits"]} == {"threshold"}


@pytest.mark.parametrize("left_out", ["tfidf", "phash"])
def test_without_a_branch_nothing_comes_from_it(finished: Path, left_out: str) -> None:
    stays = "phash" if left_out == "tfidf" else "tfidf"
    for half in (0, 1):
        base = fit_of(finished, half)
        system = base / "systems" / f"without-{left_out}"
        names = features(system)
        assert not [name for name in names if name.startswith(left_out)]
        assert f"{stays}_cosine" in names
        assert features(base) > names
        for pool in ("fold0", "fold1", "holdout"):
            pairs = CandidatePairs.load(system / f"ensemble/candidates/{pool}/pairs.parquet")
            own = pd.read_parquet(base / f"{stays}/candidates/{pool}/candidates.parquet")
            assert (pairs.left.tolist(), pairs.right.tolist()) == (own.left.tolist(), own.right.tolist())
            described = PairFeatures.load(system / f"ensemble/features/{pool}/pairs.parquet").features
            same = described.all_cosine == described[f"{stays}_cosine"].clip(-1, 1)
            assert (same | described.all_cosine.isna()).all()  # the mean is taken again, without it


@pytest.mark.parametrize("family", get_args(Family))
def test_without_a_family_the_scorer_knows_none_of_its_features(finished: Path, family: Family) -> None:
    families = feature_names(["tfidf", "phash"])
    base = fit_of(finished, 0)
    system = base / "systems" / f"without-the-features-of-{family}"
    assert features(base) == {name for used in USED for name in families[used]}
    assert features(system) == features(base) - set(families[family])
    assert not (system / "ensemble/features").exists()


def test_a_family_that_is_not_used_is_tried_beside_those_that_are() -> None:
    found = systems.systems(Settings({"ensemble": {"features": ["branches", "images", "attributes"]}}))
    assert [name for name in found if name.startswith("with the features")] == ["with the features of titles"]
    changes = found["with the features of titles"].changes
    assert changes == {"ensemble": {"features": ["branches", "images", "attributes", "titles"]}}


def test_the_second_model_and_row_weights_are_left_out(finished: Path) -> None:
    systems_of = fit_of(finished, 0) / "systems"
    kept = {path.name for path in (systems_of / "without-the-second-model/ensemble/scorer").glob("*.txt")}
    assert kept == {"first.txt"}
    base, bare = (
        json.loads((folder / "ensemble/scorer/manifest.json").read_text())["key"]["settings"]["scorer"]
        for folder in (fit_of(finished, 0), systems_of / "without-row-weights")
    )
    assert {name for name in base if base[name] != bare[name]} == {"group_size_power"}
    assert bare["group_size_power"] == 0
    first = (systems_of / "without-the-second-model/ensemble/scorer/first.txt").read_text()
    assert first == (fit_of(finished, 0) / "ensemble/scorer/first.txt").read_text()


def test_a_branch_that_learns_is_no_part_of_the_union_without_training() -> None:
    names = list(systems.systems(Settings({})))
    assert "tfidf or phash" in names
    assert "image or distilbert or tfidf or phash" in names
    assert "without image" in names
    alone = list(systems.systems(Settings({"ensemble": {"branches": ["image"]}})))
    assert not [name for name in alone if " or " in name or name == "without image"]


def test_a_baseline_is_tuned_plainly_and_all_else_as_the_run_is() -> None:
    base = Settings({"tune": {"rules": ["min2"], "max_matches": 7}})
    made = {
        name: Settings(merge(base.values, system.changes))[TuneConfig] for name, system in systems.systems(base).items()
    }
    for name, tuning in made.items():
        plain = " alone" in name or " or " in name or name == "mean cosine"
        assert tuning.rules == (["threshold"] if plain else ["min2"]), name
        assert tuning.max_matches == 7


# --- thresholds of several branches ----------------------------------------------------------------------------------


def united(n: int, seed: int) -> tuple[CandidatePairs, np.ndarray, np.ndarray]:
    """All pairs of n listings; two branches each find their own part of the true ones."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n // 3, n)
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    same = codes[left] == codes[right]
    seen = rng.random((2, len(left))) < 0.6
    similarity = np.where(same & seen, rng.uniform(0.5, 1, seen.shape), rng.uniform(0, 0.75, seen.shape))
    return CandidatePairs(n, left, right), similarity.astype(np.float32), codes


def f1_at(pool: tuple[CandidatePairs, np.ndarray, np.ndarray], thresholds: tuple[float, float]) -> float:
    pairs, similarity, codes = pool
    kept = (similarity >= np.array(thresholds)[:, None]).any(axis=0)
    ends = np.concatenate([np.stack([pairs.left, pairs.right]), np.stack([pairs.right, pairs.left])], axis=1)
    ends = ends[:, np.tile(kept, 2)]
    order = np.lexsort(ends[::-1])
    listing, match = ends[:, order]
    return row_f1(Matches(pairs.n, listing, match, np.ones(len(order), dtype=np.float32)), codes)


@pytest.mark.parametrize("seed", range(3))
def test_united_thresholds_are_as_good_as_any_on_a_grid(seed: int) -> None:
    pool = united(60, seed)
    config = TuneConfig(rules=["threshold"], thresholds=400, smoothing=0)
    found = any_thresholds([pool], config)
    grid = np.linspace(0.4, 1.02, 32)
    best = max(f1_at(pool, (a, b)) for a in grid for b in grid)
    alone = max(f1_at(pool, (a, 2.0)) for a in grid), max(f1_at(pool, (2.0, b)) for b in grid)
    assert f1_at(pool, (found[0], found[1])) > max(alone) + 0.02
    assert f1_at(pool, (found[0], found[1])) > best - 0.02


def test_a_half_stands_for_every_threshold() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.random((3, 500)).astype(np.float32)
    similarity[:, :3] = np.eye(3)
    thresholds = np.array([0.3, 0.9, 2.0])  # the last one is never reached
    scaled = best_scaled(similarity, thresholds)
    assert ((scaled >= 0.5) == (similarity >= thresholds[:, None]).any(axis=0)).all()
    assert ((scaled >= 0) & (scaled <= 1)).all()
    rising = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (3, 1))
    assert (np.diff(best_scaled(rising, thresholds)) > 0).all()


# --- done once -------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again(finished: Path, call: Call) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("manifest.json")}
    measured = (finished / NAMED / "ablation.json").read_bytes()
    code, output, _ = call(finished)
    assert code == 0
    assert judged_stages(output) == ["unchanged"] * 2 * len(results(finished))
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("manifest.json")} == before
    assert (finished / NAMED / "ablation.json").read_bytes() == measured


def test_a_killed_ablation_goes_on(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only = ["--only", "phash alone", "without tfidf"]
    trained: list[int] = []
    whole = train.train_scorer
    monkeypatch.setattr(train, "train_scorer", lambda *given: trained.append(len(given[0])) or whole(*given))
    with monkeypatch.context() as patch:
        done = systems.judge_stage
        count = iter(range(4))

        def killed(*given: Any) -> Path:
            if next(count) == 3:
                raise KeyboardInterrupt
            return done(*given)

        patch.setattr(ablate, "judge_stage", killed)
        code, _, error = call(tmp_path / "run", *only)
        assert code == 130
        assert "goes on from here" in error
    assert trained == [2, 2, 2]  # both scorers of the first half, and the first one of the second
    code, output, _ = call(tmp_path / "run", *only)
    assert code == 0
    assert trained == [2, 2, 2, 2]
    assert [line == "unchanged" for line in judged_stages(output)] == [True, True, True, False, False, False]
    _, again, _ = call(tmp_path / "run", *only, "--force")
    assert "unchanged" not in judged_stages(again)
    assert trained == [2] * 8


def test_an_ablation_is_no_part_of_the_runs_own_stages(finished: Path) -> None:
    assert {manifest["stage"] for manifest in Run(finished).stages()} == {"catalog/train", "split"}


def test_a_system_that_can_learn_nothing_is_left_out_of_the_table(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train.train_scorer

    def learn(pools: Any, config: Any, compute: Any, left_out: Any) -> Any:
        if config.group_size_power == 0:
            raise train.NothingToLearnError("nothing can be learned")
        return whole(pools, config, compute, left_out)

    monkeypatch.setattr(train, "train_scorer", learn)
    code, output, error = call(tmp_path / "run", "--only", "without row weights", "phash alone")
    assert (code, error) == (0, "")
    assert output.count("without row weights is left out of the table: nothing can be learned") == 1
    assert list(results(tmp_path / "run")) == [FULL, "phash alone"]


def test_a_system_that_is_not_there_is_named(call: Call, tmp_path: Path) -> None:
    code, _, error = call(tmp_path / "run", "--only", "tfidf alnoe")
    assert code == 2
    assert "there is no system 'tfidf alnoe'; there are: the whole system; tfidf alone;" in error
    code, _, error = call(tmp_path / "run", "--splits", "0")
    assert code == 2
    assert "at least one split" in error
