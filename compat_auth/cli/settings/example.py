"""A file with every setting as a comment: remove the `#` before a line to set it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from compat_auth.cli.settings.described import Described, Group, described

_WIDTH = 118
_BEGINNING = """\
# Every setting of compat_auth with its default. To set one, remove the `#` before its line and before the name of its
# section. Save the file as compat_auth.toml, or name it with --config, and readable only by the gateway's user if there
# is a secret in it. `compat-auth check` says what is wrong.
#
# `compat-auth settings NAME` says how the environment sets it.
"""


def example_text() -> str:
    """Return the file, as TOML that has only comments."""
    return _BEGINNING + "".join(line + "\n" for group in described() for line in _group(group))


def _group(group: Group) -> Iterator[str]:
    if group.name:
        yield ""
        yield ""
        yield from _comment(group.description)
        yield f"#{group.heading}"
    for setting in group.settings:
        yield ""
        yield from _comment(f"{setting.description} ({setting.kind.replace('`', '')})")
        yield f"#{setting.path[-1]} = {_value(setting)}"


def _value(setting: Described) -> str:
    return setting.default or '""  # must be set'


def _comment(text: str) -> list[str]:
    return [
        line
        for paragraph in text.split("\n\n")
        for line in textwrap.wrap(" ".join(paragraph.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ")
    ]
