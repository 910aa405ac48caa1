#!/bin/sh
# Creates the virtual environment and installs SpatialBrain into it.
# usage: setup.sh PYTHON VENV STAMP
python=$1 venv=$2 stamp=$3

fail() {
    echo "set-up failed: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "no '$python' found. Install Python 3.10, 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' ||
    fail "$("$python" --version) is not supported. Install Python 3.10, 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.11"

if [ ! -x "$venv/bin/python" ]; then
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge 8 ] ||
        fail "8 GB of free disk space are needed for PyTorch and its libraries, $free GB are left in $(pwd)"
fi

log=$(mktemp) || fail "no temporary file could be made"
trap 'rm -f "$log"' EXIT

echo "Setting up $venv (PyTorch, SpeechBrain and their needs; once, some minutes) ..."
if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv -q --python "$python" "$venv" 2>"$log" ||
        fail "the virtual environment could not be made: $(tail -n 1 "$log")"
    install() { uv pip install -q --python "$venv/bin/python" "$@" 2>"$log"; }
else
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" >"$log" 2>&1 ||
        fail "the virtual environment could not be made (on Debian: apt install python3-venv): $(tail -n 1 "$log")"
    install() { "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@" 2>"$log"; }
fi
if ! install -r requirements.txt -r requirements-dev.txt -c constraints.txt || ! install --no-deps -e .; then
    if grep -qiE 'no space left' "$log"; then
        fail "the disk is full"
    elif grep -qiE 'connection|connect|resolve|network|timed out|dns' "$log"; then
        fail "the package index cannot be reached. Check the network or proxy, then repeat the command"
    fi
    cat "$log" >&2
    fail "the packages could not be installed (see above)"
fi
# As the package does it, also for scripts that load PyTorch before it.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import os; os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')" >"$site/omp_wait_policy.pth"
touch "$stamp"
