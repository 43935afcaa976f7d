"""Why pairs have their scores, from the files of described pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.explain.contributions import Contributions, contributions
from ensemble.features.files import file_name, write_blocks
from ensemble.report import reasons
from ensemble.report.reasons import explainer, reasons_of
from shared.schema import PairFeatures
from tests.support.described_pairs import described_pairs, scorer_of


def write(pairs: PairFeatures, folder: Path, borders: Sequence[int]) -> None:
    """Write described pairs into files that end at some borders, each in blocks of 70 pairs."""
    numbers = np.arange(len(pairs))
    for number, (start, stop) in enumerate(zip([0, *borders], [*borders, len(pairs)], strict=True)):
        blocks = [(at, min(at + 70, stop)) for at in range(start, stop, 70)]
        parts = [pairs.only((numbers >= at) & (numbers < end)) for at, end in blocks]
        write_blocks(parts, folder / file_name(number))


@pytest.mark.parametrize("models", [1, 2])
def test_reasons_from_files_are_those_of_all_pairs_in_memory(
    models: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = described_pairs(300, share=0.01)
    scorer = scorer_of(pairs, models)
    write(pairs, tmp_path, [140, 333])
    used = list[int]()

    def counted(scorer: Any, described: PairFeatures, *rest: Any) -> Contributions:
        used.append(len(described))
        return contributions(scorer, described, *rest)

    monkeypatch.setattr(reasons, "contributions", counted)
    rows = np.array([401, 3, 150])
    added = contributions(scorer, pairs, rows, threads=1)
    shown = [(int(pairs.left[row]), int(pairs.right[row])) for row in rows]
    absent = next((0, other) for other in range(1, 300) if not ((pairs.left == 0) & (pairs.right == other)).any())
    made = explainer(scorer, tmp_path, np, threads=1)([*shown[:2], absent, shown[2][::-1]])
    assert made == [reasons_of(added, 0), reasons_of(added, 1), None, reasons_of(added, 2)]
    assert 3 < used[0] < len(pairs) / 2


def test_pairs_that_were_never_scored_have_no_reasons(tmp_path: Path) -> None:
    pairs = described_pairs(20)
    write(pairs, tmp_path, [])
    explain = explainer(scorer_of(pairs, 1), tmp_path, np, threads=1)
    assert (explain([]), explain([(4, 4)])) == ([], [None])
