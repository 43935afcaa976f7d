"""An index: a folder with a catalog that grows, matched anew where it changes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ensemble.index.embeddings import Embedders
from ensemble.index.plan import Plan, plan
from ensemble.index.query import Hit, hits
from ensemble.index.snapshots import Snapshots
from ensemble.index.state import CHANGES, State, write_changes
from ensemble.index.update import rebuilt, renamed, updated
from ensemble.matcher import Matcher
from ensemble.pool_views import Words
from shared.artifacts import digest, updated_folder
from shared.errors import MatcherError
from shared.schema import Catalog

Listings = pd.DataFrame | Catalog
NAMELESS = ""  # the id of a listing that is asked about; none that is read is empty


class Index:
    """A catalog that grows, with its groups.

        index = Index.open("my-index", Matcher.load("bundle"))
        index.add(listings, images="photos")
        index.query(listing, images="photos")

    What is read of the folder is kept until it changes. Made by `open`.

    Args:
        snapshots: The folder.
        matcher: Matches its listings.
        made_with: Digest of the matcher that the index is made with.
    """

    def __init__(self, snapshots: Snapshots, matcher: Matcher, made_with: str) -> None:
        self.snapshots, self.matcher, self.made_with = snapshots, matcher, made_with
        self._hold(State())

    @classmethod
    def open(cls, path: str | Path, matcher: Matcher, *, made_with: str | None = None) -> Self:
        """Open an index. The first listings that are added make its folder.

        Args:
            path: The folder.
            matcher: Matches its listings.
            made_with: Digest of the matcher that the index was made with, where `matcher` is the same but for how many
                listings it embeds at a time.

        Raises:
            MatcherError: It was made with another matcher, or the folder holds something else.
            ArtifactError: It is damaged.
        """
        index = cls(Snapshots(Path(path)), matcher, made_with or matcher.digest)
        index._read()
        return index

    def __len__(self) -> int:
        return len(self._state)

    @property
    def state(self) -> State:
        """Return what the index held when it was last read or written."""
        return self._state

    def add(self, listings: Listings, images: str | Path | None = None) -> dict[str, int]:
        """Add listings, or put them in the place of those with their ids.

        Args:
            listings: A catalog, or a frame as `Matcher.match` takes it.
            images: Of a frame, the folder with the files that its `image` names; None: do without images.

        Returns:
            How many listings were added, updated, removed and left as they were.

        Raises:
            MatcherError: The frame has faults, or a listing would lose its image; nothing has changed then.
        """
        return self._change(self._catalog(listings, images), [])

    def remove(self, ids: Collection[str]) -> dict[str, int]:
        """Remove listings by their posting ids; returns counts as `add`.

        Raises:
            MatcherError: An id is not in the index, or no listing would be left; nothing has changed then.
        """
        return self._change(None, list(dict.fromkeys(ids)))

    def rebuild(self) -> dict[str, int]:
        """Match all listings at once, exactly as a matcher would; embeddings of encoders are kept."""
        with self.snapshots.locked():
            self._read()
            self._check_there()
            planned = plan(self._state.catalog, None, [])
            self._write(rebuilt(self.matcher, self._embedders, self._state, planned), "rebuild")
        return planned.counts

    def query(self, listings: Listings, images: str | Path | None = None, most: int = 5) -> list[list[Hit]]:
        """Return which listings sell the product of each of some others, as if that one alone were added.

        Args:
            listings: A catalog or a frame, as for `add`; of their ids nothing is made.
            images: As for `add`.
            most: Of listings that do not match, only so many of the best are returned; all that match are.

        Returns:
            Of each listing those that match first, the best first.
        """
        self._check_there()
        asked = self._catalog(listings, images)
        return [hits(self._asked_about(asked.take(np.array([row]))), NAMELESS, most) for row in range(len(asked))]

    def load(self) -> None:
        """Load all that the first query would."""
        self._embedders.load()

    def save(self, out: Path) -> None:
        """Write the matches of all listings, the splits and merges there ever were, and a submission into a folder."""
        with updated_folder(out) as folder:
            self._state.result().save(folder)
            pq.write_table(self._state.groups(), folder / "groups.parquet")
            write_changes(folder / CHANGES, self._state.changes)

    def _asked_about(self, listing: Catalog) -> State:
        """What the index would hold with one more listing, which has no id."""
        nameless = listing.with_columns({"posting_id": [NAMELESS]})
        planned = plan(self._state.catalog, nameless, [])
        return updated(self.matcher, self._embedders, self._state, self._words, planned, locally=True)

    def _change(self, given: Catalog | None, removed: list[str]) -> dict[str, int]:
        wanted = digest([given.table.to_pydict() if given else None, sorted(removed)])
        with self.snapshots.locked():
            self._read()
            if given is None:
                self._check_there()
            if self._number and self._wanted == wanted:  # by a command that was killed once all was written
                return plan(self._state.catalog, None, []).counts
            planned = plan(self._state.catalog, given, removed)
            if removed or len(planned.added):
                self._write(self._changed(planned), wanted)
        return planned.counts

    def _changed(self, planned: Plan) -> State:
        if not len(self._state):
            return rebuilt(self.matcher, self._embedders, self._state, planned)
        return updated(self.matcher, self._embedders, self._state, self._words, planned)

    def _write(self, state: State, wanted: str) -> None:
        """Make a state the present one, its groups named."""
        state = renamed(self._state, state, self._number + 1)
        self.snapshots.write(self._number, {"matcher": self.made_with, "asked": wanted}, state.save)
        self._hold(state, self._number + 1, wanted)

    def _read(self) -> None:
        """Read what the folder holds, unless it is held already."""
        present = self.snapshots.current()
        if present is None or present.number == self._number:
            return
        if present.about["matcher"] != self.made_with:
            raise MatcherError(
                f"{self.snapshots.folder} was made with another bundle or run, or other settings: its embeddings and "
                "groups are not comparable; use what it was made with, or make a new index of all listings"
            )
        self._hold(State.load(present.folder), present.number, present.about["asked"])

    def _hold(self, state: State, number: int = 0, wanted: str = "") -> None:
        self._state, self._number, self._wanted = state, number, wanted
        self._words = Words.of(state.catalog.normalized_titles)
        self._embedders = Embedders(self.matcher, state.catalog)

    def _check_there(self) -> None:
        if not self._number:
            raise MatcherError(f"there is no index {self.snapshots.folder}; adding listings makes one")

    def _catalog(self, listings: Listings, images: str | Path | None) -> Catalog:
        if isinstance(listings, Catalog):
            return listings
        return self.matcher.read(listings, images)
