"""Does a task in this process, one number after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared.pipeline.executors import Task


class Serial:
    """The executor without workers.

    Examples:
        >>> class Double:
        ...     name = "double"
        ...
        ...     def __call__(self, number):
        ...         print(2 * number)
        ...
        ...     def release(self):
        ...         pass
        >>> list(Serial().execute(Double(), [1, 3]))
        2
        6
        [1, 3]
    """

    def execute(self, task: Task, numbers: Sequence[int]) -> Iterator[int]:
        """Do a task for some numbers; yield each once it is done."""
        for number in numbers:
            task(number)
            yield number
        task.release()

    def close(self) -> None:
        """Do nothing: there are no workers."""
