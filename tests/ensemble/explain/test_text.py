import re
from dataclasses import replace

import pytest

from ensemble.explain.explained_pool import ExplainedPool
from ensemble.explain.pair import PairExplanation, explain_pair
from ensemble.explain.text import explanation_text


def explained(pool: ExplainedPool, left: str = "Tea 500 ml red", right: str = "tea 1 L blue") -> PairExplanation:
    """The first candidate pair of a pool, with other titles."""
    pairs = pool.result.scored_pairs
    return replace(explain_pair(pool, int(pairs.left[0]), int(pairs.right[0])), titles=(left, right))


def test_titles_are_marked_by_signs_or_in_colors(matched: ExplainedPool) -> None:
    signs, colors = (explanation_text(explained(matched), colors=colors) for colors in (False, True))
    assert "  title  Tea !500 ml! <red>\n" in signs
    assert "  marks  <contradicts the other title>, !another quantity!\n" in signs
    assert "\x1b" not in signs
    assert "Tea \x1b[1;31;7m500 ml\x1b[0m \x1b[1;31mred\x1b[0m\n" in colors


def test_title_without_another_one_is_not_marked(matched: ExplainedPool) -> None:
    text = explanation_text(explained(matched, right=""), colors=False)
    assert "  title  Tea 500 ml red\n" in text
    assert "  title  none that says anything\n" in text
    assert "marks" not in text


@pytest.mark.fault(27)
def test_hostile_title_stays_on_its_line_and_is_no_command(matched: ExplainedPool) -> None:
    hostile = "\x1b]0;owned\x07 a\nb\u202e" + "word " * 10_000
    lines = explanation_text(explained(matched, left=hostile), colors=False).splitlines()
    title = next(line for line in lines if line.startswith("  title"))
    assert title.isprintable()
    assert len(title) < 1000


def test_waterfall_sums_to_the_score(matched: ExplainedPool) -> None:
    pair = explained(matched)
    lines = explanation_text(pair, colors=False).splitlines()
    start = lines.index("what added to the score, in log-odds") + 1
    *rows, total = lines[start : lines.index("", start)]
    values = [float(found[0]) for row in rows if (found := re.findall(r"[+-]\d+\.\d\d", row))]
    assert pair.contributions is not None
    assert len(values) == 1 + len(pair.contributions.families)
    assert abs(sum(values) - float(re.findall(r"[+-]\d+\.\d\d", total)[0])) < 0.01 * len(values)
    assert f"score {pair.score:.3f}" in total
    assert all(("█" in row) <= (" +" in row) and ("░" in row) <= (" -" in row) for row in rows)


def test_text_names_ids_and_images(matched: ExplainedPool) -> None:
    pair = replace(explained(matched), images=("a.jpg", ""))
    text = explanation_text(pair, colors=False)
    assert text.startswith(f"{pair.ids[0]}\n")
    assert "  image  a.jpg\n" in text
    assert "  image  none\n" in text
