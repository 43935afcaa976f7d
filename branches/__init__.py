"""The branches: a folder for each kind of evidence, meeting the contract in `branches/stages.py`."""

import sys

if sys.argv[:1] == ["-m"]:  # the first import of a command
    import shared  # noqa: F401 - an interrupt of all other imports ends with a word
