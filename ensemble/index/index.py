"""An index: a folder with a catalog that grows, matched anew where it changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ensemble.answers.answers import Answers
from ensemble.answers.file import answers_of
from ensemble.index.embeddings import Embedders
from ensemble.index.listings import texts_of
from ensemble.index.plan import Plan, judged, plan
from ensemble.index.query import Hit, hits
from ensemble.index.snapshots import Snapshot, Snapshots
from ensemble.index.state import State, write_changes
from ensemble.index.update import rebuilt, renamed, updated
from ensemble.matcher import Matcher
from ensemble.pool_views import Words
from ensemble.written_matches import CHANGES, new_matches
from shared.artifacts import digest
from shared.errors import MatcherError
from shared.schema import Catalog

Listings = pd.DataFrame | Catalog
AnswerSource = Answers | str | Path | None  # answers, the file with them, or none
NAMELESS = ""  # the id of the listing in a query; no listing of a catalog has an empty id


class Index:
    """A catalog that grows, with its groups.

        index = Index.open("my-index", Matcher.load("bundle"))
        index.add(listings, images="photos")
        index.query(listing, images="photos")

    It is made by `open`, and holds in memory what it read from the folder until the folder changes. A folder that was
    removed is an empty index.

    Args:
        snapshots: The folder.
        matcher: Matches its listings.
        made_with: Digest of the matcher that the index is made with.
    """

    def __init__(self, snapshots: Snapshots, matcher: Matcher, made_with: str) -> None:
        self.snapshots, self.matcher, self.made_with = snapshots, matcher, made_with
        self._hold(State(), None)

    @classmethod
    def open(cls, path: str | Path, matcher: Matcher, *, made_with: str | None = None) -> Self:
        """Return the index in a folder. The first call of `add` makes the folder.

        Args:
            path: The folder.
            matcher: Matches its listings.
            made_with: Digest of the matcher that the index was made with, where `matcher` is the same but for how many
                listings it embeds at a time.

        Raises:
            MatcherError: The index was made with another matcher, or the folder holds something else.
            ArtifactError: The index is damaged.
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

    def add(self, listings: Listings, images: str | Path | None = None, answers: AnswerSource = None) -> dict[str, int]:
        """Add listings; a listing replaces the one in the index that has its id.

        Args:
            listings: A catalog, or a frame as `Matcher.match` takes it.
            images: Folder with the files that the column `image` of a frame names; None: do without images.
            answers: People's answers about pairs of listings, or the file with them. The index takes them over and
                keeps to them from then on.

        Returns:
            How many listings were added, updated, removed and left as they were.

        Raises:
            MatcherError: The frame has faults, or a listing would lose its image; nothing has changed then.
        """
        return self._change(self._catalog(listings, images), [], answers)

    def remove(self, ids: Iterable[Any] | str | int, answers: AnswerSource = None) -> dict[str, int]:
        """Remove listings by their posting ids and return counts as `add` does; `answers` as for `add`.

        An index holds ids as text, so 12 and "12" are one id.

        Args:
            ids: Any number of ids, as text or as they were in the frame that was added; or one id alone.
            answers: As for `add`.

        Raises:
            MatcherError: An id is not in the index, or no listing would be left; nothing has changed then.
        """
        return self._change(None, texts_of(ids), answers)

    def rebuild(self, answers: AnswerSource = None) -> dict[str, int]:
        """Match all listings at once, exactly as a matcher would; embeddings by trained encoders are kept.

        Args:
            answers: As for `add`.

        Returns:
            Counts as of `add`, with all listings left as they were.

        Raises:
            MatcherError: There is no index yet.
        """
        with self.snapshots.locked():
            self._read()
            self._check_there()
            planned, known = plan(self._state.originals, None, []), self._joined(answers)
            self._write(rebuilt(self.matcher, self._embedders, self._state, self._judged(planned), known), "rebuild")
        return planned.counts

    def query(self, listings: Listings, images: str | Path | None = None, most: int = 5) -> list[list[Hit]]:
        """Return which listings of the index sell the same product as each of some others, which are not added.

        Args:
            listings: A catalog or a frame, as for `add`; their ids are not used.
            images: As for `add`.
            most: Number of listings that do not match to return at most, the best first; all matches are returned.

        Returns:
            For each listing a list of hits: those that match, then the others, each part with the best first.
        """
        self._read()
        self._check_there()
        catalog = self._catalog(listings, images)
        return [hits(self._with_query(catalog.take(np.array([row]))), NAMELESS, most) for row in range(len(catalog))]

    def load(self) -> None:
        """Load all models now, which otherwise happens at the first query."""
        self._embedders.load()

    def save(self, out: Path) -> None:
        """Write the matches of all listings, all splits and merges so far, and a submission into a folder."""
        with new_matches(out) as folder:
            self._state.result().save(folder)
            pq.write_table(self._state.groups(), folder / "groups.parquet")
            write_changes(folder / CHANGES, self._state.changes)

    def _with_query(self, listing: Catalog) -> State:
        """Return what the index would hold with one more listing, which has no id."""
        nameless = listing.with_columns({"posting_id": [NAMELESS]})
        planned = plan(self._state.originals, nameless, [])
        planned = self._judged(planned, query=True)
        return updated(self.matcher, self._embedders, self._state, self._words, planned, locally=True)

    def _change(self, listings: Catalog | None, removed: list[str], source: AnswerSource) -> dict[str, int]:
        answers = answers_of(source)
        events = [] if answers is None else [str(event) for event in answers.events]
        request = digest([listings.table.to_pydict() if listings else None, sorted(removed), *events])
        with self.snapshots.locked():
            self._read()
            if listings is None:
                self._check_there()
            asked = self._snapshot and self._snapshot.about["asked"]
            if asked == request:  # a command was killed after it had written all of this
                return plan(self._state.originals, None, []).counts
            planned = plan(self._state.originals, listings, removed)
            joined = self._joined(answers)
            if removed or len(planned.added) or joined.events != self._state.answers.events:
                self._write(self._changed(self._judged(planned), joined), request)
        return planned.counts

    def _judged(self, planned: Plan, *, query: bool = False) -> Plan:
        return judged(planned, self._state.originals, self._state.catalog, query=query)

    def _joined(self, answers: AnswerSource) -> Answers:
        """Return the answers that the index holds, and others that it does not hold yet."""
        more = answers_of(answers)
        return self._state.answers if more is None else self._state.answers.joined(more)

    def _changed(self, planned: Plan, answers: Answers) -> State:
        if not len(self._state):
            return rebuilt(self.matcher, self._embedders, self._state, planned, answers)
        return updated(self.matcher, self._embedders, self._state, self._words, planned, answers)

    def _write(self, state: State, request: str) -> None:
        """Make a state the present one, with ids for its groups."""
        number = self._snapshot.number if self._snapshot else 0
        state = renamed(self._state, state, number + 1)
        self._hold(state, self.snapshots.write(number, {"matcher": self.made_with, "asked": request}, state.save))

    def _read(self) -> None:
        """Read the folder, unless it has not changed since it was read."""
        if self._snapshot and self.snapshots.is_current(self._snapshot):
            return
        present = self.snapshots.read(self._loaded)
        if present is not None:
            self._hold(*present)
        elif self._snapshot:  # the folder was removed
            self._hold(State(), None)

    def _loaded(self, snapshot: Snapshot) -> tuple[State, Snapshot]:
        if snapshot.about["matcher"] != self.made_with:
            raise MatcherError(
                f"{self.snapshots.folder} was made with another bundle or run, or other settings: its embeddings and "
                "groups are not comparable; use what it was made with, or make a new index of all listings"
            )
        return State.load(snapshot.folder), snapshot

    def _hold(self, state: State, snapshot: Snapshot | None) -> None:
        self._state, self._snapshot = state, snapshot
        self._words = Words.of(state.catalog.normalized_titles)
        self._embedders = Embedders(self.matcher, state.catalog)

    def _check_there(self) -> None:
        if not self._snapshot:
            raise MatcherError(f"there is no index at {self.snapshots.folder}; add listings to make one")

    def _catalog(self, listings: Listings, images: str | Path | None) -> Catalog:
        if isinstance(listings, Catalog):
            return listings
        return self.matcher.read(listings, images)
