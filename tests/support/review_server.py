"""Serves a review of invented listings: `python -m tests.support.review_server FOLDER PORT LISTINGS PAIRS NAME`."""

import os
import sys
from pathlib import Path

from ensemble.review.__main__ import serve
from ensemble.review.session import Session, Subject
from tests.support.listings import draw
from tests.support.review import subject

IMAGES = 40  # different files


def review_in(folder: Path, n: int, pairs: int) -> Subject:
    """Return a review of n listings, most of which have an image in a folder."""
    for number in range(IMAGES):
        if not (folder / f"{number}.png").exists():
            draw(folder / f"{number}.png", seed=number % 25)
    images = [f"{row % IMAGES}.png" if row % 7 else None for row in range(n)]
    return subject(folder, n, pairs, image=images, image_sha=images)


def main() -> None:
    folder, (port, n, pairs), name = Path(sys.argv[1]), map(int, sys.argv[2:5]), sys.argv[5]
    serve(Session(review_in(folder, n, pairs), seed=os.getpid()), name, port, browser=False)


if __name__ == "__main__":
    main()
