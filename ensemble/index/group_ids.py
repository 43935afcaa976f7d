"""Group ids that stay: a listing keeps its group's id unless the group really changed.

1. Each old group lays claim to the new group that holds most of its members; of equals, to the one with the member of
   the smallest posting id.
2. Each new group takes the id of one old group that claims it: that with most members in it; of equals the smallest id.
3. A new group without a claim is named by its smallest posting id. An id that was ever used is not used again: it gets
   a number behind it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class Change:
    """A part of a split or a merge: how many listings of one old group are in one new group.

    Attributes:
        snapshot: Number of the index's snapshot that has the new groups.
        change: `split` where the old group's listings are in several new ones, `merge` where the new group has listings
            of several old ones, else `split and merge`.
        group_id: The old group.
        into: The new group; the same id where the group kept it.
        listings: Number of these listings.

    Examples:
        >>> changes(2, {"p1": "p1", "p2": "p1"}, {"p1": "p1", "p2": "p2"})[0]
        Change(snapshot=2, change='split', group_id='p1', into='p1', listings=1)
    """

    snapshot: int
    change: str
    group_id: str
    into: str
    listings: int


def inherited(groups: Mapping[str, int], previous: Mapping[str, str], retired: Collection[str]) -> dict[str, str]:
    """Return group ids for new groups, which keep those of old groups where they can.

    Args:
        groups: Posting id → number of its new group.
        previous: Posting id → id of its old group, for all previous listings.
        retired: Group ids of earlier groups that are no longer used.

    Returns:
        Posting id → id of its new group. It depends on no order.

    Examples:
        >>> inherited({"p1": 0, "p2": 0, "p3": 1}, previous={"p2": "p2", "p3": "p2"}, retired=[])
        {'p1': 'p2', 'p2': 'p2', 'p3': 'p3'}
    """
    overlaps: dict[str, Counter[int]] = defaultdict(Counter)  # old id → new group → members
    smallest: dict[int, str] = {}
    for posting_id in sorted(groups):  # so that counters, too, know groups by their smallest posting id
        group = groups[posting_id]
        smallest.setdefault(group, posting_id)
        if posting_id in previous:
            overlaps[previous[posting_id]][group] += 1
    claims: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for group_id, members in overlaps.items():
        group, most = members.most_common(1)[0]  # of equals the one met first
        claims[group].append((-most, group_id))
    names = {group: min(of_group)[1] for group, of_group in claims.items()}
    reserved = {*retired, *previous.values()}
    for group in sorted(smallest.keys() - names.keys(), key=lambda group: smallest[group]):
        names[group] = _fresh(smallest[group], reserved)
        reserved.add(names[group])
    return {posting_id: names[group] for posting_id, group in groups.items()}


def _fresh(name: str, reserved: Collection[str]) -> str:
    numbered = (f"{name}~{number}" for number in count(2))
    return name if name not in reserved else next(other for other in numbered if other not in reserved)


def changes(snapshot: int, previous: Mapping[str, str], current: Mapping[str, str]) -> list[Change]:
    """Return every split and merge between two groupings, sorted by old and new id.

    Args:
        snapshot: Number of the snapshot that has the new groups.
        previous: Posting id → id of its old group.
        current: Posting id → id of its new group.

    Returns:
        One for each old and new group that share listings, if the old one was split or the new one merged.

    Examples:
        >>> merged = changes(2, {"p1": "p1", "p2": "p2"}, {"p1": "p1", "p2": "p1"})
        >>> [(change.change, change.group_id, change.into) for change in merged]
        [('merge', 'p1', 'p1'), ('merge', 'p2', 'p1')]
    """
    flows = Counter((previous[posting_id], current[posting_id]) for posting_id in previous.keys() & current.keys())
    targets, sources = Counter(old for old, _ in flows), Counter(new for _, new in flows)
    result = []
    for (old, new), listings in sorted(flows.items()):
        kinds = _kinds(targets[old] > 1, sources[new] > 1)
        if kinds:
            result.append(Change(snapshot, " and ".join(kinds), old, new, listings))
    return result


def _kinds(split: bool, merged: bool) -> Sequence[str]:
    return [name for name, holds in (("split", split), ("merge", merged)) if holds]
