"""What people answered about the listings of an index, before and after a change."""

from __future__ import annotations

import numpy as np

from ensemble.answers.answers import Answers
from ensemble.decision.pins import Pins
from ensemble.index.plan import Plan
from ensemble.index.state import State
from shared.schema import Catalog, Flags


def pins_on(planned: Plan, answers: Answers) -> Pins:
    """Return the pairs of the listings that an index is to hold whose match people decided."""
    return answers.on(planned.catalog, planned.originals).pins


def newly_pinned(state: State, planned: Plan, pins: Pins) -> Flags:
    """Return the listings of pairs about which other answers hold than before, bool [n].

    Args:
        state: What the index held.
        planned: The n listings that it is to hold.
        pins: Their pairs whose match people decided.
    """
    before, after = _names(state.catalog, state.pool_answers.pins), _names(planned.catalog, pins)
    concerned = {posting_id for *pair, _ in before ^ after for posting_id in pair}
    return np.array([posting_id in concerned for posting_id in planned.catalog.ids.tolist()], dtype=np.bool_)


def _names(catalog: Catalog, pins: Pins) -> set[tuple[str, str, bool]]:
    """Return the pairs by posting ids, each with whether it must match."""
    ids = catalog.ids
    kinds = ((pins.must, True), (pins.never, False))
    return {(ids[one], ids[other], must) for pairs, must in kinds for one, other in pairs.tolist()}
