"""What a run says about its decision."""

import re
from pathlib import Path
from typing import Any

import pytest

from ensemble.evaluation.summary import summary
from shared.pipeline.run import RunFolder

METRICS = dict.fromkeys(("row_f1", "row_precision", "row_recall", "pair_recall", "pair_f1", "b3_f1"), 0.5)
CALIBRATION = {"ece": 0.0061, "pairs": 49_000, "open_ece": 0.0961, "open_pairs": 3_034}


def metrics(
    threshold: float, pool_size: int, prior_shift: float = 0.0, singles_shift: float = 0.0, raised: bool = False
) -> dict[str, Any]:
    decided = {
        "rule": "min2",
        "threshold": threshold,
        "pool_size": pool_size,
        "prior_shift": prior_shift,
        "singles_shift": singles_shift,
        "forbid": ["size"],
    }
    return {
        "holdout": METRICS | {"pool_size": 215, "missed_scored_wrong": 0.1, "missed_never_proposed": 0.2},
        "branches": {"tfidf": METRICS},
        "decision": decided | {"holdout_threshold": 0.321, "holdout_threshold_raised": raised},
        "out_of_fold": {"row_f1": 0.93, "threshold": 0.405, "pool_sizes": [400, 400], "siblings": None, **CALIBRATION},
        "total": {"seconds": 1.0, "peak_memory_mb": 1024},
    }


@pytest.mark.parametrize(
    ("decided", "line"),
    [
        ((0.405, 400), "Decision: min2 at 0.405; row F1 0.930 out of fold."),
        (
            (0.61, 70_000),
            "Decision: min2 at 0.610, corrected from 0.405 for a pool of 70,000 listings; row F1 0.930 out of fold "
            "before the correction.",
        ),
        (
            (0.405, 400, 0.5, 1.0),
            "Decision: min2 at 0.405 for pools of 400 listings, corrected to 0.321 for the holdout's size and share of "
            "listings with a match; row F1 0.930 out of fold.",
        ),
        (
            (0.405, 400, 0.5),
            "Decision: min2 at 0.405 for pools of 400 listings, corrected to 0.321 for the holdout's size; row F1 "
            "0.930 out of fold.",
        ),
        (
            (0.405, 400, 0.0, 0.0, True),
            "Decision: min2 at 0.405 for pools of 400 listings, corrected to 0.321 because the holdout is unlike the "
            "training (tune.guard); row F1 0.930 out of fold.",
        ),
        (
            (0.405, 400, 0.5, 0.0, True),
            "Decision: min2 at 0.405 for pools of 400 listings, corrected to 0.321 for the holdout's size and because "
            "the holdout is unlike the training (tune.guard); row F1 0.930 out of fold.",
        ),
        (
            (0.61, 70_000, 0.0, 1.0),
            "Decision: min2 at 0.610, corrected from 0.405 for a pool of 70,000 listings, then to 0.321 for the "
            "holdout's share of listings with a match; row F1 0.930 out of fold before the correction.",
        ),
    ],
)
def test_summary_of_decision(decided: tuple[Any, ...], line: str, tmp_path: Path) -> None:
    text = summary(RunFolder(tmp_path), metrics(*decided))
    assert re.findall("Decision: .*", text) == [line]
    assert "0.006 over all 49,000 candidate pairs, 0.096 over the 3,034 that score .05–.95" in text


def test_summary_of_thresholds_of_several_catalogs(tmp_path: Path) -> None:
    whole = metrics(0.405, 400, 0.5)
    shop, portal = ({"holdout_threshold": at, "holdout_threshold_raised": at > 0.5} for at in (0.3, 0.7))
    whole["by_source"] = {
        "shop": shop | {"holdout": whole["holdout"]},
        "portal": portal | {"holdout": whole["holdout"]},
    }
    assert (
        "corrected to 0.300 (shop), 0.700 (portal) for the holdout's size and because the holdout (portal) is unlike "
        "the training (tune.guard); "
    ) in summary(RunFolder(tmp_path), whole)


def test_summary_without_open_pairs(tmp_path: Path) -> None:
    known = metrics(0.4, 400)
    known["out_of_fold"] |= {"open_ece": None, "open_pairs": 0}
    assert "calibration" not in summary(RunFolder(tmp_path), known)


def test_summary_of_siblings(tmp_path: Path) -> None:
    seen = metrics(0.4, 400)
    assert "Siblings" not in summary(RunFolder(tmp_path), seen)
    seen["out_of_fold"]["siblings"] = {"quantity": 0, "size": 12, "model": 2, "color": 0}
    assert (
        "  Siblings: the training labels hold no siblings that differ in quantity or color, few in model number (2), "
        "12 in size; titles that contradict each other in size never match.\n"
    ) in summary(RunFolder(tmp_path), seen)
