"""Answers as labels of pairs, for a scorer that is fitted again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.answers.answers import PoolAnswers
from ensemble.answers.file import answers_digest, read_answers
from shared.pipeline.pools import Pool, load_catalog
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import CandidatePairs, Flags, locate, pair_key


def answered_name(pool: str) -> str:
    """Return the name of the stage with the answered pairs of a pool.

    Examples:
        >>> answered_name("catalog")
        'ensemble/answered/catalog'
    """
    return f"ensemble/answered/{pool}"


def answered_stage(pool: Pool, catalog: str, answers: Path) -> Stage:
    """Return the stage with the pairs of a catalog that people answered and labels do not decide.

    Args:
        pool: The pool of the catalog.
        catalog: Name of the stage with the catalog as it was read, with its labels.
        answers: The file of answers.
    """
    return Stage(
        answered_name(pool.name),
        take_answers,
        code=("ensemble.answers.training",),
        reads=(pool.stage, catalog),
        parameters={"pool": pool.stage, "catalog": catalog, "answers": str(answers)},
        sources=partial(answers_digest, answers),
    )


def take_answers(
    inputs: Inputs, config: StageConfig, out: Path, pool: str, catalog: str, answers: str
) -> Mapping[str, Any]:
    """Write the answered pairs of a pool to train on."""
    read = load_catalog(inputs[catalog])
    holding = read_answers(Path(answers)).on(load_catalog(inputs[pool]), read)
    kept = undecided(holding, read.labels)
    columns = {"left": holding.left[kept], "right": holding.right[kept], "match": holding.verdict[kept] == "yes"}
    pq.write_table(pa.table(columns), out / "answered.parquet")
    return {"pairs": int(kept.sum())} | holding.metrics


def undecided(answers: PoolAnswers, labels: NDArray[Any]) -> Flags:
    """Return which answered pairs are to be learned: yes or no, not both listings labeled, not contradicted; bool [k].

    Args:
        answers: About n listings.
        labels: Their labels, str or None [n].
    """
    has_label = np.array([label is not None for label in labels.tolist()], dtype=np.bool_)
    contradicted = {answer for each in answers.contradictions() for answer in (each.no, *each.yes)}
    sound = np.array([answer not in contradicted for answer in answers.answers], dtype=np.bool_)
    kept: Flags = (answers.verdict != "unsure") & ~(has_label[answers.left] & has_label[answers.right]) & sound
    return kept


def load_answered(folder: Path, pairs: CandidatePairs) -> tuple[Flags, Flags]:
    """Return whether each pair of a pool is a match by answers, and whether it has one; bool [p] each.

    Answered pairs that are no candidates have no features to learn from.

    Args:
        folder: Of the stage.
        pairs: The candidate pairs of the pool.
    """
    table = pq.read_table(folder / "answered.parquet")
    left, right, match = (table.column(name).to_numpy() for name in ("left", "right", "match"))
    position, is_candidate = locate(pair_key(left, right, pairs.n), pairs.key)
    matches, counted = (np.zeros(len(pairs), dtype=np.bool_) for _ in range(2))
    counted[position[is_candidate]] = True
    matches[position[is_candidate]] = match[is_candidate]
    return matches, counted
