"""The command `python -m ensemble.review.simulate`: reviews of a catalog whose labels only simulated people know.

The catalog is matched as one without labels is: pretrained encoders as they come, TF-IDF and hashes. Answers come from
the labels, and the matches are measured by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import numpy as np

from branches import registry
from branches.candidates import propose
from branches.stages import embed_catalog
from ensemble.candidate_pairs import union
from ensemble.config import EnsembleConfig
from ensemble.features.assemble import pair_features
from ensemble.pool_views import BranchView, PoolViews
from ensemble.review.simulation import Asking, Checkpoint, PoolOfLabels, Reviewer, ceiling, simulate
from ensemble.review.start import start_scores
from ensemble.sections import sections
from ensemble.transfer.variants import whole_products
from shared.artifacts import write_json
from shared.catalog.copies import copy_of
from shared.catalog.placeholders import set_aside
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.metrics.matching import label_codes
from shared.pipeline.catalog_stages import TRAIN
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.pools import load_catalog
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.schema import Catalog, PairFeatures

LISTINGS, SEEDS, ANSWERS = 4000, 5, "0,25,50,100,200,400"
OUTPUT = "review/simulation.json"  # in the run folder
Reviews = Sequence[Sequence[Checkpoint]]  # seed → state at each number of answers


def sample(catalog: Catalog, listings: int, seed: int) -> Catalog:
    """Return about so many labeled listings of a catalog: whole products, drawn by a seed; all if there are no more.

    Examples:
        >>> labels = {"posting_id": ["a", "b", "c", "d"], "label_group": ["1", "1", "2", "2"]}
        >>> len(sample(Catalog.from_columns(labels), 2, seed=0))
        2
    """
    labeled = catalog.take(np.flatnonzero(label_codes(catalog.labels) >= 0))
    if len(labeled) <= listings:
        return labeled
    return labeled.take(whole_products(label_codes(labeled.labels), listings / len(labeled), seed))


def describe(catalog: Catalog, settings: Settings, folder: Path) -> PairFeatures:
    """Return the candidate pairs of a catalog with their features, by encoders as they come.

        describe(catalog.without_labels(), settings, Path(scratch))

    Args:
        catalog: The listings, without labels.
        settings: Settings of the run.
        folder: Where the encoders are put.
    """
    compute, ensemble, copies = settings[ComputeConfig], settings[EnsembleConfig], copy_of(catalog)
    views = {}
    for name in ensemble.branches:
        branch, encoder = registry.get(name), folder / name
        config = settings[branch.Config]
        if branch.learns:
            encoder.mkdir()
            alone = np.arange(len(catalog), dtype=np.int32)
            branch.train(catalog, alone, config.model_copy(update={"epochs": 0}), compute, encoder)
        embeddings = embed_catalog(branch, catalog, encoder if branch.learns else None, config, compute)
        views[name] = BranchView(embeddings, propose(embeddings, config, compute, copies))
    pool = PoolViews(catalog, views, compute.xp(), compute.cpu_threads)
    return pair_features(pool, union((view.candidates for view in views.values()), len(pool)), ensemble.features)


def pool_of(catalog: Catalog, settings: Settings) -> PoolOfLabels:
    """Return a labeled catalog as a pool to review, whose scores no label has taught.

    pool_of(catalog, settings)
    """
    catalog, _ = set_aside(catalog)
    with TemporaryDirectory() as folder:
        described = describe(catalog.without_labels(), settings, Path(folder))
    start = replace(start_scores(described), copy_of=copy_of(catalog))
    return PoolOfLabels(start, described, label_codes(catalog.labels))


def summary(reviews: Reviews, random: Reviews) -> list[dict[str, Any]]:
    """Return per number of answers: mean and spread of the row F1 over the seeds, and how often intervals hold.

    Examples:
        >>> reviews = [[Checkpoint(0, 0.75, 0.9, 0.7, None)], [Checkpoint(0, 0.25, 0.9, 0.7, None)]]
        >>> row = summary(reviews, reviews)[0]
        >>> row["row_f1"], row["spread"], row["precision_holds"]
        (0.5, 0.25, None)
    """
    rows = []
    for states, others in zip(zip(*reviews, strict=True), zip(*random, strict=True), strict=True):
        row_f1 = np.array([state.row_f1 for state in states])
        rows.append(
            {
                "answers": states[0].answers,
                "row_f1": float(row_f1.mean()),
                "spread": float(row_f1.std()),
                "random": float(np.mean([state.row_f1 for state in others])),
                "precision_holds": _share_that_hold(states, "precision"),
                "recall_holds": _share_that_hold(states, "recall"),
            }
        )
    return rows


def _share_that_hold(states: Sequence[Checkpoint], name: str) -> float | None:
    """Return the share of the intervals that hold the true value; None where nothing is estimated."""
    hold = []
    for state in states:
        if state.quality is not None:
            interval = getattr(state.quality, name)
            hold.append(interval.low - 1e-9 <= getattr(state, name) <= interval.high + 1e-9)
    return float(np.mean(hold)) if hold else None


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the summary as a Markdown table with one line per number of answers."""
    names = "answers | row F1 | spread | random questions | precision's interval holds | recall's interval holds"
    lines = [f"| {names} |", "|" + "---|" * 6]
    for row in rows:
        holds = ["–" if row[key] is None else f"{row[key]:.0%}" for key in ("precision_holds", "recall_holds")]
        cells = [f"{row['answers']:,}", *(f"{row[key]:.3f}" for key in ("row_f1", "spread", "random")), *holds]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def in_words(reviewer: Reviewer) -> str:
    """Return who answers, in words.

    Examples:
        >>> in_words(Reviewer(0.05))
        '5% of the answers wrong'
        >>> in_words(Reviewer(unsure=0.2, hard=True))
        '0% of the answers wrong, 20% unsure of the hardest pairs'
    """
    doubt = f", {reviewer.unsure:.0%} unsure" + " of the hardest pairs" * reviewer.hard if reviewer.unsure else ""
    return f"{reviewer.mistakes:.0%} of the answers wrong{doubt}"


