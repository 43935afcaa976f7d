"""The errors a user can meet, and the exit code each one ends a command with."""

from collections.abc import Sequence


class MatcherError(Exception):
    """Bad input or settings: says what is wrong, where, and what to do. Exit code 2."""

    exit_code = 2


class ArtifactError(MatcherError):
    """A file of a run folder is missing, damaged or made by something else. Exit code 3."""

    exit_code = 3


def raise_faults(what: str, faults: Sequence[str], shown: int = 50) -> None:
    """Raise one `MatcherError` that lists every fault, or return when there is none.

    Args:
        what: The thing at fault, for the first line ("train.csv").
        faults: One line a fault, each naming its place (row, id, setting).
        shown: At most this many lines are printed; the rest are counted.
    """
    if not faults:
        return
    lines = [f"{what}: {len(faults)} fault{'s' if len(faults) != 1 else ''}"]
    lines += [f"  - {fault}" for fault in faults[:shown]]
    if len(faults) > shown:
        lines.append(f"  … and {len(faults) - shown} more")
    raise MatcherError("\n".join(lines))
