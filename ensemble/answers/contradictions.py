"""Answers that contradict each other: reviewers who disagree, and a "no" between listings that yeses connect."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ensemble.answers.answer import Answer

Verdicts = Mapping[tuple[Any, Any], Mapping[str, Answer]]  # pair → person → their latest answer, the oldest first


@dataclass(frozen=True)
class Contradiction:
    """A "no" and the yes answers that contradict it.

    Args:
        kind: `reviewers`: other people said yes about the same pair. `chain`: yes answers lead from one listing of the
            pair to the other one; no chain is shorter.
        no: The answer "no".
        yes: The yes answers that contradict it; those of a chain in order, from one listing of the "no" to the other.

    Examples:
        >>> no = Answer("a", "b", "", "", "no", by="Ann", at="2026-01-31T12:00:00Z")
        >>> yes = Answer("a", "b", "", "", "yes", by="Ben", at="2026-01-31T12:01:00Z")
        >>> Contradiction("reviewers", no, (yes,)).line
        'a and b: no by Ann, but yes by Ben'
    """

    kind: Literal["reviewers", "chain"]
    no: Answer
    yes: tuple[Answer, ...]

    @property
    def line(self) -> str:
        """Return the contradiction in words."""
        left, right = self.no.pair
        if self.kind == "reviewers":
            said = f"but yes by {', '.join(answer.by for answer in self.yes)}"
        else:
            links = ", ".join(f"{a} = {b} ({answer.by})" for answer in self.yes for a, b in [answer.pair])
            said = f"but a chain of yes answers connects them: {links}"
        return f"{left} and {right}: no by {self.no.by}, {said}"


def by_pair(answers: Iterable[Answer], pair_of: Callable[[Answer], tuple[Any, Any]]) -> Verdicts:
    """Return the latest answer of each person about each pair.

    Args:
        answers: The oldest first.
        pair_of: Returns the pair that an answer is about, such as `lambda answer: answer.pair`.

    Returns:
        Pairs sorted; the answers about each from the oldest to the latest.

    Examples:
        >>> answer = Answer("b", "a", "", "", "no", by="Ann", at="2026-01-31T12:00:00Z")
        >>> [list(of_pair) for of_pair in by_pair([answer], lambda answer: answer.pair).values()]
        [['Ann']]
    """
    verdicts: dict[tuple[Any, Any], dict[str, Answer]] = defaultdict(dict)
    for answer in answers:
        of_pair = verdicts[pair_of(answer)]
        of_pair.pop(answer.by, None)
        of_pair[answer.by] = answer
    return {pair: verdicts[pair] for pair in sorted(verdicts)}


def effective(of_pair: Mapping[str, Answer]) -> Answer:
    """Return the answer about a pair that counts: the latest yes or no, or the latest one if all are unsure.

    Args:
        of_pair: Person → their latest answer, the oldest first; at least one.
    """
    answers = list(of_pair.values())
    return next((answer for answer in reversed(answers) if answer.verdict != "unsure"), answers[-1])


def contradictions(verdicts: Verdicts) -> list[Contradiction]:
    """Return all contradictions: first between reviewers of one pair, then by chains, each part sorted by the pair.

    Examples:
        >>> said = {("a", "b"): "yes", ("b", "c"): "yes", ("a", "c"): "no"}
        >>> answers = [Answer(*pair, "", "", verdict, "Ann", f"2026-01-31T12:00:0{len(verdict)}Z")
        ...            for pair, verdict in said.items()]
        >>> [(found.no.pair, len(found.yes)) for found in contradictions(by_pair(answers, lambda answer: answer.pair))]
        [(('a', 'c'), 2)]
    """
    result = []
    for of_pair in verdicts.values():
        noes = [answer for answer in of_pair.values() if answer.verdict == "no"]
        yeses = tuple(answer for answer in of_pair.values() if answer.verdict == "yes")
        if noes and yeses:
            result.append(Contradiction("reviewers", noes[-1], yeses))
    counted = {pair: effective(of_pair) for pair, of_pair in verdicts.items()}
    links: dict[Hashable, dict[Hashable, Answer]] = defaultdict(dict)
    for (one, other), answer in counted.items():
        if answer.verdict == "yes":
            links[one][other] = links[other][one] = answer
    for (one, other), answer in counted.items():
        if answer.verdict == "no" and (chain := _shortest_chain(links, one, other)):
            result.append(Contradiction("chain", answer, chain))
    return result


def _shortest_chain(links: Mapping[Any, Mapping[Any, Answer]], start: Any, end: Any) -> tuple[Answer, ...]:
    """Return the answers of a shortest chain of links; of several the first by its listings; empty if there is none."""
    came_from: dict[Any, Any] = {start: None}
    queue = deque([start])
    while queue and end not in came_from:
        here = queue.popleft()
        for there in sorted(links.get(here, ())):
            if there not in came_from:
                came_from[there] = here
                queue.append(there)
    chain, here = list[Answer](), end
    while came_from.get(here) is not None:
        chain.append(links[here][came_from[here]])
        here = came_from[here]
    return tuple(reversed(chain))
