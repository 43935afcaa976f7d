"""The command `python -m ensemble.explain`: why two listings match, or what one listing was compared with."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

from ensemble.answers.file import read_answers
from ensemble.explain.candidates import best_candidates
from ensemble.explain.explained_pool import ExplainedPool, pool_with
from ensemble.explain.pair import explain_pair
from ensemble.explain.reasons import reasons
from ensemble.explain.text import explanation_text
from ensemble.match import open_matcher, open_store
from ensemble.sections import sections
from shared.catalog.config import DataConfig
from shared.catalog.reader import read_catalog
from shared.catalog.source import new_source
from shared.catalog.tables import printable
from shared.compute import ComputeConfig
from shared.errors import MatcherError
from shared.pipeline.catalog_stages import require_labeled_run
from shared.pipeline.cli import Arguments, Command, Parser
from shared.pipeline.settings import Settings

SHOWN = 10  # listings that do not match, of one listing's candidates


def candidates_text(pool: ExplainedPool, row: int) -> str:
    """Return the matches of a listing and the best of its other candidates, two lines for each.

        print(candidates_text(pool, pool.row("train_1")))

    Args:
        pool: A matched pool.
        row: The listing.
    """
    ids, titles = pool.views.catalog.ids, pool.views.written_titles
    best = best_candidates(pool.result.match_rows, pool.result.scored_pairs, row, int(pool.copies[row]), SHOWN)
    lines = [f"{'':<16} {printable(ids[row])}  {printable(titles[row])}"]
    for each in best:
        what = "match" if each.matches else "no match"
        score = "by group" if math.isnan(each.score) else f"{each.score:.3f}"
        lines.append(f"{what:<{15 - len(score)}}{score}  {printable(ids[each.row])}  {printable(titles[each.row])}")
        lines.append(f"{'':<16} {reasons(pool.views, row, each.row)}")
    return "\n".join(lines if best else [*lines, "no similar listing"])


def open_pool(store: Any, settings: Settings, arguments: Arguments) -> ExplainedPool:
    """Return the pool that the options name: of a run, or a catalog that is matched now.

    Raises:
        MatcherError: The options contradict each other, the catalog cannot be read, or no pool has the listing.
        ArtifactError: A part of the run or the bundle is missing or damaged.
    """
    data = settings[DataConfig]
    if arguments.data is None:
        if arguments.bundle is not None:
            raise MatcherError("a bundle holds no listings: add --data NEW, the catalog to match with it")
        if arguments.answers is not None:
            raise MatcherError("--answers is for a new catalog; name those of the run's own with --review.answers=FILE")
        if arguments.holdout:
            require_labeled_run(store)
        pool = pool_with(store, data.sources, arguments.ids, holdout=arguments.holdout)
        return ExplainedPool.of_run(store, settings, pool)
    if arguments.holdout:
        raise MatcherError("--holdout is for the listings of a run; leave --data away")
    matcher = open_matcher(store, settings, arguments)
    catalog = read_catalog(new_source(data), data, settings[ComputeConfig], labeled=False)
    answers = None if arguments.answers is None else read_answers(arguments.answers)
    return ExplainedPool.of_match(matcher, catalog, data.duplicates, answers)


def main() -> int:
    """Explain a pair of listings, or show the best candidates of one."""

    def options(parser: Parser) -> None:
        parser.add_argument("ids", nargs="+", metavar="ID", help="posting ids of two listings, or of one")
        parser.add_argument("--bundle", type=Path, help="with --data: match with this bundle instead of a run")
        parser.add_argument("--answers", type=Path, help="with --data: file of people's answers about its pairs")
        parser.add_argument("--holdout", action="store_true", help="look among the listings that were held out")

    def body(store: Any, settings: Settings, arguments: Arguments) -> None:
        if len(arguments.ids) > 2 or len(set(arguments.ids)) < len(arguments.ids):
            raise MatcherError(f"name one listing or two different ones, not {' '.join(arguments.ids)}")
        pool = open_pool(store, settings, arguments)
        rows = [pool.row(posting_id) for posting_id in arguments.ids]
        if len(rows) == 1:
            print(candidates_text(pool, rows[0]))
            return
        colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(f"{pool.decision.rule}, in a pool of {len(pool):,}\n")
        print(explanation_text(explain_pair(pool, *rows), colors=colors))

    return Command(
        "python -m ensemble.explain",
        "Explain why two listings match or do not, or show the best candidates of one listing.",
        sections(),
        ["data", "ensemble", "review", "compute"],
        body,
        options=options,
        new_data=True,
        opened=open_store,
        holds=lambda arguments: False,
        force=False,
    ).run()


if __name__ == "__main__":
    raise SystemExit(main())
