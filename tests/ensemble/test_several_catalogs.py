"""A run of several catalogs: the whole job, its bundle, and the commands that go on from it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble import Matcher
from ensemble.bundle.archive import Bundle
from ensemble.decision.guard import expected_share
from ensemble.evaluation.summary import summary
from ensemble.index.__main__ import main as index_main
from ensemble.result_stages import load_scores, scores_name
from ensemble.training_stages import DECISION, load_decision
from shared.catalog.copies import copy_of
from shared.pipeline.pools import holdout_pool, load_catalog, load_split, training_rows
from shared.pipeline.run import RunFolder

Command = Callable[..., tuple[int, str, str]]
StageLines = Callable[[str], dict[str, str]]
QUICK = ["--ensemble.branches=tfidf,phash", "--scorer.rounds=80", "--scorer.min_pairs_in_leaf=3",
         "--tune.thresholds=20", "--tune.prior_shift=0.2", "--compute.threads=1", "--compute.device=cpu"]  # fmt: skip
SOURCES = ("market", "offers")


def offers(path: Path, ids: list[str], seed: int = 0) -> Path:
    """Write a table of titles of products that share words, each sold two or three times, but for some sold once."""
    rng = np.random.default_rng(seed)
    words = [f"{a}{b}" for a in "bdgklmprst" for b in ("an", "ur", "ipa")]
    rows: list[tuple[str, str, str]] = []
    while len(rows) < len(ids):
        chosen = rng.choice(words, 3, replace=False)
        for _ in range(min(int(rng.integers(1, 4)), len(ids) - len(rows))):
            title = " ".join([*rng.permutation(chosen), rng.choice(words)])
            rows.append((ids[len(rows)], title, f"g{chosen[0]}{chosen[1]}{chosen[2]}"))
    pd.DataFrame(rows, columns=["posting_id", "title", "label_group"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def tables(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A demo with images, and titles alone whose ids are among those of the demo; name of the source → path."""
    ids = pd.read_csv(demo_folder / "train.csv", dtype=str).posting_id.tolist()
    table = tmp_path_factory.mktemp("tables") / "offers.csv"
    return {"market": demo_folder, "offers": offers(table, ids + [f"more{number}" for number in range(40)])}


@pytest.fixture(scope="module")
def made(
    tables: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, quiet_command: Callable[..., str]
) -> tuple[Path, str]:
    """A finished run of both, and what it printed. Not to be written to."""
    run = tmp_path_factory.mktemp("several") / "run"
    return run, quiet_command("ensemble", "--run", run, "--data", ",".join(map(str, tables.values())), *QUICK)


