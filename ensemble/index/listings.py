"""The listings that a command about an index names: ids in a file, or a title and an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from shared.catalog.config import DataConfig
from shared.catalog.image_folder import URL, is_url
from shared.catalog.reader import catalog_of
from shared.catalog.source import Source
from shared.catalog.tables import Table, check_file, frame_table, printable, read_table
from shared.compute import ComputeConfig
from shared.errors import MatcherError, raise_faults
from shared.pipeline.settings import Settings
from shared.schema import Catalog


def question(settings: Settings, title: str | None, image: Path | None) -> Catalog:
    """Return the listing of a query, with an empty posting id.

        question(settings, "red mug", image=Path("mug.jpg"))

    Raises:
        MatcherError: It has no title and no image, or the image cannot be used.
    """
    config = DataConfig(max_pixels=settings[DataConfig].max_pixels, follow_links=True)  # the user named this file
    if image is not None and is_url(str(image)):
        raise MatcherError(f"--image {image}: {URL}; download it and name the file")
    if image is not None:
        check_file(image)
    name = "" if image is None else image.name
    table = Table({"posting_id": [""], "title": [title or ""], "image": [name]})
    folder = None if image is None else image.absolute().parent
    source = Source(Path("--image"), folder)
    catalog = catalog_of(table, source, config, settings[ComputeConfig], labeled=False, progress=False)
    if fault := catalog.column("image_fault")[0]:
        raise MatcherError(f"{image}: {fault}")
    if not catalog.normalized_titles[0] and not image:
        raise MatcherError("there is nothing to look for: give a --title, an --image or both")
    return catalog


def texts_of(ids: object) -> list[str]:
    """Return posting ids as the text that they have in a catalog made of a frame, each once.

    Args:
        ids: Any number of ids, of any type that a column of a frame may have; or one id alone.

    Raises:
        MatcherError: One of them has no text; all are named.

    Examples:
        >>> texts_of([7, 7.0, "07"]), texts_of("12"), texts_of(12)
        (['7', '07'], ['12'], ['12'])
    """
    several = list(ids) if pd.api.types.is_list_like(ids) else [ids]  # type: ignore[call-overload]
    values = [value.item() if isinstance(value, np.number | np.bool_) else value for value in several]
    table = frame_table(pd.DataFrame({"posting_id": pd.Series(values, dtype=object)}), {"posting_id"})
    raise_faults("posting ids", [f"number {row}: {what}" for row, what in table.faults])
    return list(dict.fromkeys(table.columns["posting_id"]))


def read_ids(path: Path, column: str) -> list[str]:
    r"""Return the posting ids of a table's column, or of the lines of a .txt file; as written, each once.

    Raises:
        MatcherError: The file cannot be read or has faults; all are named.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "ids.txt"
        ...     _ = path.write_text("p1\np2\np1\n")
        ...     read_ids(path, "posting_id")
        ['p1', 'p2']
    """
    if path.suffix == ".txt":
        check_file(path)
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise MatcherError(f"{path}: cannot be read: {error}") from None
        return list(dict.fromkeys(filter(None, lines)))
    table = read_table(path, [column])
    faults = [f"row {row}: {what}" for row, what in table.faults]
    if column not in table.columns:
        faults.append(f"no column {column!r} (columns: {', '.join(map(printable, table.columns)) or 'none'})")
    raise_faults(str(path), faults)
    return list(dict.fromkeys(filter(None, table.columns[column])))
