"""Whether stated attributes forbid a match is tuned, and siblings among the training listings are counted."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ensemble.config import Kind, TuneConfig
from ensemble.decision.curves import ScoredPool
from ensemble.decision.decision import Decision
from ensemble.decision.objective import Objective
from ensemble.decision.siblings import choose_forbidden, count_siblings, describe_siblings
from ensemble.decision.tuning import summarize, tune
from ensemble.features.attributes import attribute_features
from ensemble.features.conflicts import KINDS, conflict_mask, in_conflict
from ensemble.pool_views import PoolViews
from shared.metrics.matching import row_f1
from shared.schema import CandidatePairs, Catalog, PairFeatures, ScoredPairs

BIT: dict[Kind, int] = {kind: 1 << index for index, kind in enumerate(KINDS)}


def pairs_apart(*groups: tuple[int, bool, int], score: float = 0.9) -> ScoredPool:
    """Pairs of listings that are in no other pair: so many of each group, true or false, with this conflict."""
    conflict = np.concatenate([np.full(count, bits, dtype=np.uint8) for count, _, bits in groups])
    same = np.concatenate([np.full(count, match, dtype=bool) for count, match, _ in groups])
    rows = np.arange(2 * len(same), dtype=np.int32)
    codes = np.where((rows % 2 == 1) & ~same[rows // 2], rows + len(rows), rows // 2)
    score_of_pair = np.full(len(same), score, dtype=np.float32)
    return ScoredPairs(len(rows), rows[::2], rows[1::2], score_of_pair, conflict), codes


def chosen(*pools: ScoredPool, objective: str = "row_f1") -> tuple[Kind, ...]:
    decision = Decision("threshold", 0.5)
    return choose_forbidden(pools, decision, Objective.parse(objective), 200, seed=0)[0].forbid


@pytest.mark.parametrize("kind", KINDS)
def test_kind_that_parts_siblings_forbids(kind: Kind) -> None:
    assert chosen(pairs_apart((50, True, 0), (20, False, BIT[kind]))) == (kind,)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_that_parts_true_pairs_does_not_forbid(kind: Kind) -> None:
    assert chosen(pairs_apart((50, True, 0), (20, True, BIT[kind]))) == ()


def test_kinds_are_judged_alone() -> None:
    pool = pairs_apart((50, True, 0), (20, True, BIT["size"]), (15, False, BIT["quantity"]), (15, False, BIT["color"]))
    assert chosen(pool) == ("quantity", "color")
    assert chosen(pairs_apart((40, False, BIT["size"] | BIT["model"]))) == ("size", "model")


@pytest.mark.parametrize(("siblings_matched", "forbid"), [(9, ()), (10, ("color",))])
def test_few_lost_matches_say_nothing(siblings_matched: int, forbid: tuple[Kind, ...]) -> None:
    assert chosen(pairs_apart((50, True, 0), (siblings_matched, False, BIT["color"]))) == forbid


def test_conflicts_below_the_threshold_say_nothing() -> None:
    assert chosen(pairs_apart((50, False, BIT["color"]), score=0.4)) == ()


def test_fall_within_its_error_is_accepted() -> None:
    level = pairs_apart((500, True, 0), (50, True, BIT["size"]), (49, False, BIT["size"]))
    assert chosen(level) == ("size",)
    decision, trials = choose_forbidden([level], Decision("threshold", 0.5), Objective(), 500, seed=0)
    trial = trials[KINDS.index("size")]
    assert decision.forbid == ("size",)
    assert (trial.lost_true, trial.lost_false) == (50, 49)
    assert -trial.error <= trial.difference < 0
    # The row F1 of each of 1,198 listings changes by 1/3; both listings of a true pair are drawn together.
    assert trial.error == pytest.approx(np.sqrt(50 * (2 / 3) ** 2 + 98 * (1 / 3) ** 2) / 1198, rel=0.1)


def test_kinds_whose_falls_add_up_are_not_all_chosen() -> None:
    groups = [pair for kind in KINDS for pair in ((56, True, BIT[kind]), (49, False, BIT[kind]))]
    pool = pairs_apart((500, True, 0), *groups)
    _, trials = choose_forbidden([pool], Decision("threshold", 0.5), Objective(), 500, seed=0)
    assert all(-trial.error <= trial.difference < 0 for trial in trials)
    assert 0 < sum(trial.forbids for trial in trials) < len(KINDS)


def test_minimum_precision_stays_reached() -> None:
    """Forbidding loses true matches alone in the first pool; the precision falls below the minimum."""
    objective = "precision>=0.9"
    pool = pairs_apart((90, True, BIT["model"]), (10, False, 0))
    assert chosen(pool, objective=objective) == ()
    assert chosen(pairs_apart((90, True, 0), (10, False, BIT["model"])), objective=objective) == ("model",)


def test_pairs_that_were_not_compared_forbid_nothing() -> None:
    pairs, codes = pairs_apart((50, True, 0), (20, False, 1))
    bare = replace(pairs, conflict=None), codes
    assert choose_forbidden([bare], Decision("threshold", 0.5), Objective(), 10, 0) == (Decision("threshold", 0.5), [])
    assert count_siblings([bare], [np.full(len(codes), "tea", dtype=object)]) is None


@pytest.mark.parametrize(
    ("forbid", "expected"),
    [("auto", ("quantity",)), ("none", ()), ("size", ("size",)), ("color,size", ("size", "color"))],
)
def test_tune_follows_the_setting(forbid: str, expected: tuple[Kind, ...]) -> None:
    pool = pairs_apart((50, True, 0), (20, False, BIT["quantity"]))
    config = TuneConfig(rules=["threshold"], resamples=50, forbid=[forbid] if forbid == "auto" else forbid)
    tuned = tune([pool], config)
    assert tuned.decision.forbid == expected
    assert [trial["kind"] for trial in tuned.to_json()["forbid"]] == (list(KINDS) if forbid == "auto" else [])
    assert summarize(tuned, config).get("forbidden by") == (", ".join(expected) or None)
    matches = tuned.decision.apply(pool[0])
    assert not np.isin(matches.listing, pool[0].left[in_conflict(pool[0].conflict, expected)]).any()


def test_metrics_out_of_fold_are_those_of_the_final_decision() -> None:
    whole, thinned = pairs_apart((50, True, 0), (20, False, BIT["quantity"])), pairs_apart((30, False, BIT["quantity"]))
    config = TuneConfig(rules=["threshold"], resamples=50, prior_shift=0, singles_shift=0.0)
    tuned = tune([whole], config, thinned=[[thinned]])
    assert tuned.decision.forbid == ("quantity",)
    assert tuned.chosen.row_f1 < 1  # of the rule before
    for value, (pairs, codes) in ((tuned.row_f1, whole), (tuned.thinned_row_f1, thinned)):
        assert value == pytest.approx(row_f1(tuned.decision.apply(pairs), codes)) == 1
    low, high = tuned.choice.interval
    assert 0.9 < low < high == 1  # nine products without a mistake say little, ninety more
    assert summarize(tuned, config)["row F1 out of fold"] == f"1.000 (90% interval {low:.3f}–1.000)"


@pytest.mark.parametrize("forbid", ["colour", "auto,size", "none,size", "size,size"])
def test_setting_is_checked(forbid: str) -> None:
    with pytest.raises(ValidationError):
        TuneConfig(forbid=forbid)


def test_decision_refuses_unknown_kind() -> None:
    with pytest.raises(ValueError, match="no kind of attribute 'weight'; there are: quantity, size, model, color"):
        Decision("threshold", 0.5, forbid=("weight",))


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("Sabun Cair Lux 250 ml", "Sabun Cair Lux 1/2 L", "quantity"),
        ("Susu Ultra 1.500 ml", "Susu Ultra 1,25 L", "quantity"),
        ("Cola 6x330ml", "Cola 12 x 330 ml", "quantity"),
        ("Masker isi 10", "Masker isi 50", "quantity"),
        ("洗发水500ml装", "洗发水750ml装", "quantity"),
        ('TV Samsung 43"', "TV Samsung 55 inch", "quantity"),
        ("Kaos Polos L", "Kaos Polos XXL", "size"),
        ("Case Samsung SM-G950F", "Case Samsung SM-A505F", "model"),
        ("Kaos Polos Hitam", "Kaos Polos Putih", "color"),
    ],
)
def test_titles_of_siblings_are_parted(one: str, other: str, kind: Kind, make_catalog: Callable[..., Catalog]) -> None:
    """From titles to matches: siblings that score like true pairs match unless their kind forbids it."""
    rows = np.array([0], np.int32), np.array([1], np.int32)
    table = pd.DataFrame(
        attribute_features(PoolViews(make_catalog([one, other]), {}), CandidatePairs(2, *rows))(slice(None))
    )
    mask = conflict_mask(PairFeatures(2, *rows, table))
    pairs = ScoredPairs(2, *rows, np.array([0.97], np.float32), mask)
    for forbid in [(), *((other_kind,) for other_kind in KINDS)]:
        matches = Decision("average_link", 0.5, forbid=forbid).apply(pairs)
        assert (len(matches) == 0) == (forbid == (kind,))


# --- what was seen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "bits", "same", "count"),
    [
        ("sabun cair 500ml", "sabun cair 250ml", BIT["quantity"], False, {"quantity": 1}),
        ("sabun cair 500ml", "sabun cair 250ml", BIT["quantity"], True, {}),  # one product
        ("sabun cair 500ml", "sabun cair 250ml", 0, False, {}),  # nobody says that they are in conflict
        ("kaos polos xl hitam", "kaos polos xxl putih", BIT["size"] | BIT["color"], False, {"size": 1, "color": 1}),
        ("case sm g950 merah", "case sm a505 merah", BIT["model"], False, {"model": 1}),
        ("sabun cair wangi 500ml", "minyak goreng murah 250ml", BIT["quantity"], False, {}),  # not alike
        ("tas a b c d merah", "tas a b c d e biru", BIT["color"], False, {"color": 1}),  # 5 of 6 words
        ("tas a b c merah", "tas a b c d e biru", BIT["color"], False, {}),
        ("500ml", "250ml", BIT["quantity"], False, {}),  # no words to be alike in
    ],
)
def test_count_siblings(one: str, other: str, bits: int, same: bool, count: dict[Kind, int]) -> None:
    pool = pairs_apart((1, same, bits))
    assert count_siblings([pool], [np.array([one, other], dtype=object)]) == dict.fromkeys(KINDS, 0) | count


def test_siblings_are_counted_over_pools_and_among_labeled_listings() -> None:
    pool = pairs_apart((2, False, BIT["color"]))
    titles = np.array(["red mug", "blue mug"] * 2, dtype=object)
    assert count_siblings([pool, pool], [titles, titles]) == dict.fromkeys(KINDS, 0) | {"color": 4}
    unlabeled = pool[0], np.array([-1, 0, 1, 2])
    assert count_siblings([unlabeled], [titles]) == dict.fromkeys(KINDS, 0) | {"color": 1}


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((0, 0, 0, 0), "hold no siblings that differ in quantity, size, model number or color"),
        ((1, 9, 2, 3), "hold few siblings that differ in quantity (1), size (9), model number (2) and color (3)"),
        (
            (0, 10, 1, 2000),
            "hold no siblings that differ in quantity, few in model number (1), 10 in size, 2,000 in color",
        ),
        ((10, 10, 10, 10), "hold 10 siblings that differ in quantity, 10 in size, 10 in model number, 10 in color"),
    ],
)
def test_describe_siblings(counts: tuple[int, ...], text: str) -> None:
    assert describe_siblings(dict(zip(KINDS, counts, strict=True))) == f"the training labels {text}"
