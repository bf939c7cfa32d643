# Sourced by ./demo, ./test and .ci/run: finds a Python, makes .venv, installs system packages when it may.
# shellcheck shell=sh

say() { printf '%s\n' "$*" >&2; }
stop() {
  say "$*"
  exit 69 # EX_UNAVAILABLE, sysexits.h
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
    if is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  say "compat_auth needs Python 3.11 or newer, and none was found (tried: ${PYTHON:-python3}, python3.11 to python3.14)."
  stop "Install one, or say where it is: PYTHON=/path/to/python3 $0"
}

# install_packages PACKAGE...: as root or by sudo without a question; otherwise prints the line to run, and stops.
install_packages() {
  command -v apt-get >/dev/null 2>&1 || stop "Please install what is missing, then run $0 again: $*"
  if [ "$(id -u)" = 0 ]; then
    as_root=env
  elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n env"
  else
    stop "System packages are missing. Please run this line, then $0 again:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
  fi
  say "Installing system packages: $*"
  $as_root apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists at hand"
  # RUNLEVEL: servers are for the tests to start, not for the package manager.
  $as_root DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@" >&2 ||
    stop "apt-get could not install: $* (the lines above say why)"
}

# make_environment NAME ARGUMENT...: .venv holds what `pip install ARGUMENT...` brings; the stamp saves doing it twice.
make_environment() {
  stamp=.venv/.$1-stamp
  shift
  wanted=$PWD:$(cat setup.cfg pyproject.toml .ci/environment.sh compat_auth/__init__.py | cksum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    return
  fi
  # An environment that was moved, half made, or made without pip cannot be mended in general: make it anew.
  if ! grep -qsF "$PWD/.venv" .venv/bin/activate || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || exit
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
      case $(command -v "$python") in
        /usr/bin/*) install_packages "python$version-venv" ;;
        *) stop "$python lacks the module venv or ensurepip; use a complete one: PYTHON=/path/to/python3 $0" ;;
      esac
    fi
    say "Making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv || stop "No environment could be made in $PWD/.venv"
  fi
  say "Installing into .venv (once; half a minute)"
  .venv/bin/python -m pip install -qq --disable-pip-version-check "pip>=25.1" &&
    .venv/bin/python -m pip install -qq --disable-pip-version-check "$@" ||
    stop "pip could not install compat_auth into .venv (the lines above say why); then run $0 again"
  printf '%s' "$wanted" | tee "$stamp" >.venv/.demo-stamp # every environment has what the demo needs
}
