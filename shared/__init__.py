"""What every stage stands on: schema, catalogs, splits, neighbors, metric learning, run folder, settings."""

import os
import sys

# Threads that wait sleep instead of spinning: on a busy machine, spinning makes a training step three times slower.
# OpenMP reads this once, when the first library that uses it is loaded, so it has to stand before all other imports.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if sys.argv[:1] == ["-m"]:  # Python looks up the module of a command
    from shared import exits

    exits.guard_command()
