"""What a run did not use of its listings, and which of them it did not learn from, as lines of its summary."""

from __future__ import annotations

from collections.abc import Sequence

from ensemble.match_result import NOT_USED
from ensemble.result_stages import MATCHES
from shared.catalog.ids import id_warnings
from shared.catalog.not_used import counted, not_used
from shared.pipeline.catalog_stages import SPLIT, TRAIN
from shared.pipeline.pools import catalog_pool, load_catalog
from shared.pipeline.run import RunFolder


def left_out_lines(run: RunFolder, sources: Sequence[str] = ("",)) -> list[str]:
    """Return a line for each thing that a run did not use or that is unusual about its ids; none where all is well.

        left_out_lines(run)

    Args:
        run: A finished run.
        sources: Names of its catalogs.
    """
    lines = list[str]()
    split = run.manifest(SPLIT)
    is_current = split is not None and split["key"]["inputs"].get(TRAIN) == run.digest_of(TRAIN)
    told = split["metrics"] if split is not None and is_current else {}  # else of labels that the run had once
    if told.get("without_a_label"):
        lines.append(f"{told['without_a_label']:,} listings without a label were matched and not learned from.")
    if told.get("large_label_groups"):
        lines.append(f"Large label groups: {told['large_label_groups']}.")
    for source in sources:
        catalog = load_catalog(run.open(catalog_pool(source).stage))
        words = counted(not_used(catalog).to_pylist())
        if words is not None:
            of = f" of {source}" if source else ""
            lines.append(f"Not used{of}: {words}; listed in {run.folder / MATCHES / source / NOT_USED}")
        lines += id_warnings(catalog.ids.tolist())
    return lines
