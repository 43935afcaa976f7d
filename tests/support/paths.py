"""Where the project is."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the folder of the project
NO_NETWORK = ROOT / "tests" / "support" / "no_network"  # on the path of a process, it keeps it from the network
