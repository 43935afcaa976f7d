"""Matching and an index set aside what many unlike listings share, and take listings of equal content as one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.config import Rule
from ensemble.index.index import Index
from ensemble.index.state import State
from ensemble.matcher import Matcher
from ensemble.sections import sections
from shared.catalog.copies import copy_of
from shared.pipeline.run import RunFolder, remembered
from shared.pipeline.settings import Settings, merge

ONE_CORE = {"compute": {"threads": 1, "device": "cpu"}}
HASH = "9b3c5d2a6f0e1478"


@pytest.fixture(scope="module")
def matcher(first: tuple[Path, str]) -> Matcher:
    return Matcher.of_run(RunFolder(first[0]), Settings(merge(remembered(first[0]), ONE_CORE), sections()))


@pytest.fixture(params=["threshold", "min2", "average_link"])
def by_rule(request: pytest.FixtureRequest, matcher: Matcher) -> Matcher:
    rule: Rule = request.param
    other = Matcher.__new__(Matcher)
    other.__dict__ = matcher.__dict__ | {"decision": replace(matcher.decision, rule=rule)}
    return other


def frame(titles: list[str], hashes: list[str] | None = None, prefix: str = "p") -> pd.DataFrame:
    ids = [f"{prefix}{i:04}" for i in range(len(titles))]
    return pd.DataFrame({"posting_id": ids, "title": titles, "image_phash": hashes or [""] * len(titles)})


def partition(groups: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(part) for _, part in groups["posting_id"].groupby(groups["group_id"])}


def of_state(state: State) -> set[frozenset[str]]:
    return partition(state.result().groups)


def grown(folder: Path, matcher: Matcher, listings: pd.DataFrame, parts: int) -> Index:
    index = Index.open(folder, matcher)
    for rows in np.array_split(np.arange(len(listings)), parts):
        index.add(listings.iloc[rows])
    return index


def mixed(seed: int) -> pd.DataFrame:
    """Three products with copies that are near to each other, and others."""
    titles = ["Viva rose water 100 ml"] * 30 + ["Viva rose water toner 100ml"] * 70 + ["Rose water Viva 100ml new"]
    others = [f"{name} {i}" for i, name in enumerate(("desk lamp", "rice cooker", "bike pump", "garden hose") * 5)]
    return frame([*titles, *others]).sample(frac=1, random_state=seed)


@pytest.mark.fault(35)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_thousand_equal_titles_are_one_group(seed: int, by_rule: Matcher) -> None:
    listings = frame(["Black cloth face mask 1 pcs"] * 1000).sample(frac=1, random_state=seed)
    result = by_rule.match(listings)
    assert result.summary() == {
        "listings": 1000,
        "groups_of_two_or_more": 1,
        "listings_without_a_match": 0,
        "expected_to_have_a_match": 1000,
        "largest_group": 1000,
    }
    assert len(result.pairs) == 999
    assert (result.matches.score == 1).all()


def test_classes_of_copies_are_proposed_to_each_other(matcher: Matcher) -> None:
    result = matcher.match(frame(["Viva rose water 100 ml"] * 300 + ["Viva rose water toner 100ml"] * 1000))
    between = result.pairs[(result.pairs.left < "p0300") & (result.pairs.right >= "p0300")]
    assert between[["left", "right"]].to_numpy().tolist() == [["p0000", "p0300"]]


@pytest.mark.fault(35)
def test_copies_in_parts_are_one_group(by_rule: Matcher, tmp_path: Path) -> None:
    listings = frame(["Black cloth face mask 1 pcs"] * 300).sample(frac=1, random_state=3)
    index = grown(tmp_path / "index", by_rule, listings, 3)
    assert len(of_state(index.state)) == 1
    index.rebuild()
    assert len(of_state(index.state)) == 1
    hit = index.query(listings.head(1))[0][0]
    assert (hit.matches, hit.score) == (True, 1)


def test_an_index_with_copies_is_rebuilt_as_matching_all_at_once(by_rule: Matcher, tmp_path: Path) -> None:
    listings = mixed(1)
    index = grown(tmp_path / "index", by_rule, listings, 4)
    copies = copy_of(index.state.catalog)
    assert (copies[index.state.pairs.left] == index.state.pairs.left).all()
    gone = ["p0000", "p0030", "p0031", "p0110"]  # two of which stood for others
    index.remove(gone)
    index.rebuild()
    result = by_rule.match(listings[~listings.posting_id.isin(gone)])
    assert of_state(index.state) == partition(result.groups)
    pairs = index.state.result().pairs
    scores = {frozenset(ends): score for *ends, score in result.pairs.itertuples(index=False)}
    assert {frozenset(ends): score for *ends, score in pairs.itertuples(index=False)} == scores


def test_another_listing_stands_for_its_copies_without_a_new_score(matcher: Matcher, tmp_path: Path) -> None:
    listings = mixed(2)
    index = grown(tmp_path / "index", matcher, listings, 1)
    before = index.state
    assert index.add(frame(["Viva rose water 100 ml"], prefix="a")) == {
        "added": 1,
        "updated": 0,
        "removed": 0,
        "unchanged": len(listings),
    }
    after = index.state
    assert after.catalog.ids[after.copies[after.catalog.ids == "p0000"]].tolist() == ["a0000"]
    assert len(after.pairs) == len(before.pairs)
    assert after.group_ids["a0000"] == before.group_ids["p0000"]
    index.remove(["a0000"])
    for posting_id in listings.posting_id[listings.title.str.contains("Viva")]:
        assert index.state.group_ids[posting_id] == before.group_ids[posting_id]


@pytest.mark.fault(9, 35)
@pytest.mark.parametrize("k", [5, 20, 80])
def test_a_hash_of_unlike_listings_makes_no_group(k: int, matcher: Matcher) -> None:
    titles = [f"thing{i} model{i} kind{i}" for i in range(80)]
    result = matcher.match(frame(titles, [HASH] * k + [""] * (80 - k)))
    assert result.set_aside.kinds["hashes"].listings == k
    assert partition(result.groups) == partition(matcher.match(frame(titles)).groups)


@pytest.mark.fault(35)
def test_an_index_sets_aside_what_its_listings_come_to_share(matcher: Matcher, tmp_path: Path) -> None:
    listings = frame([f"thing{i} model{i} kind{i}" for i in range(60)], [HASH] * 20 + [""] * 40)
    index = grown(tmp_path / "index", matcher, listings.iloc[:3], 1)
    assert index.state.catalog.has_phash.sum() == 3
    index.add(listings.iloc[3:])
    assert index.state.catalog.has_phash.sum() == 0
    assert index.state.originals.has_phash.sum() == 20
    assert index.state.result().set_aside == matcher.match(listings).set_aside
    assert index.add(listings)["unchanged"] == 60
    index.rebuild()
    assert of_state(index.state) == partition(matcher.match(listings).groups)
    hits = index.query(frame(["other lamp"], [HASH]))[0]
    assert not any("hashes" in hit.reasons and hit.score > 0.5 and "thing" in hit.title for hit in hits)
    index.remove(listings.posting_id.iloc[:18].tolist())
    assert index.state.catalog.has_phash.sum() == 0  # two are left, whose images may be gone


@pytest.mark.fault(36)
def test_match_says_what_was_set_aside(
    first: tuple[Path, str], tmp_path: Path, quiet_command: Callable[..., str]
) -> None:
    frame([f"thing{i} model{i} kind{i}" for i in range(30)], [HASH] * 30).to_csv(tmp_path / "new.csv", index=False)
    arguments = ["--run", first[0], "--data", tmp_path / "new.csv", "--out", tmp_path / "out"]
    output = quiet_command("ensemble.match", *arguments, "--compute.threads=1", "--compute.device=cpu")
    assert f"set aside since many unlike listings share it: 1 hash of 30 listings ({HASH}, such as p0000)" in output
