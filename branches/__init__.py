"""The branches: a folder for each kind of evidence, meeting the contract in `branches/stages.py`."""
