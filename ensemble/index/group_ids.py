"""Group ids that stay: a listing keeps its group's id unless the group really changed.

1. Each old group lays claim to the new group that holds most of its members; of equals, to the one with the member of
   the smallest posting id.
2. Each new group takes the id of one old group that claims it: that with most members in it; of equals the smallest id.
3. A new group that nobody claims, or that lost its claims, is named by its smallest posting id. An id that was ever
   given is not given again: it gets a number behind it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class Change:
    """So many listings of a group that was split or merged went into one group.

    Attributes:
        snapshot: Number of the index's snapshot that has the new groups.
        change: `split` where the old group's listings are in several new ones, `merge` where the new group has listings
            of several old ones, else `split and merge`.
        group_id: The old group.
        into: The new group; the same id where the group kept it.
        listings: How many.
    """

    snapshot: int
    change: str
    group_id: str
    into: str
    listings: int


def inherited(groups: Mapping[str, int], before: Mapping[str, str], retired: Collection[str]) -> dict[str, str]:
    """Name new groups after old ones.

    Args:
        groups: Posting id → number of its new group.
        before: Posting id → id of its old group, of the listings there were.
        retired: Group ids that were given once and are no longer.

    Returns:
        Posting id → id of its new group. It depends on no order.
    """
    shared: dict[str, Counter[int]] = defaultdict(Counter)  # old id → new group → members
    smallest: dict[int, str] = {}
    for posting_id in sorted(groups):  # so that counters, too, know groups by their smallest posting id
        group = groups[posting_id]
        smallest.setdefault(group, posting_id)
        if posting_id in before:
            shared[before[posting_id]][group] += 1
    claims: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for group_id, members in shared.items():
        group, most = members.most_common(1)[0]  # of equals the one met first
        claims[group].append((-most, group_id))
    names = {group: min(of_group)[1] for group, of_group in claims.items()}
    taken = {*retired, *before.values()}
    for group in sorted(smallest.keys() - names.keys(), key=lambda group: smallest[group]):
        names[group] = _fresh(smallest[group], taken)
        taken.add(names[group])
    return {posting_id: names[group] for posting_id, group in groups.items()}


def _fresh(name: str, taken: Collection[str]) -> str:
    numbered = (f"{name}~{number}" for number in count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)


def changes(snapshot: int, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """Every split and merge between two groupings, by old and new id.

    Args:
        snapshot: Number of the snapshot that has the new groups.
        before: Posting id → id of its old group.
        after: Posting id → id of its new group.

    Returns:
        One for each old and new group that share listings, if the old one was split or the new one merged.
    """
    flows = Counter((before[posting_id], after[posting_id]) for posting_id in before.keys() & after.keys())
    targets, sources = Counter(old for old, _ in flows), Counter(new for _, new in flows)
    found = []
    for (old, new), listings in sorted(flows.items()):
        kinds = _kinds(targets[old] > 1, sources[new] > 1)
        if kinds:
            found.append(Change(snapshot, " and ".join(kinds), old, new, listings))
    return found


def _kinds(split: bool, merged: bool) -> Sequence[str]:
    return [name for name, holds in (("split", split), ("merge", merged)) if holds]
