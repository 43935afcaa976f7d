"""An index that changes in any steps is close to matching all its listings at once, which a rebuild does exactly."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from branches import registry
from ensemble.index.embeddings import Embedders
from ensemble.index.index import Index
from ensemble.index.plan import plan
from ensemble.index.query import hits
from ensemble.index.snapshots import CURRENT, Snapshots
from ensemble.index.state import State
from ensemble.index.update import rebuilt, renamed, updated
from ensemble.matcher import Matcher
from ensemble.pool_views import Words
from ensemble.sections import sections
from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import find_source
from shared.compute import ComputeConfig
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings, merge
from shared.schema import CATALOG_SCHEMA, Candidates, Catalog, Embeddings
from shared.search import cells, refinement
from shared.search import sparse as sparse_search
from tests.support.indexes import assert_same, members

PAIR_COLUMNS = ("left", "right", "rank_left", "rank_right")
ONE_CORE = {"compute": {"threads": 1, "device": "cpu"}}


@pytest.fixture(scope="module")
def matcher(first: tuple[Path, str]) -> Matcher:
    return Matcher.of_run(RunFolder(first[0]), Settings(merge(remembered(first[0]), ONE_CORE), sections()))


def step(
    matcher: Matcher, state: State, given: Catalog | None, removed: list[str] | None = None, *, locally: bool = False
) -> State:
    """One change of an index, all at once where it is empty; locally: as a query looks at it."""
    planned, embedders = plan(state.catalog, given, removed or []), Embedders(matcher, state.catalog)
    if not len(state):
        return renamed(state, rebuilt(matcher, embedders, state, planned), 1)
    words = Words.of(state.catalog.normalized_titles)
    return renamed(state, updated(matcher, embedders, state, words, planned, locally=locally), 1)


def rebuild(matcher: Matcher, state: State) -> State:
    planned = plan(state.catalog, None, [])
    return renamed(state, rebuilt(matcher, Embedders(matcher, state.catalog), state, planned), 1)


def agreement(one: State, other: State) -> float:
    """Share of the listings whose groups have the same members."""
    a, b = members(one), members(other)
    assert a.keys() == b.keys()
    return sum(a[posting_id] == b[posting_id] for posting_id in a) / len(a)


@pytest.fixture(scope="module")
def at_once(matcher: Matcher, catalog: Catalog) -> State:
    return step(matcher, State(), catalog)


# --- growing ---------------------------------------------------------------------------------------------------------


def test_an_index_holds_what_matching_its_listings_gives(matcher: Matcher, catalog: Catalog, at_once: State) -> None:
    result = matcher.match_catalog(catalog)
    scores = zip(
        catalog.ids[result.scored_pairs.left],
        catalog.ids[result.scored_pairs.right],
        result.scored_pairs.score,
        strict=True,
    )
    ids, pairs = at_once.catalog.ids, at_once.pairs
    kept = zip(ids[pairs.left], ids[pairs.right], pairs.score, strict=True)
    assert {frozenset(pair): score for *pair, score in kept} == {frozenset(pair): score for *pair, score in scores}
    assert at_once.group_ids == dict(zip(catalog.ids, result.group_ids(), strict=True))


def test_a_rebuild_forgets_how_the_index_came_to_be(
    matcher: Matcher, catalog: Catalog, at_once: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By way of listings with other titles and of some that go again; an encoder sees each listing once."""
    embedded: list[int] = []
    embedder = matcher.embedder

    class Noted:
        def __init__(self, name: str, pool: Catalog) -> None:
            self.name, self.inner = name, embedder(name, pool)

        def transform(self, listings: Catalog) -> Embeddings:
            if self.name == "image":
                embedded.append(len(listings))
            return self.inner.transform(listings)

    monkeypatch.setattr(matcher, "embedder", Noted)
    titles = catalog.table.column("title").to_pylist()
    other = catalog.with_columns({"title": [*titles[1:], titles[0]]}).table
    state = step(matcher, State(), Catalog(other, catalog.image_folder).take(np.arange(20, 100)))
    state = step(matcher, state, catalog.take(np.r_[0:30, 100:120]))
    state = step(matcher, state, None, catalog.ids[95:].tolist())
    state = step(matcher, state, catalog.take(np.arange(30, 120)))
    assert embedded == [20 + 10 + 20, 65 + 25]
    assert_same(rebuild(matcher, state), at_once)