@pytest.fixture
def run(made: tuple[Path, str], copy_run: Callable[[Path, Path], Path], tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return copy_run(made[0], tmp_path / "run")


@pytest.mark.slow
def test_matches_of_each_catalog_have_its_own_ids(made: tuple[Path, str], tables: dict[str, Path]) -> None:
    for source, path in tables.items():
        table = pd.read_csv(path / "train.csv" if path.is_dir() else path, dtype=str)
        folder = made[0] / "matches" / source
        assert pd.read_parquet(folder / "groups.parquet").posting_id.tolist() == table.posting_id.tolist()
        assert pd.read_csv(folder / "submission.csv").posting_id.tolist() == table.posting_id.tolist()
        matches = pd.read_parquet(folder / "matches.parquet")
        assert len(matches) > 10
        assert set(matches.match) <= set(table.posting_id)
        title = dict(zip(table.posting_id, table.title, strict=True))
        same_word = [set(title[a].lower().split()) & set(title[b].lower().split())
                     for a, b in zip(matches.posting_id, matches.match, strict=True)]  # fmt: skip
        assert np.mean([bool(shared) for shared in same_word]) > 0.9


@pytest.mark.slow
def test_encoders_learn_from_the_other_folds_of_all_catalogs(made: tuple[Path, str]) -> None:
    split = load_split(made[0] / "split")
    for fold in (0, 1):
        learned = set(split.posting_id[training_rows(split, f"fold{fold}")])
        for source in SOURCES:
            pools = {
                name: {f"{source}:{one}" for one in load_catalog(made[0] / "pools" / f"{name}-{source}").ids}
                for name in (f"fold{fold}", f"fold{1 - fold}", "holdout")
            }
            assert not learned & (pools[f"fold{fold}"] | pools["holdout"])
            assert pools[f"fold{1 - fold}"] <= learned


@pytest.mark.slow
def test_metrics_are_means_over_the_catalogs(made: tuple[Path, str]) -> None:
    metrics = json.loads((made[0] / "metrics.json").read_text(encoding="utf-8"))
    by_source = metrics["by_source"]
    assert tuple(by_source) == SOURCES
    sizes = [len(load_catalog(made[0] / "pools" / f"holdout-{source}")) for source in SOURCES]
    assert [of["holdout"]["pool_size"] for of in by_source.values()] == sizes
    for name in ("row_f1", "pair_f1", "recall_of_candidates"):
        assert metrics["holdout"][name] == pytest.approx(np.mean([of["holdout"][name] for of in by_source.values()]))
    alone = [of["branches"]["tfidf"]["row_f1"] for of in by_source.values()]
    assert metrics["branches"]["tfidf"]["row_f1"] == pytest.approx(np.mean(alone))
    thresholds = [of["holdout_threshold"] for of in by_source.values()]
    decision = load_decision(made[0] / DECISION)
    scores = [load_scores(made[0] / scores_name(holdout_pool(source).name)) for source in by_source]
    catalogs = [load_catalog(made[0] / holdout_pool(source).stage) for source in by_source]
    shares = [expected_share(s.with_copies(copy_of(of))) for s, of in zip(scores, catalogs, strict=True)]
    assert thresholds == [decision.threshold_for(*kind) for kind in zip(sizes, shares, strict=True)]


@pytest.mark.slow
def test_summary_names_each_catalog(made: tuple[Path, str]) -> None:
    run, output = made
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert summary(RunFolder(run), metrics) in output
    assert output.startswith(f"run {run} · 2 catalogs: ")
    for source, of in metrics["by_source"].items():
        line = next(line for line in output.splitlines() if line.startswith(f"  … {source}"))
        assert f"{of['holdout']['row_f1']:.3f}" in line
        assert f"{of['holdout']['pool_size']:,} of {source}" in output
    assert "Matched 120 listings" in output
    assert "/matches/<catalog>/" in output


@pytest.mark.slow
def test_unchanged_run_does_nothing(made: tuple[Path, str], command: Command, stage_lines: StageLines) -> None:
    code, output, error = command("ensemble", "--run", made[0])
    assert (code, error) == (0, "")
    assert set(stage_lines(output).values()) == {"unchanged"}
    assert stage_lines(output).keys() == stage_lines(made[1]).keys()


@pytest.mark.slow
def test_one_catalog_after_two(run: Path, tables: dict[str, Path], command: Command) -> None:
    code, output, error = command("ensemble", "--run", run, "--data", tables["offers"])
    assert (code, error) == (0, "")
    assert "Matched 80 listings" in output
    assert sorted(path.name for path in (run / "matches").iterdir() if path.is_dir()) == []
    assert "by_source" not in json.loads((run / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_bundle_and_refit(run: Path, tables: dict[str, Path], command: Command, tmp_path: Path) -> None:
    for name, options in (("plain", []), ("refitted", ["--refit"])):
        code, output, error = command("ensemble.bundle", "--run", run, "--out", tmp_path / name, *options)
        assert (code, error) == (0, "")
    assert "refit/pools/fold2-offers" in output
    split = load_split(run / "refit" / "split")
    assert (split.fold >= 0).all()
    assert len(split.fold) == 120
    plain, refitted = Bundle(tmp_path / "plain"), Bundle(tmp_path / "refitted")
    assert plain.files("ensemble/scorer") != refitted.files("ensemble/scorer")
    card = (refitted.folder / "README.md").read_text(encoding="utf-8")
    assert "120 labeled listings of 2 catalogs (market, offers)" in card
    assert "| ensemble on offers, " in card
    listings = pd.read_csv(tables["offers"], dtype=str)
    matched = Matcher.load(plain.folder, device="cpu", threads=1).match(listings)
    of_run = pd.read_parquet(run / "matches" / "offers" / "groups.parquet")
    pd.testing.assert_frame_equal(matched.groups, of_run)


@pytest.mark.slow
def test_commands_that_go_on(
    run: Path, tables: dict[str, Path], command: Command, sigterm: None, tmp_path: Path
) -> None:
    assert command("ensemble.search", "--run", run, "--trials", "1")[0] == 0
    assert command("ensemble.tune", "--run", run, "--pool-size", "500")[0] == 0
    assert command("ensemble.match", "--run", run)[0] == 0
    new = ["--data", tables["offers"]]
    assert command("ensemble.match", "--run", run, *new, "--out", tmp_path / "matches", "--evaluate")[0] == 0
    assert len(pd.read_parquet(tmp_path / "matches" / "groups.parquet")) == 80
    assert index_main(["add", "--run", str(run), "--index", str(tmp_path / "index"), "--data", str(new[1])]) == 0


@pytest.mark.slow
def test_commands_that_refuse(run: Path, command: Command, tmp_path: Path) -> None:
    code, _, error = command("ensemble.ablation", "--run", run)
    assert code == 2
    assert "an ablation measures one catalog" in error
    assert f"--run {run}-1" in error
    code, _, error = command("ensemble.match", "--run", run, "--data", "a,b", "--out", tmp_path / "matches")
    assert code == 2
    assert "--data names 2 catalogs; name one" in error


@pytest.mark.slow
def test_catalog_that_cannot_be_read(tables: dict[str, Path], command: Command, tmp_path: Path) -> None:
    unlabeled = tmp_path / "unlabeled.csv"
    unlabeled.write_text("posting_id,title\na,mug\n")
    for other, message in (
        (unlabeled, "label_group"),
        (tmp_path / "none", "no such file"),
        (tables["offers"], "twice"),
    ):
        code, _, error = command("ensemble", "--run", tmp_path / "run", "--data", f"{tables['offers']},{other}", *QUICK)
        assert code == 2
        assert message in error
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
