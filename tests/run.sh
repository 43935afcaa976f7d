#!/usr/bin/env bash
# Every check: style, types, import rules, tests. --fast leaves out the slow tests; other arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source ./.environment.sh
use_environment dev
if [ "${1:-}" = --fast ]; then set -- -m "not slow and not gpu" "${@:2}"; fi
ruff check .
ruff format --check .
lint-imports
mypy
# Two processes, each with the files that it takes up; more threads than cores would only wait for one another.
# A process that dies ends the run: xdist may wait for ever for the one that takes its place.
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" exec python -m pytest -n 2 --dist loadfile --max-worker-restart 0 "$@"