def test_a_rebuild_searches_many_listings_as_matching_them_does(
    first: tuple[Path, str], catalog: Catalog, at_once: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Approximately, here from the first listing on; until then new listings are searched exactly among all."""
    monkeypatch.setattr(cells, "PROBES", 2)
    monkeypatch.setattr(refinement, "NEAREST", 1)
    monkeypatch.setattr(sparse_search, "BUDGET", 2)
    approximate = {name: {"approximate_from": 0} for name in at_once.branches}
    matcher = Matcher(RunFolder(first[0]), Settings(merge(remembered(first[0]), approximate, ONE_CORE), sections()))
    rows = np.random.default_rng(0).permutation(len(catalog))
    state = step(matcher, State(), catalog.take(np.sort(rows[:90])))
    state = step(matcher, state, catalog.take(np.sort(rows[90:])))
    state_at_once = step(matcher, State(), catalog)
    new = np.isin(state.catalog.ids, catalog.ids[rows[90:]])
    for name in ("image", "distilbert", "tfidf"):
        exact, few = at_once.branches[name].search.candidates, state_at_once.branches[name].search.candidates
        assert len(few) < len(exact), name
        grown = lists_of(state.branches[name].search.candidates, new)
        if registry.get(name).learns:  # vectors of the others changed a little when listings came
            assert grown == lists_of(exact, new), name
        else:
            assert grown.keys() == lists_of(exact, new).keys(), name
    assert_same(rebuild(matcher, state), state_at_once)
    scored = matcher.match_catalog(catalog).scored_pairs
    np.testing.assert_array_equal(state_at_once.pairs.score, scored.score)


def lists_of(candidates: Candidates, mask: np.ndarray) -> dict[tuple[int, int], int]:
    """(listing, neighbor) → rank, for the listings in a mask."""
    pairs = zip(*(getattr(candidates, name).tolist() for name in PAIR_COLUMNS), strict=True)
    ranks = (
        (ends, rank)
        for left, right, *both in pairs
        for ends, rank in zip(((left, right), (right, left)), both, strict=True)
    )
    return {ends: rank for ends, rank in ranks if rank and mask[ends[0]]}


def test_ten_parts_give_nearly_what_all_at_once_gives(matcher: Matcher, catalog: Catalog, at_once: State) -> None:
    state = State()
    order = np.random.default_rng(0).permutation(len(catalog))
    for rows in np.array_split(order, [60, *range(66, 120, 6)]):
        state = step(matcher, state, catalog.take(rows))
    assert state.changed == 60
    assert state.rebuild_due is not None
    assert agreement(state, at_once) > 0.9


def test_listings_without_titles_join_those_with_titles(matcher: Matcher, catalog: Catalog) -> None:
    """And the other way round: evidence of a kind that a change or an index lacks has the same width nevertheless."""
    titled = catalog.take(np.arange(40))
    untitled = Catalog(blanked(catalog.take(np.arange(40, 60))), catalog.image_folder)
    for first, then in ((titled, untitled), (untitled, titled)):
        grown = step(matcher, step(matcher, State(), first), then)
        assert len(grown) == 60
        assert agreement(grown, rebuild(matcher, grown)) > 0.8


def blanked(catalog: Catalog) -> pa.Table:
    """The table of a catalog with empty titles."""
    at = catalog.table.schema.get_field_index("title")
    return catalog.table.set_column(at, CATALOG_SCHEMA.field("title"), [[""] * len(catalog)])


def test_what_is_removed_leaves_groups_as_if_it_had_never_been_there(
    matcher: Matcher, catalog: Catalog, at_once: State
) -> None:
    state = step(matcher, at_once, None, catalog.ids[::12].tolist())
    rest = np.delete(np.arange(len(catalog)), np.s_[::12])
    assert agreement(state, step(matcher, State(), catalog.take(rest))) > 0.9
    assert not set(catalog.ids[::12]) & {*state.group_ids, *state.catalog.ids}
    assert step(matcher, at_once, None, [catalog.ids[0]]).rebuild_due is None


def test_a_listing_that_shares_nothing_changes_nothing(titles_alone: Matcher, catalog: Catalog) -> None:
    """Asked about, it leaves all scores as they are to the bit."""
    before = step(titles_alone, State(), catalog)
    after = step(titles_alone, before, of_title("łłłł", "zzz"), locally=True)
    np.testing.assert_array_equal(after.pairs.score, before.pairs.score)
    assert members(after) == members(before) | {"zzz": frozenset({"zzz"})}


def test_a_query_scores_only_pairs_of_listings_near_it_again(
    titles_alone: Matcher, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = step(titles_alone, State(), catalog.take(np.arange(1, 120)))
    described: list[int] = []
    describe = titles_alone.describe
    monkeypatch.setattr(
        titles_alone, "describe", lambda pool, pairs: described.append(len(pairs)) or describe(pool, pairs)
    )
    after = step(titles_alone, before, catalog.take(np.array([0])), locally=True)
    assert 0 < sum(described) < len(before.pairs) / 2
    new = int(np.flatnonzero(after.catalog.ids == catalog.ids[0])[0])
    assert described[0] == int(((after.pairs.left == new) | (after.pairs.right == new)).sum())


def test_growth_needs_no_image_of_a_listing_it_holds(
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
    (tmp_path / "state").mkdir()
    state.save(tmp_path / "state")
    grown = step(matcher, State.load(tmp_path / "state"), catalog.take(np.arange(90, len(catalog))))
    assert_same(rebuild(matcher, grown), at_once)


def test_a_state_comes_back_from_its_files(titles_alone: Matcher, catalog: Catalog, tmp_path: Path) -> None:
    state = step(titles_alone, step(titles_alone, State(), catalog.take(np.arange(110))), catalog)
    state.save(tmp_path)
    again = State.load(tmp_path)
    assert_same(again, state)
    assert (again.group_ids, again.retired, again.changes) == (state.group_ids, state.retired, state.changes)
    assert (again.built, again.changed) == (110, 10)


# --- queries ---------------------------------------------------------------------------------------------------------


def test_a_query_answers_what_adding_the_listing_would_give(matcher: Matcher, catalog: Catalog, tmp_path: Path) -> None:
    index = Index.open(tmp_path / "I", matcher)
    rows = np.arange(0, len(catalog), 15)
    index.add(catalog.take(np.delete(np.arange(len(catalog)), np.append(rows, 1))))
    index.add(catalog.take(np.array([1])))
    before = (tmp_path / "I" / CURRENT).read_bytes()
    answers = index.query(catalog.take(rows), most=len(catalog))
    assert (tmp_path / "I" / CURRENT).read_bytes() == before
    assert any(hit.matches for answer in answers for hit in answer)
    alike = 0
    for row, answer in zip(rows, answers, strict=True):
        grown = step(matcher, index.state, catalog.take(np.array([row])), locally=True)
        expected = hits(grown, catalog.ids[row], most=len(catalog))
        for name in ("posting_id", "score", "matches", "reasons"):
            assert [getattr(hit, name) for hit in answer] == [getattr(hit, name) for hit in expected]
        written = hits(step(matcher, index.state, catalog.take(np.array([row]))), catalog.ids[row], most=len(catalog))
        alike += {hit.posting_id for hit in written if hit.matches} == {hit.posting_id for hit in answer if hit.matches}
        assert [hit.group_id for hit in answer] == [index.state.group_ids[hit.posting_id] for hit in answer]
    assert alike >= len(rows) - 1


@pytest.mark.parametrize("listings", [1, 2, 120])
def test_a_query_without_a_neighbor_has_no_answer(
    titles_alone: Matcher, catalog: Catalog, listings: int, tmp_path: Path
) -> None:
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(catalog.take(np.arange(listings)))
    strange, known = (index.query(of_title(title))[0] for title in ("łłłł", catalog.titles[0]))
    assert strange == []
    assert catalog.ids[0] in [hit.posting_id for hit in known]


def test_a_hash_is_found_where_no_two_of_the_index_are_near(titles_alone: Matcher, tmp_path: Path) -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 40, dtype=np.uint64)
    fields = {f.name: pa.nulls(41, f.type) for f in CATALOG_SCHEMA}
    ids, asked = [f"{at:02}" for at in range(40)] + [""], hashes[7] ^ np.uint64(0b1111)
    fields |= {"posting_id": pa.array(ids), "phash": pa.array(np.append(hashes, asked))}
    whole = Catalog(pa.table(fields, schema=CATALOG_SCHEMA))
    index = Index.open(tmp_path / "I", titles_alone)
    index.add(whole.take(np.arange(40)))
    assert len(index.state.pairs) == 0
    assert [hit.posting_id for hit in index.query(whole.take(np.array([40])))[0]] == ["07"]


def of_title(title: str, posting_id: str = "") -> Catalog:
    """A listing of nothing but a title."""
    fields = {f.name: pa.nulls(1, f.type) for f in CATALOG_SCHEMA} | {"posting_id": pa.array([posting_id])}
    return Catalog(pa.table(fields | {"title": pa.array([title])}, schema=CATALOG_SCHEMA))


# --- kills ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(17)
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
