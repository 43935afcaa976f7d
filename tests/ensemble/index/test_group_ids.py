from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensemble.index.group_ids import Change, changes, inherited

Grouping = dict[str, int]
LISTINGS = [f"l{at}" for at in range(9)]
groupings = st.dictionaries(st.sampled_from(LISTINGS), st.integers(0, 4), min_size=1)


def parts(of: dict[str, str] | Grouping) -> dict[object, set[str]]:
    found: dict[object, set[str]] = defaultdict(set)
    for posting_id, group in of.items():
        found[group].add(posting_id)
    return found


def grown(history: list[Grouping]) -> list[dict[str, str]]:
    """The ids of a catalog's groups, one grouping after the other."""
    named: list[dict[str, str]] = [{}]
    retired: set[str] = set()
    for grouping in history:
        named.append(inherited(grouping, named[-1], retired))
        retired = (retired | set(named[-2].values())) - set(named[-1].values())
    return named[1:]


@pytest.mark.fault(16)
@given(st.lists(groupings, min_size=1, max_size=5))
@settings(deadline=None)
def test_every_listing_is_in_one_group_and_an_id_names_one_group(history: list[Grouping]) -> None:
    for grouping, named in zip(history, grown(history), strict=True):
        assert named.keys() == grouping.keys()
        assert sorted(map(sorted, parts(named).values())) == sorted(map(sorted, parts(grouping).values()))


@given(st.lists(groupings, min_size=2, max_size=5))
@settings(deadline=None)
def test_a_group_keeps_its_id_when_no_listing_went_to_or_came_from_another(history: list[Grouping]) -> None:
    for old, new in zip(grown(history), grown(history)[1:], strict=False):
        both = old.keys() & new.keys()
        for group_id, members in parts(old).items():
            kept = members & both
            into = {new[posting_id] for posting_id in kept}
            if len(into) == 1 and {old[one] for one in both if new[one] in into} == {group_id}:
                assert into == {group_id}


@given(st.lists(groupings, min_size=2, max_size=6))
@settings(deadline=None)
def test_an_id_goes_to_heirs_only(history: list[Grouping]) -> None:
    """A group bears an id that was given before only if it has listings of the group that bore it last."""
    given_once: set[str] = set()
    before: dict[str, str] = {}
    for named in grown(history):
        for group_id, members in parts(named).items():
            if group_id in given_once:
                assert group_id in {before.get(posting_id) for posting_id in members}
        given_once |= set(named.values())
        before = named


@given(groupings, groupings)
@settings(deadline=None)
def test_the_heir_is_among_those_with_most_members(first: Grouping, second: Grouping) -> None:
    old, new = grown([first, second])
    for group_id, members in parts(old).items():
        sizes = Counter(new[posting_id] for posting_id in members if posting_id in new)
        if group_id in new.values() and sizes:
            assert sizes[group_id] == max(sizes.values())


@given(groupings, groupings, st.randoms())
@settings(deadline=None)
def test_names_depend_on_no_order_and_no_numbering(first: Grouping, second: Grouping, random: object) -> None:
    def shuffled(of: dict[str, int]) -> dict[str, int]:
        items = list(of.items())
        random.shuffle(items)  # type: ignore[attr-defined]
        return {posting_id: 10 - group for posting_id, group in items}

    assert grown([first, second]) == grown([shuffled(first), shuffled(second)])


@given(groupings, groupings)
@settings(deadline=None)
def test_the_log_explains_every_listing_whose_id_changed_and_no_group_that_stayed(
    first: Grouping, second: Grouping
) -> None:
    old, new = grown([first, second])
    log = {(change.group_id, change.into): change for change in changes(2, old, new)}
    flows = Counter((old[one], new[one]) for one in old.keys() & new.keys())
    assert {flow for flow in flows if flow[0] != flow[1]} <= log.keys()
    for flow, change in log.items():
        assert change.listings == flows[flow]
        splits = sum(source == flow[0] for source, _ in flows) > 1
        merges = sum(target == flow[1] for _, target in flows) > 1
        assert change.change == {(1, 0): "split", (0, 1): "merge", (1, 1): "split and merge"}[splits, merges]


def test_a_first_grouping_is_named_by_smallest_ids() -> None:
    assert inherited({"c": 0, "a": 1, "b": 0}, {}, []) == {"c": "b", "a": "a", "b": "b"}


def test_a_merge_keeps_the_larger_groups_id_and_is_logged() -> None:
    old = {"a": "a", "b": "b", "c": "b"}
    new = inherited({"a": 0, "b": 0, "c": 0, "0": 0}, old, [])
    assert set(new.values()) == {"b"}
    assert changes(7, old, new) == [Change(7, "merge", "a", "b", 1), Change(7, "merge", "b", "b", 2)]


def test_an_id_once_given_gets_a_number_before_it_is_used_again() -> None:
    split = inherited({"a": 0, "b": 1, "c": 1}, dict.fromkeys("abc", "a"), [])
    assert split == {"a": "a~2", "b": "a", "c": "a"}
    assert inherited({"a": 0}, {}, ["a", "a~2"]) == {"a": "a~3"}
