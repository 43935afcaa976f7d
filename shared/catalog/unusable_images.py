"""What is said of images that a table names and that cannot be used: how many there are, why, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from shared.catalog.image_folder import LINK, OUTSIDE, URL, is_url
from shared.catalog.images import MISSING
from shared.catalog.tables import printable
from shared.catalog.validation import Advice
from shared.schema import Catalog

NO_FOLDER = "no image folder"
MANY = 0.05  # share of the images that are named; where more cannot be used, the matches are doubtful
_SHOWN = 3  # reasons


def unusable_images(catalog: Catalog) -> str | None:
    """Return one line that says how many images are named that cannot be used, and why; None where there is none.

    Examples:
        >>> faults = {"image": ["a.jpg", "b.jpg"], "image_fault": ["empty file", "empty file"]}
        >>> unusable_images(Catalog.from_columns({"posting_id": ["p1", "p2"]} | faults))
        'images that cannot be used 2 · empty file 2 (such as p1)'
    """
    count, reasons = _reasons(catalog)
    advice = " (--data.images=FOLDER names one)" if any(NO_FOLDER in reason for reason in reasons) else ""
    return " · ".join([f"images that cannot be used {count:,}", *reasons]) + advice if count else None


def unusable_metrics(catalog: Catalog) -> dict[str, str]:
    """Return for a progress line the images that cannot be used; empty where there is none.

    Examples:
        >>> unusable_metrics(Catalog.from_columns({"posting_id": ["a"], "image": ["a.jpg"], "image_fault": ["cut"]}))
        {'images_that_cannot_be_used': '1 of 1: cut 1 (such as a)'}
    """
    count, reasons = _reasons(catalog)
    return {"images_that_cannot_be_used": f"{count:,} of {_named(catalog):,}: {', '.join(reasons)}"} if count else {}


def unusable_warning(catalog: Catalog) -> str | None:
    """Return a line where so many images cannot be used that the matches are doubtful, else None.

    A catalog without an image folder is matched without images on purpose.

    Examples:
        >>> named = {"posting_id": ["a", "b"], "image": ["a.jpg", "b.jpg"]}
        >>> unusable_warning(Catalog.from_columns(named | {"image_fault": ["empty file", None]}))
        'warning: 1 of 2 images cannot be used: empty file 1 (such as a). These listings are matched without'
        >>> unusable_warning(Catalog.from_columns(named | {"image_fault": ["no image folder"] * 2}))
    """
    faults, named = catalog.column("image_fault"), _named(catalog)
    if sum(bool(fault) and fault != NO_FOLDER for fault in faults) <= MANY * named:
        return None
    count, reasons = _reasons(catalog)
    why = ", ".join(reasons)
    return f"warning: {count:,} of {named:,} images cannot be used: {why}. These listings are matched without"


def why_no_image(images: Mapping[str, object], folder: Path | None, column: str, advice: Advice) -> str | None:
    """Return why a table finds none of its images, and what to do; None where it finds one or names none.

    Args:
        images: For each name the facts about its image, or why it cannot be used.
        folder: The image folder.
        column: Name of the column with the images' names.
        advice: Words for what to do.
    """
    urls = [name for name in images if is_url(name)]
    if urls and len(urls) == len(images):
        name = PurePosixPath(urls[0].partition("?")[0]).name or "a.jpg"
        what = f"the column {column} holds {len(urls):,} URLs ({printable(urls[0])}, …), and images must be files"
        return f"{what}; {advice.fetch_images.format(name=printable(name), column=column)}"
    reasons = Counter(images.values())
    if not images or reasons.keys() - {MISSING, LINK, URL, OUTSIDE}:
        return None
    first = printable(next(iter(images)))
    if reasons[OUTSIDE] == len(images):
        return f"names {len(images):,} images ({first}, …), all of them outside of {folder}; {advice.inside}"
    if reasons[LINK]:
        what = f"{reasons[LINK]:,} are links to files outside of {folder}"
        others = f" and {len(images) - reasons[LINK]:,} are not there" if len(images) > reasons[LINK] else ""
        return f"names {len(images):,} images ({first}, …), of which {what}{others}; {advice.follow_links}"
    return f"names {len(images)} images ({first}, …), none of them is in {folder}; {advice.find_images}"


def _named(catalog: Catalog) -> int:
    return int(sum(bool(name) and bool(name.strip()) for name in catalog.column("image")))


def _reasons(catalog: Catalog) -> tuple[int, list[str]]:
    """Return the number of images that cannot be used, and the most frequent reasons, each with an example."""
    column = catalog.column("image_fault")
    faults = Counter(fault for fault in column if fault)
    reasons = []
    for fault, count in faults.most_common(_SHOWN):
        example = catalog.ids[np.flatnonzero(column == fault)[0]]
        reasons.append(f"{fault} {count:,} (such as {printable(example)})")
    return faults.total(), reasons + ["…"] * (len(faults) > _SHOWN)
