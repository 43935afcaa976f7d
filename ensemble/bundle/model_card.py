"""Writes the model card of a bundle: its training data, its metrics and its use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from branches import registry
from branches.stage_names import encoder_stage_name
from ensemble.config import EnsembleConfig, ScorerConfig, TuneConfig
from ensemble.decision.objective import Objective
from ensemble.decision.siblings import describe_forbidden, describe_siblings
from ensemble.evaluation.summary import COLUMNS, HEADS
from ensemble.training_stages import DECISION, load_decision
from shared.artifacts import read_json
from shared.catalog.config import DataConfig
from shared.metrics.matching import group_sizes, label_codes
from shared.pipeline.catalog_stages import SPLIT, TRAIN
from shared.pipeline.pools import ALL, load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.schema import Catalog


def model_card(run: RunFolder, source: RunFolder, settings: Settings, metrics: Mapping[str, Any]) -> str:
    """Return the card as Markdown; it names no path on the machine on which it is written.

        model_card(run, run, settings, metrics_of(run))

    Args:
        run: The run with the metrics.
        source: The run that is packed: the same one, or the result of refitting it.
        settings: Settings of the run.
        metrics: The run's metrics, as in its `metrics.json`.
    """
    parts = {
        "Product matcher": "Finds the listings of a catalog that sell the same product.",
        "Trained on": _trained_on(run, settings, refitted=source is not run),
        "How good it is": _metrics_table(metrics, refitted=source is not run),
        "Decision": _decision(source, settings),
        "Use": USE,
        "Made with": ", ".join(f"{name} {version}" for name, version in _versions(source).items()) + ".",
    }
    (title, about), *rest = parts.items()
    return "\n\n".join([f"# {title}", about, *(f"## {head}\n\n{text}" for head, text in rest)]) + "\n"


USE = """```sh
python -m ensemble.match --bundle BUNDLE --data new/catalog --out matches/
```

```python
from ensemble import Matcher

matched = Matcher.load("BUNDLE").match(listings, images="photos")  # a frame with posting_id, title, image
matched.matches, matched.groups, matched.pairs
```

Both need the project's code and its packages, and no network. `bundle.json` holds the checksum of every file; a bundle
in which anything was altered, added or removed is refused."""


SIBLINGS = "Siblings, which are different products whose titles are alike but for an attribute that they state"


def _trained_on(run: RunFolder, settings: Settings, *, refitted: bool) -> str:
    metrics = (run.manifest(SPLIT) or {})["metrics"]
    trained, held_out = metrics["listings_to_train_on"], metrics["held_out"]
    whole = load_catalog(run.open(TRAIN))
    catalog = whole.take(np.flatnonzero([label is not None for label in whole.labels]))
    read, products = catalog.counts(), len(set(catalog.labels))
    catalogs = settings[DataConfig].sources
    of_catalogs = f" of {len(catalogs)} catalogs ({', '.join(catalogs)})" if len(catalogs) > 1 else ""
    listings = f"{read['listings']:,} labeled listings{of_catalogs} of {products:,} products"
    lines = [f"{listings}; {read['with_image']:,} have an image, {read['with_title']:,} a title."]
    if refitted:
        lines.append("Encoders and scorer learned from all of them.")
    else:
        lines.append(
            f"Encoders and scorer learned from {trained:,} of them; {held_out:,} were held out for the metrics."
        )
    lines += [_singles(catalog, settings[ScorerConfig].thinned), _evidence(catalog)]
    names = settings[EnsembleConfig].branches
    lines.append(f"Branches: {', '.join(names)}.")
    for name in names:
        stage = run.manifest(encoder_stage_name(name, ALL)) if registry.get(name).learns else None
        if stage and stage["metrics"].get("extra_joined"):
            lines.append(f"The {name} encoder learned from {stage['metrics']['extra_joined']:,} other listings, too.")
    return "\n".join(lines)


def _singles(catalog: Catalog, shares: Sequence[float]) -> str:
    """Return how many listings are the only one of their product, and from which thinned pools the scorer learned."""
    single = float(np.mean(group_sizes(label_codes(catalog.labels)) <= 1)) if len(catalog) else 0.0
    line = f"{single:.0%} of them are the only listing of their product."
    if not shares:
        return line
    listed = ", ".join(f"{share:.0%}" for share in shares)
    return f"{line} The scorer also learned from pools in which {listed} of the products keep more than one listing."


def _evidence(catalog: Catalog) -> str:
    """Return which share of the listings has evidence for the branches and the families of features."""
    evidence = {"an image": catalog.has_image, "a title": catalog.titles != "", "an image hash": catalog.has_phash}
    listed = ", ".join(f"{np.mean(mask) if len(catalog) else 0:.0%} {name}" for name, mask in evidence.items())
    return f"Evidence of these listings: {listed}. Scores of catalogs with other evidence may be far off."


def _metrics_table(metrics: Mapping[str, Any], *, refitted: bool) -> str:
    holdout, size = metrics["holdout"], metrics["holdout"]["pool_size"]
    by_source = metrics.get("by_source", {})
    rows = {f"{name} alone": alone for name, alone in metrics["branches"].items()} | {"ensemble": holdout}
    rows |= {
        f"ensemble on {source}, {of['holdout']['pool_size']:,} listings": of["holdout"]
        for source, of in by_source.items()
    }
    table = [f"| | {' | '.join(HEADS)} |", "|---" * (len(HEADS) + 1) + "|"]
    table += [f"| {name} | {' | '.join(f'{of[column]:.3f}' for column in COLUMNS)} |" for name, of in rows.items()]
    pools = f"a pool of {size:,} listings" if not by_source else f"{len(by_source)} pools, one of each catalog,"
    unseen = f"Measured in {pools} whose products took no part in training."
    means = " The other rows are means over the pools." if by_source else ""
    lines = [f"{unseen}{means}", "", *table, ""]
    lines.append(
        "Row F1 is the mean over listings of F1 between predicted and true matches; it falls as the pool grows."
    )
    if refitted:
        lines.append(
            "**These are metrics of the system before it was refitted.** It was then trained on all labeled listings, "
            "those of this pool too, and none is left to measure it on."
        )
    return "\n".join(lines)


def _decision(source: RunFolder, settings: Settings) -> str:
    folder = source.open(DECISION)
    decision, siblings = load_decision(folder), read_json(folder / "curves.json")["siblings"]
    aim = Objective.parse(settings[TuneConfig].objective).name
    size = f"{decision.pool_size:,} listings" if decision.pool_size else "unknown size"
    larger = (
        "for a larger one it rises" if decision.prior_shift else "in a larger one more pairs score as high by chance"
    )
    fewer = ", where fewer listings have a match too" if decision.singles_shift else ""
    tuned = f"`{decision.rule}` at {decision.threshold:.3f}, tuned for {aim}"
    forbidden = describe_forbidden(decision.forbid)
    seen = "" if siblings is None else f"\n\n{SIBLINGS}: {describe_siblings(siblings)}; {forbidden}."
    return f"{tuned}. The threshold is for a catalog of {size}; {larger}{fewer}.{seen}"


def _versions(source: RunFolder) -> dict[str, str]:
    versions: dict[str, str] = (source.manifest(DECISION) or {})["versions"]
    return versions
