"""Values and keys as TOML."""

from __future__ import annotations

import json
from typing import cast

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def toml(value: object) -> str:
    """Return a value as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in cast("list[object]", value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else quoted(str(value))


def quoted(text: str) -> str:
    """Return a basic string of TOML; what JSON escapes TOML escapes alike, but for U+007F."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(name: str) -> str:
    """Return a key of TOML, in quotes where it needs them."""
    return name if name and _BARE.issuperset(name) else quoted(name)
