"""No line that we publish installs compat_auth from an index where it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("compat_auth", "backends", "docs", "tests", "changes", ".ci", ".github")
SUFFIXES = frozenset({".py", ".md", ".toml", ".yml", ".yaml", ".html", ".txt", ".sh"})
# A name and extras that no path comes before; with a path it is a checkout or a wheel file.
_BARE = r"""(?<![\w/.-])compat[-_.]auth"""
# Each a command in its own words, up to the end of its line.
_COMMANDS = re.compile(
    rf"\b(?:pip3?|pipx|uv)\s+(?:(?:pip|tool)\s+)?(?:install|add|inject)\b[^\n`&|#]*?{_BARE}(?=[\[\s'\"`<>=~,;)]|$)"
    rf"|\b(?:uvx|pipx run)\s+(?:--from\s+)?['\"]?{_BARE}\b",
    re.IGNORECASE | re.MULTILINE,
)
# With extras after it, it is a requirement; the tag of a line in syslog has a number there.
_REQUIREMENT = re.compile(rf"{_BARE}\[[a-z]", re.IGNORECASE)


def find_index_lines(text: str) -> list[str]:
    """Return what names compat_auth as a package of an index."""
    return [found.group() for pattern in (_COMMANDS, _REQUIREMENT) for found in pattern.finditer(text)]


def published_files() -> list[Path]:
    """Return every text that a user may read."""
    below = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.suffix in SUFFIXES]
    return [
        path
        for path in [*ROOT.glob("*.md"), *below]
        if path.is_file() and "_build" not in path.parts and path != Path(__file__)
    ]


@pytest.mark.parametrize(
    "line",
    [
        "pip install compat_auth",
        "pip install --upgrade 'compat_auth[ldap]'",
        "python -m pip install compat-auth",
        "uv tool install compat-auth",
        "uv pip install 'compat_auth>=0.1'",
        "uv add compat_auth",
        "pipx install compat_auth",
        "pipx run compat_auth",
        "uvx compat-auth",
        "uvx --from compat_auth compat-auth",
        "It takes the package `compat_auth[kerberos]`.",
    ],
)
def test_a_line_that_asks_an_index_is_found(line: str) -> None:
    found = find_index_lines(f"Before.\n{line}\nAfter.")

    assert found != []


@pytest.mark.parametrize(
    "line",
    [
        "pip install .  # the command compat-auth",
        "pip install '.[kerberos]'",
        "pip install /path/to/compat_auth",
        "pip install '/path/to/compat_auth[ldap]'",
        "pip install './compat_auth-0.1.0-py3-none-any.whl[ldap]'",
        "uv tool install . && compat-auth serve",
        "pip install google-auth",
        "pip could not install compat_auth into .venv",
        "compat-auth[4711]: {",
        'f"compat-auth[{os.getpid()}]: "',
    ],
)
def test_a_line_that_works_today_is_not_found(line: str) -> None:
    found = find_index_lines(f"Before.\n{line}\nAfter.")

    assert found == []


def test_no_published_line_installs_from_an_index() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for path in published_files()
        if (lines := find_index_lines(path.read_text(encoding="utf-8", errors="replace")))
    }

    assert found == {}
