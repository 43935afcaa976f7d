"""Tables of text: CSV, TSV, JSON and Parquet files and frames, read so that every value stays as it was written.

A reader guesses no values: `001`, `1e5` and `NA` come back unchanged. It goes on after a fault, so that one error can
name all of them. What it will not read at all, since it is too large, stands in `bounds.py`.
"""

from shared.catalog.tables.bounds import TableSettings
from shared.catalog.tables.frame import frame_table
from shared.catalog.tables.reader import ENDINGS, FOLDER_ENDINGS, check_file, ending, read_table
from shared.catalog.tables.table import Table, printable

__all__ = [
    "ENDINGS",
    "FOLDER_ENDINGS",
    "Table",
    "TableSettings",
    "check_file",
    "ending",
    "frame_table",
    "printable",
    "read_table",
]
