"""Compares two configurations setting by setting, without a secret in what it shows."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from typing import cast

from compat_auth.cli.doctor.redaction import HIDDEN, Redaction, is_secretly_named
from compat_auth.cli.settings.toml_text import quoted, toml, toml_key
from compat_auth.config import Settings

_Leaf = tuple[tuple[str, ...], object]
_MARK = "  # changed"


def difference(before: str, after: str, file: str) -> str:
    """Return a line for each setting that changes; empty if none does.

    A secret is shown as `(hidden)`, and a new value of it is marked as changed.

    Args:
        before: The file as it is; need not be TOML.
        after: The new file.
        file: Its name.
    """
    try:
        old = {_name(keys): (keys, value) for keys, value in _leaves(tomllib.loads(before))}
    except (tomllib.TOMLDecodeError, RecursionError):
        return f"{file}: it differs, and is not TOML, so that no setting can be compared\n"
    new = {_name(keys): (keys, value) for keys, value in _leaves(tomllib.loads(after))}
    lines = [f"{name} = {_shown(*leaf)}\n" for name, leaf in old.items()]
    others = [
        f"{name} = {_shown(*leaf)}{_MARK if _changes_unseen(old.get(name), leaf) else ''}\n"
        for name, leaf in new.items()
    ]
    return "".join(difflib.unified_diff(lines, others, file, f"{file} (new)"))


def _leaves(value: object, keys: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    if isinstance(value, dict) and value:
        for key, one in cast("dict[str, object]", value).items():
            yield from _leaves(one, (*keys, key))
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in cast("list[object]", value)):
        for number, one in enumerate(cast("list[object]", value)):
            yield from _leaves(one, (*keys, str(number)))
    elif keys:
        yield keys, value


def _name(keys: tuple[str, ...]) -> str:
    return ".".join(toml_key(key) for key in keys)


def _changes_unseen(old: _Leaf | None, new: _Leaf) -> bool:
    return old is not None and old[1] != new[1] and _shown(*old) == _shown(*new)


def _is_secret(keys: tuple[str, ...], value: object) -> bool:
    if isinstance(value, bool):
        return False
    if keys[0] == "backends" or any("://" in str(one) for one in _texts(value)):
        return True
    # The names of our own sections say nothing of a single setting in them, such as [token] strategy.
    told = keys[1:] if len(keys) > 1 and keys[0] in Settings.model_fields else keys
    return any(is_secretly_named(key) for key in told)


def _texts(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [value]


def _shown(keys: tuple[str, ...], value: object) -> str:
    redaction = Redaction(iter([]))
    if _is_secret(keys, value):
        return quoted(HIDDEN)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list):
        return toml([redaction.clean(one) if isinstance(one, str) else one for one in cast("list[object]", value)])
    return toml(redaction.clean(value) if isinstance(value, str) else value)
