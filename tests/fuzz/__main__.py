"""A fuzzer, guided by the code that its inputs reach: `python -m tests.fuzz titles corpus/titles -max_total_time=600`.

Needs the package `atheris`, which nothing else needs. It goes on from the inputs in the folder, keeps there those that
reach something new, and ends at the first input that a target does not bear, which it writes to a file. Options behind
the folder are libFuzzer's. `python -m tests.fuzz titles FILE` calls the target with such a file alone.
"""

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shared", "ensemble", "PIL", "csv", "html"]):
    from PIL import Image

    Image.init()  # all of its formats
    from tests.fuzz import seeds, targets


def main() -> None:
    """Fuzz one target."""
    name, place, *options = sys.argv[1:]
    corpus = Path(place)
    if not corpus.is_file():
        corpus.mkdir(parents=True, exist_ok=True)
        for data in getattr(seeds, name)():
            (corpus / hashlib.sha256(data).hexdigest()).write_bytes(data)
    atheris.Setup([sys.argv[0], place, *options], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
