# Makes .venv when it is missing or what it must hold has changed; costs a moment otherwise. Sourced by run_all.sh and
# tests/run.sh, from the project's folder: `use_environment` for running, `use_environment dev` for the checks as well.

use_environment() {
  local extras="${1:-}" python wanted
  python="$(_find_python)" || return 2
  if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
    extras="$extras gpu"
  fi
  wanted="$(_requirements "$python" $extras)" || return 2
  # What is installed beyond what is wanted now (the checks' packages, say) does no harm and stays.
  if [ ! -x .venv/bin/python ] || grep -Fxvq -f .venv/requirements.txt <<<"$wanted" 2>/dev/null ||
    [ ! -f .venv/requirements.txt ]; then
    echo "Making the environment in .venv (a few minutes and several GB the first time) …"
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r /dev/stdin <<<"$wanted" || {
      echo "error: the packages could not be installed; see above" >&2
      return 2
    }
    printf '%s\n' "$wanted" >.venv/requirements.txt
    echo "Environment ready."
  fi
  export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
}

_find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      echo "$name"
      return
    fi
  done
  echo "error: Python 3.11 or newer is needed, and none is on the PATH" >&2
  return 1
}

# What pyproject.toml asks for, a line a package; $1: a Python, further arguments: extras.
_requirements() {
  local python="$1"
  shift
  "$python" - "$@" <<'PYTHON'
import sys, tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = (package for name in sys.argv[1:] for package in project["optional-dependencies"][name])
print(*project["dependencies"], *extras, sep="\n")
PYTHON
}
