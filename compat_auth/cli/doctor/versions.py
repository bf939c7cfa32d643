"""The versions of the program, of Python, and of the packages that the configuration uses."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from compat_auth import __version__
from compat_auth.cli.doctor.result import Result

_PACKAGES = (
    "aiohttp", "cryptography", "flask", "gssapi", "psycopg", "pyjwt", "pymysql", "python-ldap", "redis", "sqlalchemy",
    "uvicorn", "werkzeug",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions by name; a package that is not installed is missing."""
    found = {"compat_auth": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def examine_versions() -> Result:
    """Return the versions as one result; a warning if the installed package differs from the running program."""
    found = versions()
    text = ", ".join(f"{name} {version}" for name, version in found.items() if name != "platform")
    installed = metadata.version("compat_auth")
    if installed != __version__:
        return Result(
            "versions",
            "warning",
            f"the program is {__version__}, and the installed package says {installed}",
            sys.prefix,
            "install it again, and restart what runs",
        )
    return Result.okay("versions", text, sys.prefix)
