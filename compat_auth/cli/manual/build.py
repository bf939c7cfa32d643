"""`compat-auth --version`: the version, and the git revision that the program was built from, where it is known."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import click

from compat_auth import __version__

_CHECKOUT = Path(__file__).resolve().parents[3]
# `git archive` writes the revision into this file (.gitattributes); in a checkout it holds the placeholder.
_FILE = Path(__file__).with_name("revision.txt")
_SHOWN = 12
_GIT_S = 5


def revision(file: Path = _FILE, checkout: Path = _CHECKOUT) -> str:
    """Return the first 12 hex digits of the git revision; "" where it is unknown.

    Args:
        file: Holds the revision in a release, and a placeholder in a checkout.
        checkout: The folder that git is asked about if the file does not know.
    """
    try:
        written = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        written = ""
    if not re.fullmatch("[0-9a-f]{12,64}", written):
        written = _asked(checkout)
    return written[:_SHOWN]


def _asked(checkout: Path) -> str:
    """Return the revision of a checkout; not of another repository that the program is installed in."""
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_S)  # noqa: S603  # our own words
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version_line() -> str:
    """Return the line that `--version` prints."""
    build = revision()
    about = f"build {build}, " if build else ""
    return f"compat-auth, version {__version__} ({about}Python {platform.python_version()})"


def print_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    """Print the version and end, if the option is given."""
    if is_asked and not ctx.resilient_parsing:
        click.echo(version_line())
        ctx.exit()
