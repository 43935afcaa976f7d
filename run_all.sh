#!/usr/bin/env bash
# The whole job, from a catalog to matches: ./run_all.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/.environment.sh"
use_environment
exec python -P -m ensemble "$@" # -P: modules are not searched in the folder that this is called from
