"""A matcher of a bundle matches what its run matched, with whatever evidence there is; `--evaluate` measures it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from branches.stage_names import encoder_stage_name
from ensemble import Matcher
from ensemble.bundle.archive import Bundle, seal
from shared.artifacts import file_digest, read_json, write_json
from shared.errors import ArtifactError
from shared.folders import atomic_folder
from shared.pipeline.pools import ALL
from shared.pipeline.run import MANIFEST, RunFolder
from shared.pipeline.settings import Settings

Command = Callable[..., tuple[int, str, str]]
Score = dict[frozenset[str], float]


def scores(pairs: pd.DataFrame, names: dict[str, str]) -> Score:
    ends = zip(pairs.left.map(names), pairs.right.map(names), strict=True)
    return {frozenset(pair): score for pair, score in zip(ends, pairs.score, strict=True)}


def groups(table: pd.DataFrame, names: dict[str, str]) -> set[frozenset[str]]:
    return {frozenset(part) for _, part in table.posting_id.map(names).groupby(table.group_id)}


@pytest.mark.fault(11, 16)
def test_scores_and_groups_do_not_depend_on_ids_and_order(
    first: tuple[Path, str], data: Path, matcher: Matcher, listings: pd.DataFrame
) -> None:
    table = listings.drop(columns="label_group").sample(frac=1, random_state=3)
    old = table.posting_id.tolist()
    table["posting_id"] = [f"copy {at}" for at in range(len(table))]
    found = matcher.match(table, data / "train_images")
    names = dict(zip(table.posting_id, old, strict=True))
    wanted = {name: pd.read_parquet(first[0] / "matches" / f"{name}.parquet") for name in ("pairs", "groups")}
    own = {name: name for name in old}
    stands = np.array(old, dtype=object)[found.scored_pairs.copy_of]  # which of equal listings does depends on ids
    content = {name: min(np.array(old)[stands == one]) for name, one in zip(old, stands, strict=True)}
    names, own = ({one: content[name] for one, name in these.items()} for these in (names, own))
    assert scores(found.pairs, names) == scores(wanted["pairs"], own)
    assert found.pairs.score.dtype == wanted["pairs"].score.dtype == "float32"
    names, own = dict(zip(table.posting_id, old, strict=True)), {name: name for name in old}
    assert groups(found.groups, names) == groups(wanted["groups"], own)
    assert len(groups(found.groups, names)) > 20


def test_bundle_writes_the_matches_of_its_run(
    first: tuple[Path, str], data: Path, bundle: Path, command: Command, tmp_path: Path
) -> None:
    one_core = ["--compute.threads=1", "--compute.device=cpu"]
    code, output, error = command(
        "ensemble.match", "--bundle", bundle, "--data", data, "--out", tmp_path / "o", *one_core
    )
    assert (code, error) == (0, "")
    assert "listings 120 · groups of two or more " in output
    for name in ("matches.parquet", "groups.parquet", "pairs.parquet", "submission.csv"):
        assert (tmp_path / "o" / name).read_bytes() == (first[0] / "matches" / name).read_bytes()
    assert not (tmp_path / "o" / "metrics.json").exists()
    Bundle(bundle)  # still as it was written


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("--tune.max_matches=1", "tune.max_matches=50, not 1, and matches as it was made"),
        ("--tune.guard=false", "tune.guard=true, not false"),
        ("--tune.max_group=null", "tune.max_group=1000, not null"),
        ("--tune.singles_shift=1", "give --tune.singles_shift=null"),
        ("--image.epochs=3", "image.epochs=0, not 3"),
        ("--image.backbone=eca_nfnet_l0", "image.backbone=tf_efficientnet_lite0, not eca_nfnet_l0"),
        ("--distilbert.max_tokens=8", "distilbert.max_tokens=48, not 8"),
        ("--scorer.models=1", "scorer.models=2, not 1"),
        ("--ensemble.branches=tfidf", "not tfidf"),
    ],
)
def test_settings_that_differ_from_the_bundle_are_refused(
    setting: str, said: str, bundle: Path, data: Path, command: Command, tmp_path: Path
) -> None:
    code, _, error = command("ensemble.match", "--bundle", bundle, "--data", data, "--out", tmp_path / "o", setting)
    assert (code, said in error, (tmp_path / "o").exists()) == (2, True, False), error


def test_bundle_explains_a_pair_as_its_run_does(
    first: tuple[Path, str], data: Path, bundle: Path, command: Command
) -> None:
    one_core = ["--compute.threads=1", "--compute.device=cpu"]
    pairs = pd.read_parquet(first[0] / "matches" / "pairs.parquet")
    best = pairs.sort_values("score").iloc[-1]
    of_bundle = command("ensemble.explain", "--bundle", bundle, "--data", data, best.left, best.right, *one_core)
    assert of_bundle == command("ensemble.explain", "--run", first[0], best.left, best.right, *one_core)
    assert of_bundle[0] == 0
    code, _, error = command("ensemble.explain", "--bundle", bundle, best.left, best.right)
    assert (code, error) == (2, "error: a bundle holds no listings: add --data NEW, the catalog to match with it\n")


def test_match_titles_alone(matcher: Matcher, listings: pd.DataFrame) -> None:
    found = matcher.match(listings[["posting_id", "title"]])
    assert found.groups.posting_id.tolist() == listings.posting_id.tolist()
    assert len(found.matches) > 100
    assert found.matches.score.max() > 0.5


@pytest.mark.parametrize("titles", ["none", "empty"])
def test_match_images_alone(titles: str, data: Path, matcher: Matcher, listings: pd.DataFrame) -> None:
    table = listings.assign(title="") if titles == "empty" else listings.drop(columns="title")
    found = matcher.match(table, data / "train_images")
    same = listings.set_index("posting_id").label_group
    right = found.matches.posting_id.map(same) == found.matches.match.map(same)
    assert right.sum() > 8
    assert right.mean() > 0.3  # by chance about one in thirty


def test_match_with_titles_and_images_missing(data: Path, matcher: Matcher, listings: pd.DataFrame) -> None:
    table = listings.copy()
    table.loc[::2, "title"] = ""
    table.loc[::3, "image"] = ""
    table.loc[::3, "image_phash"] = ""
    found = matcher.match(table, data / "train_images")
    bare = set(table.posting_id[::6])
    assert not bare & set(found.matches.posting_id)
    assert len(set(found.matches.posting_id)) > 30
    assert len(found.groups) == len(table)


@pytest.mark.fault(3)
def test_listings_without_evidence_match_nobody(matcher: Matcher) -> None:
    found = matcher.match(pd.DataFrame({"posting_id": ["a", "b", "c"], "title": ["", None, "!?"]}))
    assert (len(found.matches), len(found.pairs)) == (0, 0)
    assert found.groups.group_id.tolist() == ["a", "b", "c"]
    assert [list(table) for table in (found.matches, found.groups, found.pairs)] == [
        ["posting_id", "match", "score"],
        ["posting_id", "group_id"],
        ["left", "right", "score"],
    ]


def test_matcher_keeps_no_state(matcher: Matcher, listings: pd.DataFrame) -> None:
    table = listings.loc[:30, ["posting_id", "title"]]
    before = matcher.match(table)
    matcher.match(listings.loc[20:60, ["posting_id", "title"]])
    after = matcher.match(table)
    for name in ("matches", "groups", "pairs"):
        pd.testing.assert_frame_equal(getattr(before, name), getattr(after, name))


def test_digest_of_run_and_bundle_are_equal(
    first: tuple[Path, str], matcher: Matcher, settings_of: Callable[[Path], Settings]
) -> None:
    run, settings = RunFolder(first[0]), settings_of(first[0])
    assert Matcher.of_run(run, settings).digest == matcher.digest
    assert Matcher(run, settings.changed({"tfidf": {"words": 2}})).digest != matcher.digest


# --- an encoder that changes while its matcher is in use --------------------------------------------------------------


def altered(folder: Path) -> Path:
    """Change the encoder of titles in a run or a bundle, as one that was trained again replaces it."""
    weights = next((folder / encoder_stage_name("distilbert", ALL)).glob("*.safetensors"))
    content = weights.read_bytes()
    weights.unlink()  # it may be a hard link
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return weights


def assert_refused(matcher: Matcher, folder: Path) -> None:
    frame = pd.DataFrame({"posting_id": ["a", "b"], "title": ["red mug", "red mug xl"]})
    for use in (lambda: matcher.match(frame), lambda: matcher.embedder("distilbert", matcher.read(frame))):
        with pytest.raises(
            ArtifactError, match=rf"{re.escape(str(folder))} changed since it was opened .* open it again"
        ):
            use()


@pytest.mark.fault(20)
def test_bundle_that_is_packed_again_while_its_matcher_is_in_use(bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle, tmp_path / "B"))
    matcher, digest = Matcher.load(folder, device="cpu", threads=1), Bundle(folder).contents["digest"]
    before = matcher.digest
    with atomic_folder(folder) as partial:
        shutil.copytree(bundle, partial, dirs_exist_ok=True)
        altered(partial)
        seal(partial, {"branches": matcher.branches})
    assert Bundle(folder).contents["digest"] != digest
    assert_refused(matcher, folder)
    assert matcher.digest == before != Matcher.load(folder).digest


@pytest.mark.fault(20)
def test_run_whose_encoder_is_trained_again_while_its_matcher_is_in_use(
    run: Path, settings_of: Callable[[Path], Settings]
) -> None:
    matcher = Matcher.of_run(RunFolder(run), settings_of(run))
    before, weights = matcher.digest, altered(run)
    manifest = run / encoder_stage_name("distilbert", ALL) / MANIFEST
    content = read_json(manifest)
    content["outputs"][weights.name] = file_digest(weights)
    write_json(manifest, content)
    assert_refused(matcher, run)
    assert matcher.digest == before
    shutil.rmtree(manifest.parent)
    assert_refused(matcher, run)


# --- judging ---------------------------------------------------------------------------------------------------------


def judged(command: Command, bundle: Path, table: pd.DataFrame, out: Path, *more: str) -> tuple[int, str, str]:
    table.to_csv(out.parent / "new.csv", index=False)
    new = ["--data", out.parent / "new.csv", "--out", out, "--data.image_column=", "--compute.threads=1", *more]
    return command("ensemble.match", "--bundle", bundle, *new)


def test_evaluate_measures_and_leaves_the_matches(
    bundle: Path, listings: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    table = listings[["posting_id", "title", "label_group"]].copy()
    table.loc[::5, "label_group"] = ""
    code, output, error = judged(command, bundle, table, out, "--evaluate")
    assert (code, error) == (0, "")
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["pool_size"], metrics["labeled"]) == (120, 96)
    assert "Evaluated on 96 labeled listings in a pool of 120:" in output
    assert f"{metrics['row_f1']:.3f}" in output
    label: dict[Any, Any] = {row.posting_id: row.label_group for row in table.itertuples() if row.label_group}
    matched = pd.read_parquet(out / "matches.parquet").groupby("posting_id").match.agg(set).to_dict()
    rows = []
    for own, group in label.items():
        true = {other for other, of in label.items() if of == group}
        found = {own} | matched.get(own, set()) & label.keys()
        rows.append(2 * len(true & found) / (len(true) + len(found)))
    assert metrics["row_f1"] == pytest.approx(sum(rows) / len(rows))
    assert metrics["pair_recall"] + metrics["missed_never_proposed"] + metrics["missed_scored_wrong"] == pytest.approx(
        1
    )
    matches = (out / "matches.parquet").read_bytes()
    code, output, _ = judged(command, bundle, table.assign(label_group="one"), out)
    assert (code, "Evaluated on" in output) == (0, False)
    assert (out / "matches.parquet").read_bytes() == matches
    assert not (out / "metrics.json").exists()  # it was of other matches


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "no column 'label_group'"), ("", "no listing has a label_group, so there is nothing to judge by")],
)
def test_evaluate_without_labels_is_refused(
    labels: str | None, message: str, bundle: Path, listings: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    table = listings[["posting_id", "title"]]
    table = table if labels is None else table.assign(label_group=labels)
    code, _, error = judged(command, bundle, table, tmp_path / "out", "--evaluate")
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()
