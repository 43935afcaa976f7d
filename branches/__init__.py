"""The branches: a folder for each kind of evidence, meeting the contract in `shared/branch.py`."""
