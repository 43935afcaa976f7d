"""What a reader of matches should know about the ids of listings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from shared.catalog.tables import printable

FORMULA = (*"=+-@\t\r\n", *"＝＋－＠")  # a spreadsheet runs a cell that begins with one of these as a formula
_BLANK = re.compile(r"\s")


def id_warnings(ids: Sequence[str]) -> list[str]:
    """Return a line for each thing that is unusual about ids.

    Args:
        ids: Posting ids, all different.

    Examples:
        >>> for line in id_warnings(["a", "b c", "b  c"]):
        ...     print(line)
        warning: 2 ids hold blanks (such as 'b c'), so submission.csv cannot be split; the Parquet files are exact
        warning: 1 id differs from another by blanks or Unicode form alone ('b c' and 'b  c'): two listings
    """
    with_blank = [one for one in ids if _BLANK.search(one)]
    first: dict[str, str] = {}
    alike = list[tuple[str, str]]()
    for one in ids if with_blank or not all(map(str.isascii, ids)) else ():
        other = first.setdefault(_BLANK.sub("", unicodedata.normalize("NFKC", one)), one)
        if other != one:
            alike.append((other, one))
    lines = list[str]()
    if marked := [one for one in ids if one.startswith(FORMULA)]:
        lines.append(
            f"warning: {'1 id begins' if len(marked) == 1 else f'{len(marked):,} ids begin'} as a formula of a "
            f"spreadsheet does (such as {printable(marked[0])!r}), so CSV files have an apostrophe before it where it "
            "begins a cell; the Parquet files are exact"
        )
    if with_blank:
        lines.append(
            f"warning: {'1 id holds' if len(with_blank) == 1 else f'{len(with_blank):,} ids hold'} blanks (such as "
            f"{printable(with_blank[0])!r}), so submission.csv cannot be split; the Parquet files are exact"
        )
    if alike:
        differ = "1 id differs" if len(alike) == 1 else f"{len(alike):,} ids differ"
        one, other = map(printable, alike[0])
        lines.append(
            f"warning: {differ} from another by blanks or Unicode form alone ({one!r} and {other!r}): two listings"
        )
    return lines
