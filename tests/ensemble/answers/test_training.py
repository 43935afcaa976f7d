"""A scorer that is fitted again learns the pairs that people answered and labels do not decide."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.answers.answers import Answers
from ensemble.answers.training import load_answered, undecided
from ensemble.config import ScorerConfig
from ensemble.scorer.training import LabeledPool, TrainingPairs, train_scorer
from shared.compute import ComputeConfig
from shared.schema import CandidatePairs, PairFeatures
from tests.support.answers import answer
from tests.support.catalogs import titled


@pytest.mark.fault(37)
def test_learned_pairs_are_those_that_labels_do_not_decide() -> None:
    catalog = titled(list("abcdefgh"), list("abcdefgh"), label_group=["1", "2", None, None, None, None, None, None])
    said = [("a", "b", "yes"), ("b", "c", "yes"), ("c", "d", "unsure"), ("d", "e", "no")]
    said += [("f", "g", "yes"), ("g", "h", "yes"), ("f", "h", "no")]  # contradict each other
    answers = Answers(tuple(answer(a, b, verdict, catalog=catalog) for a, b, verdict in said)).on(catalog)  # type: ignore[arg-type]
    kept = undecided(answers, catalog.labels)
    assert [each.pair for each, keep in zip(answers.answers, kept, strict=True) if keep] == [("b", "c"), ("d", "e")]


def test_answered_pairs_are_found_among_the_candidates(tmp_path: Path) -> None:
    table = {"left": [0, 1, 2], "right": [3, 2, 3], "match": [True, False, True]}
    schema = pa.schema([("left", pa.int32()), ("right", pa.int32()), ("match", pa.bool_())])
    pq.write_table(pa.table(table, schema=schema), tmp_path / "answered.parquet")
    pairs = CandidatePairs(4, np.array([0, 1, 2], np.int32), np.array([1, 2, 3], np.int32))
    match, counted = load_answered(tmp_path, pairs)
    assert match.tolist() == [False, False, True]
    assert counted.tolist() == [False, True, True]


def pool(seed: int, fold: int, n: int = 60) -> tuple[PairFeatures, np.ndarray]:
    """All pairs of n listings in products of three; one feature tells them apart, but for some noise."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) // 3
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    signal = (codes[left] == codes[right]) * 0.5 + rng.random(len(left)) * 0.6
    features = pd.DataFrame({"title_cosine": signal.astype(np.float32), "other": rng.random(len(left), np.float32)})
    return PairFeatures(n, left, right, features), codes


@pytest.fixture
def pools() -> list[LabeledPool]:
    return [LabeledPool(*pool(fold, fold), fold) for fold in range(2)]


CONFIG, COMPUTE = (
    ScorerConfig(rounds=60, learning_rate=0.2, min_pairs_in_leaf=5),
    ComputeConfig(threads=1, device="cpu"),
)


def test_pairs_without_an_answer_teach_nothing(pools: list[LabeledPool]) -> None:
    pairs, codes = pool(7, 1)
    nobody, shape = np.full(len(codes), -1), len(pairs)
    none = LabeledPool(pairs, nobody, 1, match=np.ones(shape, bool), counted=np.zeros(shape, bool))
    plain, scored, _ = train_scorer(pools, CONFIG, COMPUTE)
    with_none, scored_with_none, _ = train_scorer([*pools, none], CONFIG, COMPUTE)
    for one, other in zip(scored, scored_with_none, strict=False):
        np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(plain.first.score(pairs, 1).score, with_none.first.score(pairs, 1).score)


@pytest.mark.fault(37)
def test_answers_teach(pools: list[LabeledPool]) -> None:
    pairs, codes = pool(7, 1)
    turned = pairs.features.assign(title_cosine=1.1 - pairs.features["title_cosine"], other=np.float32(5))
    strange = PairFeatures(pairs.n, pairs.left, pairs.right, turned.astype(np.float32))
    match = codes[pairs.left] == codes[pairs.right]
    counted = match | (np.random.default_rng(0).random(len(match)) < 0.5)
    answered = LabeledPool(strange, np.full(len(codes), -1), 1, match=match, counted=counted)
    learned = TrainingPairs.of_pools([*pools, answered], 0.4)
    assert learned.weight[learned.learned].mean() == pytest.approx(1, abs=1e-4)
    assert not learned.weight[~learned.learned].any()
    plain = train_scorer(pools, CONFIG, COMPUTE)[0].first.score(strange, 1).score
    taught = train_scorer([*pools, answered], CONFIG, COMPUTE)[0].first.score(strange, 1).score
    assert taught[match].mean() > 5 * plain[match].mean()
