"""Runs a proxy's own check of the syntax of its configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compat_auth.errors import BackendUnavailable, ConfigError

_TIMEOUT_S = 60
# Debian keeps servers where only root looks.
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin")


@dataclass(frozen=True, slots=True)
class Check:
    """A proxy's own check.

    Attributes:
        programs: Names of the program.
        arguments: "{file}" is the configuration.
        package: What installs it on Debian, or "".
    """

    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    package: str = ""


CHECKS: Mapping[str, Check] = {
    "nginx": Check(("nginx",), ("-t", "-q", "-c", "{file}"), "nginx-light"),
    "haproxy": Check(("haproxy",), ("-c", "-f", "{file}"), "haproxy"),
    "caddy": Check(("caddy",), ("validate", "--adapter", "caddyfile", "--config", "{file}"), "caddy"),
    "apache": Check(("apache2", "httpd"), ("-t", "-f", "{file}"), "apache2"),
    "envoy": Check(("envoy",), ("--mode", "validate", "-c", "{file}")),
}
"""By proxy. Traefik has no such check: it reads its files when it starts."""


def require_valid(proxy: str, file: Path, program: str) -> None:
    """Run the proxy's own check of a file.

    Args:
        proxy: Its name.
        file: The configuration.
        program: The proxy's program; "": found in PATH.

    Raises:
        ConfigError: The proxy refuses it, or has no check; says why.
        BackendUnavailable: The program is missing.
    """
    check = CHECKS.get(proxy)
    if check is None:
        raise ConfigError(f"--check: {proxy} has no check of its own; start it, and read its log")
    command = [_require(check, program), *(argument.replace("{file}", str(file)) for argument in check.arguments)]
    try:
        # The operator names the program, or it is the one in PATH.
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise BackendUnavailable(f"--check: {command[0]} did not end within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        said = "\n".join((done.stderr + done.stdout).strip().splitlines()[-10:])
        raise ConfigError(f"--check: {command[0]} refuses {file}:\n{said}")


def find_program(*names: str) -> str | None:
    """Return the path of the first of these programs that is in PATH, or where only root looks; None if none is."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_PLACES))
    return next((found for name in names if (found := shutil.which(name, path=path)) is not None), None)


def _require(check: Check, program: str) -> str:
    found = find_program(*((program,) if program else check.programs))
    if found is not None:
        return found
    name = program or check.programs[0]
    how = f"install it (Debian: apt-get install {check.package})" if check.package else "install it"
    raise BackendUnavailable(f"--check: the program {name} is missing; {how}, or pass its path with --program")