def _numbers(text: str) -> list[int]:
    """Return the numbers of answers that `--answers` names.

    Raises:
        MatcherError: It is no list of whole numbers from 0.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise MatcherError(f"--answers={text}: give whole numbers from 0 with commas between them, such as {ANSWERS}")
    return sorted({int(part) for part in parts})


def study(run: RunFolder, settings: Settings, arguments: Arguments) -> None:
    """Simulate the reviews, print their table and write `review/simulation.json` into the run.

        study(run, settings, arguments)

    Raises:
        MatcherError: An option has no sense, or the run has no labels.
    """
    answers = _numbers(arguments.answers)
    shares = arguments.mistakes, arguments.unsure, arguments.unsure_of_hard
    if arguments.seeds < 1 or arguments.listings < 2 or not all(0 <= share < 1 for share in shares):
        raise MatcherError("--seeds must be 1 or more, --listings 2 or more, and each share at least 0 and below 1")
    if arguments.unsure and arguments.unsure_of_hard:
        raise MatcherError("--unsure and --unsure-of-hard cannot be used together; name one of them")
    unsure = arguments.unsure or arguments.unsure_of_hard
    reviewer = Reviewer(arguments.mistakes, unsure, hard=arguments.unsure_of_hard > 0)
    seed = settings[ComputeConfig].seed
    catalog = sample(load_catalog(run.open(TRAIN)), arguments.listings, seed)
    if len(catalog) < 2:
        raise MatcherError(f"{run.folder}: no labels to answer from; simulate a review of a run with labels")
    pool = pool_of(catalog, settings)
    run.say(f"{len(catalog):,} listings, {len(pool.start):,} candidate pairs")

    def reviews(asking: Asking) -> Reviews:
        states = []
        for number in range(seed, seed + arguments.seeds):
            states.append(simulate(pool, answers, number, reviewer, asking))
            run.say(f"  {asking}, seed {number}: " + ", ".join(f"{s.row_f1:.3f} at {s.answers}" for s in states[-1]))
        return states

    began = monotonic()
    rows = summary(reviews("review"), reviews("random"))
    most = ceiling(pool)
    (run.folder / OUTPUT).parent.mkdir(exist_ok=True)
    about = {"pool_size": len(catalog), "seeds": arguments.seeds, "seed": seed} | asdict(reviewer)
    write_json(run.folder / OUTPUT, about | {"ceiling": most, "rows": rows})
    run.say(
        f"\n{table(rows)}\n\nRow F1 of the whole pool of {len(catalog):,}: mean and standard deviation over "
        f"{arguments.seeds} seeds; {in_words(reviewer)}. With the labels of all pairs the "
        f"same learner has {most:.3f}.\n{monotonic() - began:.0f} s; written to {run.folder / OUTPUT}"
    )


def main() -> int:
    """Simulate reviews of a run's catalog."""

    def options(parser: Parser) -> None:
        parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"reviews (default: {SEEDS})")
        parser.add_argument("--answers", default=ANSWERS, help=f"numbers of answers (default: {ANSWERS})")
        parser.add_argument("--mistakes", type=float, default=0.0, help="share of wrong answers (default: 0)")
        parser.add_argument("--unsure", type=float, default=0.0, help="share of answers 'unsure' (default: 0)")
        what = "the same, about pairs that are hard to tell: the share of those of even chances (default: 0)"
        parser.add_argument("--unsure-of-hard", type=float, default=0.0, metavar="UNSURE", help=what)
        what = f"whole products with about so many listings are drawn (default: {LISTINGS})"
        parser.add_argument("--listings", type=int, default=LISTINGS, metavar="N", help=what)

    about = "Simulate reviews of a run's catalog, answered from its labels, which nothing else uses."
    usage = "python -m ensemble.review.simulate"
    return Command(usage, about, sections(), ["compute"], study, options=options, force=False).run()


if __name__ == "__main__":
    raise SystemExit(main())
