# Sourced by the scripts: `use_environment` makes .venv where it is missing or out of date and puts it first on the PATH;
# `use_environment dev` installs what the checks need as well.
use_environment() {
  local root set="${1:-}" gpu="" extras python wanted
  root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
  if nvidia-smi -L >/dev/null 2>&1; then gpu=gpu; fi
  wanted="$root $(cat "$root/pyproject.toml" "$root/.constraints.txt")" # a copy of the project runs its own code
  export PATH="$root/.venv/bin:$root/.venv/Scripts:$PATH" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
  [ "$wanted" != "$(cat "$root/.venv/installed-$gpu$set" 2>/dev/null)" ] || return 0
  for python in python3.11 python3.12 python3.13 python3 python ""; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break
  done
  [ -n "$python" ] || { echo "error: no Python 3.11 or newer is on the PATH; install one" >&2 && return 2; }
  echo "Making the environment in .venv (a few minutes and several GB the first time) …"
  [ -e "$root/.venv/pyvenv.cfg" ] || "$python" -m venv "$root/.venv"
  extras="$gpu${gpu:+${set:+,}}$set"
  python -m pip install --quiet --disable-pip-version-check --constraint "$root/.constraints.txt" \
    --editable "$root${extras:+[$extras]}" || { echo "error: see above; remove .venv to begin anew" >&2 && return 2; }
  printf '%s' "$wanted" | tee "$root/.venv/installed-$gpu" >"$root/.venv/installed-$gpu$set"
}
