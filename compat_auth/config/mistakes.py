"""Explain a wrong value in the settings: where, what, and the next step."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from compat_auth.config.settings import Settings


def explain_error(origin: str, error: Any, prefix: str, variables: Container[str]) -> str:
    """Return one line about a mistake: where, what, and the next step.

    Args:
        origin: The file, for the message.
        error: As pydantic lists it.
        prefix: Prefix of the variables for the same keys.
        variables: Names of the variables that are set: a value from one of these is not in the file.
    """
    path = [str(part) for part in error["loc"]]
    variable = _variable_of(path, prefix, variables)
    key = ".".join(path)
    where = f"{key} (${variable})" if variable else f"{origin}: {key} (or ${prefix}{'__'.join(path).upper()})"
    if error["type"] == "extra_forbidden":
        return f"{where}: no such setting; {_hint(path)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if "; " in message else f"{where}: {message}; {_next_step(path, error)}"


def section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section, or None where the name is not a section."""
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return None


def _tables_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the model of a section that may be repeated, or None."""
    kind = model.model_fields[name].annotation if name in model.model_fields else None
    (inner,) = get_args(kind) if get_origin(kind) is list else (None,)
    return inner if isinstance(inner, type) and get_origin(inner) is None and issubclass(inner, BaseModel) else None


def _variable_of(path: list[str], prefix: str, variables: Container[str]) -> str:
    """Return the variable that sets a key, or the list or section around it; "" where none does."""
    for length in range(len(path), 0, -1):
        name = prefix + "__".join(path[:length]).upper()
        for found in (name, f"{name}_FILE"):
            if found in variables:
                return found
    return ""


def _hint(path: list[str]) -> str:
    known = _known_keys(path[:-1])
    if near := difflib.get_close_matches(path[-1], known, n=1):
        return f"did you mean {near[0]!r}?"
    homes = [name for name in Settings.model_fields if path[-1] in _known_keys([name])]
    if homes:
        return f"it belongs in {' or '.join(f'[{name}]' for name in homes)}"
    if len(path) > 1 and path[-1] in Settings.model_fields:
        return "it belongs at the top of the file, before the first section"
    return f"known here: {', '.join(known)}"


def _next_step(path: list[str], error: Any) -> str:
    if error["type"] == "literal_error":
        choices: list[str] = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
        near = difflib.get_close_matches(str(error["input"]), choices, n=1)
        return f"did you mean {near[0]!r}?" if near else "write one of these"
    if description := _description_of(path):
        return f"correct it: {description}"
    return "correct it, or remove it for the default"


def _description_of(path: list[str]) -> str:
    model: type[BaseModel] = Settings
    description = ""
    for name in path:
        if name not in model.model_fields:
            continue  # the index of a list's element, or of a table
        description = model.model_fields[name].description or ""
        model = section_of(model, name) or _tables_of(model, name) or model
    return description


def _known_keys(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for section in path:
        if section.isdigit():  # the index of a table
            continue
        inner = section_of(model, section) or _tables_of(model, section)
        if inner is None:
            return []
        model = inner
    return sorted(model.model_fields)
