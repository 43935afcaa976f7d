#!/usr/bin/env bash
# The whole job, from a catalogue to matches: ./run_all.sh --help
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
called_from="$PWD"
cd "$here"
source ./.environment.sh
use_environment
cd "$called_from"
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$here/.venv/bin/python" -m ensemble "$@"
