"""Describes each setting: type, bounds, default, variable and description, as the models state them."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from compat_auth.config import ENV_PREFIX, Settings
from compat_auth.config.fields import read_tables

_WORDS: dict[object, str] = {
    bool: "true or false",
    str: "text",
    int: "whole number",
    float: "number",
    SecretStr: "text, secret",
    object: "such values",
}
_BOUNDS = {"gt": "above", "ge": "at least", "le": "at most", "lt": "below"}
_IN_TABLES = "Only in the file: the environment cannot spell a list of tables."


@dataclass(frozen=True, slots=True)
class Described:
    """One setting.

    Attributes:
        path: Section and key; only the key outside any section.
        kind: The type and its bounds, in words.
        default: In TOML and in JSON alike; empty for a setting that must be given.
        description: A sentence.
        environment: How the environment sets it, in a sentence.
        is_table: Whether the value is a TOML table with keys of the site's own.
    """

    path: tuple[str, ...]
    kind: str
    default: str
    description: str
    environment: str
    is_table: bool

    @property
    def name(self) -> str:
        """The dotted name."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Group:
    """The settings that are in one table of the file.

    Attributes:
        name: The name of the table; empty outside any section.
        description: What the table is for.
        is_repeated: Whether the file may have several, as `[[name]]`.
        settings: In the order of the model.
    """

    name: str
    description: str
    is_repeated: bool
    settings: tuple[Described, ...]

    @property
    def heading(self) -> str:
        """The name, as the file has it."""
        return f"[[{self.name}]]" if self.is_repeated else f"[{self.name}]"


def described() -> Iterator[Group]:
    """Yield all settings, group by group; first those outside any section."""
    fields = Settings.model_fields
    plain = {name: field for name, field in fields.items() if not (_section_of(field) or _tables_of(field))}
    yield Group("", "", is_repeated=False, settings=tuple(_setting((name,), field) for name, field in plain.items()))
    for name, field in fields.items():
        section, tables = _section_of(field), _tables_of(field)
        if section:
            yield from _section(name, section)
        elif tables:
            in_json = any(getattr(rule, "func", None) is read_tables for rule in field.metadata)
            yield _repeated((name,), field, tables, _in_json(name) if in_json else _IN_TABLES)


def _section(name: str, section: type[BaseModel]) -> Iterator[Group]:
    """Yield a section, then the tables in it."""
    fields = section.model_fields
    plain = [_setting((name, key), field) for key, field in fields.items() if not _tables_of(field)]
    yield Group(name, inspect.getdoc(section) or "", is_repeated=False, settings=tuple(plain))
    for key, field in fields.items():
        tables = _tables_of(field)
        if tables:
            yield _repeated((name, key), field, tables, _in_json(f"{name}__{key}"))


def _repeated(path: tuple[str, ...], field: FieldInfo, tables: type[BaseModel], environment: str) -> Group:
    settings = [_setting((*path, key), inner, environment) for key, inner in tables.model_fields.items()]
    return Group(".".join(path), field.description or "", is_repeated=True, settings=tuple(settings))


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section, or None for a plain setting."""
    return _as_model(field.annotation)


def _tables_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section that may be there several times, or None."""
    kinds = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is list else ()
    return _as_model(kinds[0]) if kinds else None


def _as_model(kind: object) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _setting(path: tuple[str, ...], field: FieldInfo, environment: str = "") -> Described:
    return Described(
        path,
        _type_in_words(field),
        "" if field.is_required() else json.dumps(_plain(field.get_default(call_default_factory=True))),
        field.description or "",
        environment or _variable(path, field),
        is_table=typing.get_origin(field.annotation) is dict,
    )


def _plain(default: object) -> object:
    return default.get_secret_value() if isinstance(default, SecretStr) else default


def _in_json(variable: str) -> str:
    return f"In the environment: in `{ENV_PREFIX}{variable.upper()}`, a JSON list of objects."


def _variable(path: tuple[str, ...], field: FieldInfo) -> str:
    name = ENV_PREFIX + "__".join(path).upper()
    if typing.get_origin(field.annotation) is dict:
        return f"In the environment: one variable for each entry, such as `{name}__ENTRY`; names become lower case."
    if typing.get_origin(field.annotation) is list:
        return f"In the environment: `{name}`, separated by commas."
    if field.annotation is SecretStr:
        return f"In the environment: `{name}`, or `{name}_FILE` with the path of a file that holds it."
    return f"In the environment: `{name}`."


def _type_in_words(field: FieldInfo) -> str:
    bounds = [
        f"{word} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, word in _BOUNDS.items()
        if hasattr(rule, name)
    ]
    return ", ".join([_words(field.annotation), *bounds])


def _words(kind: object) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _words(arguments[0])
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{json.dumps(choice)}`" for choice in arguments)
    if origin is list:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return "table" if typing.get_origin(arguments[1]) is dict else f"table of {_words(arguments[1])}"
    if arguments:
        return " or ".join(_words(one) for one in arguments)
    return _WORDS[kind]
