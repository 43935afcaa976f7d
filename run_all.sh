#!/usr/bin/env bash
# The whole job, from a catalog to matches: ./run_all.sh --help
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.environment.sh"
trap 'echo interrupted >&2; exit 130' INT # until Python says it itself
trap 'echo interrupted >&2; exit 143' TERM
use_environment
exec python -P -m ensemble "$@" # -P: modules are not searched in the folder that this is called from
