"""Writes a translation as TOML, with a comment for each setting and a list of those that are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from compat_auth.cli.migration.found import Fate
from compat_auth.cli.migration.translation import Translation, Value
from compat_auth.cli.settings.toml_text import toml, toml_key

_FIRST = ("", "upstream", "token", "basic_auth")


def text_of(translation: Translation) -> str:
    """Return the file; it has the site's secrets in it."""
    return "\n".join([*_lines(translation), ""])


def _lines(translation: Translation) -> Iterator[str]:
    yield "# Written by `compat-auth import` from the configuration of an Airflow 2."
    others = [name for name in translation.sections if name not in _FIRST]
    for section in (*_FIRST, *others):
        settings = translation.sections.get(section)
        if settings:
            yield ""
            if section:
                yield f"[{section}]"
            yield from _settings(section, settings)
    yield from _left_out(translation)


def _settings(section: str, settings: Mapping[str, Value]) -> Iterator[str]:
    tables = {key: one for key, one in settings.items() if isinstance(one.value, dict)}
    for key, one in settings.items():
        if key not in tables:
            yield f"# {_one_line(one.comment)}"
            yield f"{key} = {toml(one.value)}"
    for key, one in tables.items():
        yield ""
        yield f"# {_one_line(one.comment)}"
        yield f"[{section}.{key}]"
        for name, value in cast("dict[str, object]", one.value).items():
            yield f"{toml_key(name)} = {toml(value)}"


def _left_out(translation: Translation) -> Iterator[str]:
    for fate in (Fate.IMPOSSIBLE, Fate.UNNEEDED):
        treatments = [treatment for treatment in translation.treatments if treatment.fate is fate]
        if treatments:
            yield ""
            yield f"# {fate.capitalize()}:"
            yield from (f"#   {_one_line(f'{one.found.name} ({one.found.place}): {one.why}')}" for one in treatments)


def _one_line(text: str) -> str:
    """Return a text that stays a comment, whatever is in it."""
    return "".join(character if character.isprintable() else " " for character in text)
