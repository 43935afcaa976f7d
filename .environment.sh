# Makes .venv when it is missing or what it must hold has changed; costs nothing otherwise. Sourced by run_all.sh and
# tests/run.sh: `use_environment` for running, `use_environment dev` for the checks as well.

use_environment() {
  local extras="${1:-}" python
  python="$(_find_python)" || return 2
  if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
    extras="${extras:+$extras,}gpu"
  fi
  local wanted stamp=.venv/requirements
  wanted="$(cksum <pyproject.toml) $(_with_present_extras "$extras" "$stamp")"
  if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Making the environment in .venv (a few minutes and some GB the first time) …"
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 2
    rm -f "$stamp"
    _requirements "${wanted##*[0-9] }" >.venv/wanted.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r .venv/wanted.txt || {
      echo "error: the packages could not be installed; see above" >&2
      return 2
    }
    printf '%s' "$wanted" >"$stamp"
    echo "Environment ready."
  fi
  # One malloc arena that keeps what it frees: training otherwise spends much of its time in system calls.
  export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864
  # Waiting threads sleep: on a busy machine spinning ones cost more than they gain.
  export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
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

# What pyproject.toml asks for, a line a package; $1: the extras, as [a,b].
_requirements() {
  .venv/bin/python - "$1" <<'PYTHON'
import sys, tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = [name for name in sys.argv[1].strip("[]").split(",") if name]
print(*project["dependencies"], *(p for name in extras for p in project["optional-dependencies"][name]), sep="\n")
PYTHON
}

# Extras that are installed stay wanted, so that running after testing does not install again.
_with_present_extras() {
  local extras="$1" present
  present="$(sed -n 's/.* \[\(.*\)\]$/\1/p' "$2" 2>/dev/null)"
  extras="$(printf '%s\n' "$extras" "$present" | tr ',' '\n' | sort -u | sed '/^$/d' | paste -sd, -)"
  echo "${extras:+[$extras]}"
}
