"""An index that grows in any steps holds what matching all its listings at once gives, and survives what happens."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from ensemble.index.commands import read_ids

from branches import stages as branch
from ensemble.index import pair_cache as kept
from ensemble.index.query import Questions
from ensemble.index.snapshots import CURRENT, Snapshots
from ensemble.index.state import State
from ensemble.index.update import grow, plan
from ensemble.matcher import Matcher
from ensemble.pool_views import BranchView
from shared.catalog.reader import DataConfig, find_source, read_catalog
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, merge, remembered
from shared.schema import CATALOG_SCHEMA, Catalog, Embedder, Embeddings

Command = Callable[..., tuple[int, str, str]]
ONE_CORE = {"compute": {"threads": 1, "device": "cpu"}}


@pytest.fixture(scope="module")
def matcher(first: tuple[Path, str]) -> Matcher:
    return Matcher.of_run(Run(first[0]), Settings(merge(remembered(first[0]), ONE_CORE)))


@pytest.fixture(scope="module")
def titles_alone(first: tuple[Path, str]) -> Iterator[Matcher]:
    """A matcher whose encoders say nothing, which takes no time."""
    made = Matcher.of_run(Run(first[0]), Settings(merge(remembered(first[0]), ONE_CORE)))
    embed = made.embed

    def quick(catalog: Catalog, names: list[str]) -> dict[str, Embeddings]:
        nothing = Embeddings(np.zeros((len(catalog), 2), dtype=np.float32), np.zeros(len(catalog), dtype=bool))
        return {name: nothing if branch.learns(name) else embed(catalog, [name])[name] for name in names}

    embedder = made.embedder

    def quick_embedder(name: str, pool: Catalog) -> Embedder:
        return (lambda catalog: quick(catalog, [name])[name]) if branch.learns(name) else embedder(name, pool)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "embed", quick)
        patch.setattr(made, "embedder", quick_embedder)
        yield made


@pytest.fixture(scope="module")
def catalog(data: Path) -> Catalog:
    config = DataConfig()
    return read_catalog(find_source(data, config), config, ComputeConfig(**ONE_CORE["compute"]), labeled=False)


def step(matcher: Matcher, state: State, given: Catalog | None, removed: list[str] | None = None) -> State:
    return grow(matcher, state, 1, plan(state.catalog, given, removed or []))[0]


def groups(of: State) -> set[frozenset[str]]:
    members: dict[str, set[str]] = {}
    for posting_id, group_id in of.group_ids.items():
        members.setdefault(group_id, set()).add(posting_id)
    return set(map(frozenset, members.values()))


def assert_same(one: State, other: State) -> None:
    """The same listings, groups and, to the bit, embeddings, candidates and scores; ids of groups may differ."""
    assert one.catalog.table.drop("image") == other.catalog.table.drop("image")
    assert groups(one) == groups(other)
    for name in ("left", "right", "score"):
        np.testing.assert_array_equal(getattr(one.pairs, name), getattr(other.pairs, name))
    for name, view in one.views.items():
        np.testing.assert_array_equal(dense(view), dense(other.views[name]))
        for column in ("left", "right", "similarity", "rank_left", "rank_right"):
            there = getattr(other.views[name].candidates, column)
            np.testing.assert_array_equal(getattr(view.candidates, column), there)


def dense(view: BranchView) -> np.ndarray:
    vectors = view.embeddings.vectors
    return vectors if isinstance(vectors, np.ndarray) else vectors.toarray()


@pytest.fixture(scope="module")
def at_once(matcher: Matcher, catalog: Catalog) -> State:
    return step(matcher, State(), catalog)


# --- growing ---------------------------------------------------------------------------------------------------------


def test_an_index_holds_what_matching_its_listings_gives(matcher: Matcher, catalog: Catalog, at_once: State) -> None:
    result = matcher.match_catalog(catalog)
    scores = zip(catalog.ids[result.pairs.left], catalog.ids[result.pairs.right], result.pairs.score, strict=True)
    ids, pairs = at_once.catalog.ids, at_once.pairs
    kept = zip(ids[pairs.left], ids[pairs.right], pairs.score, strict=True)
    assert {frozenset(pair): score for *pair, score in kept} == {frozenset(pair): score for *pair, score in scores}
    assert at_once.group_ids == dict(zip(catalog.ids, result.group_ids(), strict=True))


def test_ten_parts_in_any_order_give_the_same_as_all_at_once(titles_alone: Matcher, catalog: Catalog) -> None:
    state = State()
    for rows in np.array_split(np.random.default_rng(0).permutation(len(catalog)), 10):
        state = step(titles_alone, state, catalog.take(rows))
    assert_same(state, step(titles_alone, State(), catalog))


def test_embeddings_are_kept_when_listings_are_added_updated_and_removed(
    matcher: Matcher, catalog: Catalog, at_once: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By way of listings with other titles and of some that go again; only those that are new are embedded."""
    embedded: list[int] = []
    embed_with = branch.embed_with

    def noted(name: str, listings: Catalog, *rest: Any) -> Embeddings:
        if name == "image":
            embedded.append(len(listings))
        return embed_with(name, listings, *rest)

    monkeypatch.setattr(branch, "embed_with", noted)
    titles = catalog.table.column("title").to_pylist()
    other = catalog.table.set_column(1, catalog.table.schema.field(1), [[*titles[1:], titles[0]]])
    state = step(matcher, State(), Catalog(other, catalog.image_folder).take(np.arange(20, 100)))
    state = step(matcher, state, catalog.take(np.r_[0:30, 100:120]))
    state = step(matcher, state, None, catalog.ids[95:].tolist())
    state = step(matcher, state, catalog.take(np.arange(30, 120)))
    assert embedded == [80, 20 + 10 + 20, 65 + 25]
    assert_same(state, at_once)


