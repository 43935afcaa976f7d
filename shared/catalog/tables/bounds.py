"""How large a table may be, and the settings by which it is read.

Whatever is larger is refused before it takes memory: a small gzip or Parquet file can hold gigabytes.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_GB = 1.0  # of a table once it is decompressed, unless `data.max_table_gb` says otherwise
MAX_CHARACTERS = 1_000_000  # of a cell that is read, unless `data.max_characters` says otherwise
LONGEST_LINE = 16_000_000  # characters of a line, or of an object in a JSON file, with all cells that are not read
MAX_ROWS = 10_000_000
MAX_COLUMNS = 10_000


@dataclass(frozen=True)
class TableSettings:
    """How a table is to be read.

    Args:
        encoding: Name of the encoding of a text file without a byte order mark; "": UTF-8.
        max_gb: Most gigabytes that it may hold once it is decompressed.
        max_characters: Most characters of a cell.
        lenient: Names of columns in which no value is a fault, since a listing can do without.
        cut: Names of columns in which half a surrogate pair is no fault, since texts are cut within an emoji.
    """

    encoding: str = ""
    max_gb: float = MAX_GB
    max_characters: int = MAX_CHARACTERS
    lenient: frozenset[str] = frozenset()
    cut: frozenset[str] = frozenset()

    @property
    def max_bytes(self) -> int:
        """Return the most bytes that a table may hold once it is decompressed."""
        return int(self.max_gb * 1e9)

    def check_size(self, size: int) -> None:
        """Raise an error if a table holds too many bytes.

        Raises:
            ValueError: It does.
        """
        if size > self.max_bytes:
            raise ValueError(
                f"it holds more than {self.max_gb:g} GB once it is decompressed; if that is right, raise "
                "--data.max_table_gb"
            )


def check_rows(rows: int) -> None:
    """Raise an error if a table has too many rows.

    Raises:
        ValueError: It has.

    Examples:
        >>> check_rows(MAX_ROWS)
    """
    if rows > MAX_ROWS:
        raise ValueError(f"it has more than {MAX_ROWS:,} rows; match it in parts")


def check_columns(columns: int) -> None:
    """Raise an error if a table has too many columns.

    Raises:
        ValueError: It has.

    Examples:
        >>> check_columns(MAX_COLUMNS)
    """
    if columns > MAX_COLUMNS:
        raise ValueError(f"it has more than {MAX_COLUMNS:,} columns; leave out those that are not needed")
