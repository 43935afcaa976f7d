import subprocess
import sys
import unicodedata

import pytest

from shared.titles import normalize
from shared.units import BASES, GLUED_WORDS, WORDS
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("word", "amount", "base"),
    [
        ("l", 0.5, 500),
        ("kg", 1.5, 1500),
        ("mg", 500, 0.5),
        ("m", 2, 200),
        ("inch", 1, 2.54),
        ("ft", 1, 30.48),
        ("oz", 16, 453.592),
        ("lbs", 5, 2267.962),
        ("floz", 1, 29.5735),
        ("tb", 1, 1024),
        ("lusin", 2, 24),
        ("斤", 1, 500),
        ("кг", 1, 1000),
        ("มล", 7, 7),
        ("kw", 2, 2000),
        ("mah", 5000, 5000),
        ("mp", 1, 1_000_000),
    ],
)
def test_amount_in_base_unit(word: str, amount: float, base: float) -> None:
    assert WORDS[word].to_base(amount) == pytest.approx(base, rel=1e-5)


def test_every_unit_is_one_of_pint_of_its_dimension() -> None:
    for unit in set(WORDS.values()):
        assert unit.dimension in BASES
        assert unit.to_base(1) > 0


def test_words_are_written_as_folded_titles_are() -> None:
    assert {unicodedata.normalize("NFKC", word).casefold() for word in WORDS} == set(WORDS)


def test_normalized_titles_glue_words_of_the_table() -> None:
    assert set(GLUED_WORDS) <= set(WORDS)
    for word in WORDS:
        assert normalize(f"5 {word}") == (f"5{word}" if word in GLUED_WORDS else f"5 {word}")


def test_import_leaves_pint_alone() -> None:
    """A second that a run with nothing to do does not have to wait."""
    code = "import sys, ensemble.features.assemble; sys.exit('pint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