def test_growth_needs_no_picture_of_a_listing_it_holds(
    matcher: Matcher, data: Path, at_once: State, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    config = DataConfig()
    catalog = read_catalog(find_source(folder, config), config, ComputeConfig(**ONE_CORE["compute"]), labeled=False)
    state = step(matcher, State(), catalog.take(np.arange(90)))
    kept = {name for name, row in zip(catalog.column("image"), range(len(catalog)), strict=True) if row >= 90}
    for path in (folder / "train_images").iterdir():
        if path.name not in kept:
            path.unlink()
    state.save(tmp_path)
    assert_same(step(matcher, State.load(tmp_path), catalog.take(np.arange(90, len(catalog)))), at_once)


def test_a_small_addition_scores_no_pair_again_that_was_ruled_out(
    titles_alone: Matcher, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bound that rules out many; the groups are those of matching all at once all the same."""
    monkeypatch.setattr(kept, "RULED_OUT", 0.05)
    before = step(titles_alone, State(), catalog.take(np.arange(112)))
    described: list[int] = []
    describe = titles_alone.describe
    monkeypatch.setattr(
        titles_alone, "describe", lambda pool, pairs: described.append(len(pairs)) or describe(pool, pairs)
    )
    grown, at_once = (step(titles_alone, state, catalog) for state in (before, State()))
    stays = grown.pairs.features[kept.SCORED_IN] == 112
    assert described == [int((~stays).sum()), len(at_once.pairs)]
    assert stays.sum() > 100
    assert (grown.pairs.features[kept.FIRST][stays] < 0.05).all()
    assert groups(grown) == groups(at_once)
    np.testing.assert_array_equal(grown.pairs.left, at_once.pairs.left)
    gone = step(titles_alone, grown, None, [catalog.ids[0]]).pairs
    assert 0 < (gone.features[kept.SCORED_IN] == 119).sum() < len(gone)


@pytest.mark.parametrize("ruled_out", [None, 0.05])
def test_a_question_is_answered_as_growth_by_it_would(
    matcher: Matcher, catalog: Catalog, ruled_out: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an index made at once, and of one that has grown while many pairs kept their scores."""
    rows = np.arange(0, len(catalog), 15)
    rest = np.delete(np.arange(len(catalog)), rows)
    if ruled_out is None:
        state = step(matcher, State(), catalog.take(rest))
    else:
        monkeypatch.setattr(kept, "RULED_OUT", ruled_out)
        state = step(matcher, step(matcher, State(), catalog.take(rest[4:])), catalog.take(rest[:4]))
        assert set(state.pairs.features[kept.SCORED_IN]) == {len(rest) - 4, len(rest)}
    questions, differences = Questions(matcher, state), []
    for row in rows:
        question = catalog.take(np.array([row]))
        result = grow(matcher, state, 2, plan(state.catalog, question, []))[1]
        ids, own = result.catalog.ids, int(np.flatnonzero(result.catalog.ids == catalog.ids[row])[0])
        answers = questions.ask(question, most=len(catalog))
        found = result.matches
        assert {one.posting_id for one in answers if one.matches} == set(ids[found.match[found.listing == own]])
        pairs = result.pairs
        ends = [*zip(pairs.left.tolist(), pairs.right.tolist(), pairs.score.tolist(), strict=True)]  # type: ignore[union-attr]
        scores = {ids[a if b == own else b]: score for a, b, score in ends if own in (a, b)}
        asked = {one.posting_id: one.score for one in answers}
        assert scores.keys() <= asked.keys()
        differences += [abs(asked[one] - score) for one, score in scores.items()]
    assert np.quantile(differences, 0.95) < 0.02


@pytest.mark.parametrize("listings", [1, 2, 120])
def test_a_question_without_a_neighbor_has_no_answer(titles_alone: Matcher, catalog: Catalog, listings: int) -> None:
    questions = Questions(titles_alone, step(titles_alone, State(), catalog.take(np.arange(listings))))
    known, strange = map(of_title, (catalog.titles[0], "łłłł"))
    assert questions.ask(strange) == []
    assert questions.ask(known)[0].posting_id == catalog.ids[0]


@pytest.mark.parametrize("listings", [1, 2, 3])
def test_an_index_of_few_listings_answers_as_growth_would(
    titles_alone: Matcher, catalog: Catalog, listings: int
) -> None:
    titles = ["sabun mandi cair lifebuoy lemon fresh 250ml", "sabun cuci piring jeruk", "obeng"]
    fields = {f.name: pa.nulls(3, f.type) for f in CATALOG_SCHEMA} | {"posting_id": ["a", "b", "c"], "title": titles}
    few = Catalog(pa.table(fields, schema=CATALOG_SCHEMA)).take(np.arange(listings))
    state, question = step(titles_alone, State(), few), of_title("sabun mandi cair lifebuoy lemon 250 ml")
    grown, result = grow(titles_alone, state, 2, plan(state.catalog, question, []))
    ids = grown.catalog.ids  # the question's is the first
    answers = Questions(titles_alone, state).ask(question, most=3)
    assert {answer.posting_id for answer in answers} == set(ids[grown.pairs.right[grown.pairs.left == 0]]) > set()
    matched = set(ids[result.matches.match[result.matches.listing == 0]])
    assert {answer.posting_id for answer in answers if answer.matches} == matched > set()


def test_a_hash_is_found_where_no_two_of_the_index_are_near(titles_alone: Matcher, catalog: Catalog) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 40, dtype=np.uint64)
    fields = {f.name: pa.nulls(41, f.type) for f in CATALOG_SCHEMA}
    ids, asked = [f"{at:02}" for at in range(40)] + [""], hashes[7] ^ np.uint64(0b1111)
    fields |= {"posting_id": pa.array(ids), "phash": pa.array(np.append(hashes, asked))}
    whole = Catalog(pa.table(fields, schema=CATALOG_SCHEMA))
    state = step(titles_alone, State(), whole.take(np.arange(40)))
    assert len(state.pairs) == 0
    answers = Questions(titles_alone, state).ask(whole.take(np.array([40])))
    assert [answer.posting_id for answer in answers] == ["07"]


def test_an_index_of_an_earlier_version_is_asked_once_it_has_grown(titles_alone: Matcher, catalog: Catalog) -> None:
    state = step(titles_alone, State(), catalog.take(np.arange(30)))
    dense_views = {name: view for name, view in state.views.items() if name != "tfidf"}
    earlier = replace(state, pairs=replace(state.pairs, features=pd.DataFrame()), views=dense_views)
    scored = replace(state.pairs, features=state.pairs.features.drop(columns="tfidf_cosine"))
    for lacking in (
        earlier,
        replace(earlier, views=state.views),
        replace(earlier, pairs=state.pairs),
        replace(state, pairs=scored),
    ):
        with pytest.raises(MatcherError, match="an earlier version wrote this index"):
            Questions(titles_alone, lacking)
        grown = step(titles_alone, lacking, catalog.take(np.array([30])))
        answers = Questions(titles_alone, grown).ask(of_title(catalog.titles[30]))
        assert catalog.ids[30] in {answer.posting_id for answer in answers}


def of_title(title: str) -> Catalog:
    """A listing of nothing but a title, with an id that no index has."""
    fields = {f.name: pa.nulls(1, f.type) for f in CATALOG_SCHEMA} | {"posting_id": pa.array([""])}
    return Catalog(pa.table(fields | {"title": pa.array([title])}, schema=CATALOG_SCHEMA))


def test_a_state_comes_back_from_its_files(at_once: State, tmp_path: Path) -> None:
    at_once.save(tmp_path)
    again = State.load(tmp_path)
    assert_same(again, at_once)
    assert (again.group_ids, again.retired, again.changes) == (at_once.group_ids, at_once.retired, at_once.changes)


# --- what cannot be done ---------------------------------------------------------------------------------------------


def test_every_fault_of_a_removal_is_named(catalog: Catalog) -> None:
    ids = catalog.ids.tolist()
    with pytest.raises(MatcherError, match="2 faults") as error:
        plan(catalog, catalog.take(np.array([3])), [ids[3], ids[4], "nobody"])
    assert f"{ids[3]!r} is to be added as well" in str(error.value)
    assert "'nobody' is not in the index" in str(error.value)
    with pytest.raises(MatcherError, match="no listing would be left"):
        plan(catalog, None, ids)


def test_a_listing_does_not_lose_its_picture_unless_it_is_said_to_have_none(catalog: Catalog) -> None:
    assert catalog.has_image[:2].all()
    schema, nothing = catalog.table.schema, pa.nulls(len(catalog))
    bare = catalog.table
    for name in ("image_sha", "width", "height", "bytes", "phash"):
        at = schema.get_field_index(name)
        bare = bare.set_column(at, schema.field(at), nothing.cast(schema.field(at).type))
    at = schema.get_field_index("image_fault")
    faults = pa.array(["no image folder"] * len(catalog))
    unreadable = Catalog(bare.set_column(at, schema.field(at), faults))
    with pytest.raises(MatcherError, match="would lose its picture: no image folder"):
        plan(catalog, unreadable.take(np.array([0])), [])
    assert plan(catalog, Catalog(bare).take(np.array([0])), []).counts["updated"] == 1
    assert plan(catalog.take(np.array([1])), unreadable.take(np.array([0])), []).counts["added"] == 1


@pytest.mark.parametrize("name", ["ids.txt", "ids.csv"])
def test_ids_are_read_as_written(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(("" if name.endswith("txt") else "posting_id\n") + "001\n1e5\n\n001\nNA\n")
    assert read_ids(tmp_path / name, "posting_id") == ["001", "1e5", "NA"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The listings in two tables without pictures."""
    folder = tmp_path_factory.mktemp("tables")
    listings = pd.read_csv(data / "train.csv", dtype=str).drop(columns=["image", "label_group"])
    listings[:80].to_csv(folder / "old.csv", index=False)
    listings[80:].to_csv(folder / "new.csv", index=False)
    listings[:9].to_csv(folder / "gone.csv", index=False)
    return folder


@pytest.fixture
def match(first: tuple[Path, str], command: Command, tables: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """The command on an index in the test's folder; what it says, whichever way."""

    def call(*arguments: object) -> tuple[int, str]:
        ours = ["--run", first[0], "--index", tmp_path / "I", "--data.image_column=", "--compute.threads=1"]
        code, output, error = command("ensemble.match", *ours, "--compute.device=cpu", *arguments)
        return code, output + error

    return call


def test_the_command_adds_removes_and_says_what_became_of_the_groups(
    match: Callable[..., tuple[int, str]], tables: Path, tmp_path: Path
) -> None:
    assert match("--data", tables / "old.csv", "--out", tmp_path / "one")[0] == 0
    code, output = match("--data", tables / "new.csv", "--remove", tables / "gone.csv", "--out", tmp_path / "two")
    assert (code, "removed 9" in output) == (0, True)
    before, after = (pd.read_parquet(tmp_path / out / "groups.parquet") for out in ("one", "two"))
    gone = set(pd.read_csv(tables / "gone.csv", dtype=str).posting_id)
    assert set(after.posting_id) == (set(before.posting_id) - gone) | set(pd.read_csv(tables / "new.csv").posting_id)
    both = before.merge(after, on="posting_id")
    moved = both[both.group_id_x != both.group_id_y]
    log = [json.loads(line) for line in (tmp_path / "two" / "changes.jsonl").read_text().splitlines()]
    told = {(change["group_id"], change["into"]) for change in log}
    assert set(zip(moved.group_id_x, moved.group_id_y, strict=True)) <= told
    code, output = match("--data", tables / "new.csv", "--remove", tables / "gone.csv", "--out", tmp_path / "three")
    assert (code, "already" in output) == (0, True)
    for name in ("matches", "groups", "pairs"):
        again = pd.read_parquet(tmp_path / "three" / f"{name}.parquet")
        pd.testing.assert_frame_equal(again, pd.read_parquet(tmp_path / "two" / f"{name}.parquet"))


def test_an_index_answers_by_title_and_by_picture(
    match: Callable[..., tuple[int, str]], tables: Path, data: Path, tmp_path: Path
) -> None:
    assert match("--data", tables / "old.csv", "--out", tmp_path / "out")[0] == 0
    before = (tmp_path / "I" / CURRENT).read_bytes()
    wanted = pd.read_csv(tables / "old.csv", dtype=str).iloc[5]
    code, output = match("--title", wanted.title)
    lines = output.splitlines()
    assert code == 0
    assert lines[0].startswith("match")
    own = next(at for at, line in enumerate(lines) if f" {wanted.posting_id} " in line)
    assert "equal titles" in lines[own + 1]
    assert "answered in" in lines[-1]
    picture = data / "train_images" / pd.read_csv(data / "train.csv").image[5]
    code, output = match("--image", picture)
    assert (code, "bits apart" in output or "bit apart" in output) == (0, True)
    assert (tmp_path / "I" / CURRENT).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--index takes --data"),
        (["--data", "x.csv"], "--index takes --data"),
        (["--title", "tas", "--out", "o"], "change nothing"),
        (["--title", "tas"], "there is no index"),
        (["--remove", "nowhere.txt", "--out", "o"], "nowhere.txt: no such file"),
        (["--remove", "nowhere.csv", "--out", "o"], "no such file"),
        (["--image", "nowhere.jpg"], "there is no index"),
        (["--data", "x.csv", "--out", "o", "--evaluate"], "leave --index"),
    ],
)
def test_what_the_command_cannot_do_is_one_message(
    arguments: list[str], message: str, match: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, output = match(*arguments)
    assert (code, message in output) == (2, True)
    assert not (tmp_path / "I").exists()


def test_a_removal_needs_an_index(match: Callable[..., tuple[int, str]], tables: Path, tmp_path: Path) -> None:
    code, output = match("--remove", tables / "gone.csv", "--out", tmp_path / "out")
    assert (code, "there is no index" in output) == (2, True)
    assert not (tmp_path / "out").exists()


def test_pictures_that_are_named_and_not_found_are_told(
    match: Callable[..., tuple[int, str]], tables: Path, tmp_path: Path
) -> None:
    listings = pd.read_csv(tables / "gone.csv", dtype=str).assign(image="nowhere.jpg")
    listings.to_csv(tmp_path / "named.csv", index=False)
    code, output = match("--data", tmp_path / "named.csv", "--data.image_column=image", "--out", tmp_path / "out")
    assert (code, "pictures that cannot be used 9 · no image folder 9" in output) == (0, True)


@pytest.mark.parametrize("option", ["--remove", "--title", "--image"])
def test_the_options_of_an_index_need_one(option: str, first: tuple[Path, str], command: Command) -> None:
    code, _, error = command("ensemble.match", "--run", first[0], option, "x")
    assert (code, f"{option} is for an index" in error) == (2, True)


def test_an_index_of_another_matcher_an_altered_and_a_held_one_are_refused(
    match: Callable[..., tuple[int, str]], tables: Path, tmp_path: Path
) -> None:
    add = ["--data", tables / "old.csv", "--out", tmp_path / "out"]
    assert match(*add)[0] == 0
    assert "another bundle" in match(*add, "--tfidf.words=2")[1]
    with Snapshots(tmp_path / "I").locked():
        assert "in use by process" in match(*add)[1]
    code, output = match("--remove", tables / "new.csv", "--out", tmp_path / "o")
    assert (code, "is not in the index" in output) == (2, True)
    path = tmp_path / "I" / "000001" / "image" / "embeddings.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    code, output = match(*add)
    assert (code, "checksum" in output) == (3, True)


def test_killed_while_it_grows_an_index_is_as_before_or_as_after(
    titles_alone: Matcher, catalog: Catalog, tmp_path: Path
) -> None:
    snapshots = Snapshots(tmp_path / "I")
    old, new = step(titles_alone, State(), catalog.take(np.arange(80))), catalog.take(np.arange(80, 120))
    after = step(titles_alone, old, new)

    def save(number: int, state: State) -> None:
        with snapshots.locked():
            snapshots.write(number, {}, state.save)

    def killed(delay_s: float) -> None:
        child = os.fork()
        if child == 0:
            save(1, step(titles_alone, old, new))
            os._exit(0)
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    start = time.perf_counter()
    save(0, old)
    step(titles_alone, old, new)
    whole = time.perf_counter() - start
    ended = set()
    for _ in range(10):
        killed(random.uniform(0, 1.3 * whole))
        present = snapshots.current()
        assert present is not None
        ended.add(present.number)
        assert_same(State.load(present.folder), old if present.number == 1 else after)
        if present.number == 2:
            shutil.rmtree(snapshots.folder)
            save(0, old)
    save(1, after)
    assert ended <= {1, 2}
