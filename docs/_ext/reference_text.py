"""The parts of the reference that are made from the code, as MyST Markdown. No Sphinx: tests read it, too."""

import inspect
import json
import re
import typing
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from compat_auth import errors
from compat_auth.airflow.v1.catalog import OPERATIONS
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
# A line of the drawn tree: the name, then what is said, then (after two blanks) status and exit code.
_BRANCH = re.compile(r"[├└]── (\w+)(?: {2,}(\S.*?)(?= {2,}|$))?", re.MULTILINE)
_ACTORS = {
    "an operator": "an operator",
    "the caller": "the caller",
    "whoever runs a client": "the user of the client",
    "the user of a client": "the user of the client",
    "nobody": "nobody",
    "nothing helps": "nobody",
}
_IN_TABLES = "Only in the file: the environment cannot spell a list of tables."
_BOUNDS = {"gt": "above", "ge": "at least", "le": "at most", "lt": "below"}


def settings_text() -> str:
    """Return every setting: type, default, variable, description; one heading for each section."""
    parts = ["## Outside any section\n"]
    fields = Settings.model_fields
    parts += [_setting((name,), field) for name, field in fields.items() if not (section_of(field) or tables_of(field))]
    for name, field in fields.items():
        section, tables = section_of(field), tables_of(field)
        if section:
            parts.append(f"## `[{name}]`\n\n{inspect.getdoc(section)}\n")
            parts += _section_text(name, section)
        elif tables:
            parts.append(f"## `[[{name}]]`\n\n{field.description}\n")
            in_json = any(getattr(rule, "func", None) is read_tables for rule in field.metadata)
            how_else = _in_json(name) if in_json else _IN_TABLES
            parts += [_setting((name, key), inner, how_else) for key, inner in tables.model_fields.items()]
    return "\n".join(parts)


def _section_text(name: str, section: type[BaseModel]) -> list[str]:
    """Return the settings of a section, then those of the tables in it."""
    plain = {key: field for key, field in section.model_fields.items() if not tables_of(field)}
    parts = [_setting((name, key), field) for key, field in plain.items()]
    for key, field in section.model_fields.items():
        tables = tables_of(field)
        if tables:
            parts.append(f"### `[[{name}.{key}]]`\n\n{field.description}\n")
            how_else = _in_json(f"{name}__{key}")
            parts += [_setting((name, key, inner), of, how_else) for inner, of in tables.model_fields.items()]
    return parts


def errors_text() -> str:
    """Return a table of every error: who acts, HTTP status, exit code, and when to try again."""
    lines = [
        "| Error | Who acts | HTTP status | Exit code | Retry-After (s) |",
        "|---|---|---|---|---|",
    ]
    for error in error_classes():
        retry = "" if error.retry_after_s is None else str(error.retry_after_s)
        name = f"{{py:exc}}`~compat_auth.errors.{error.__name__}`"
        cells = (name, who_acts(errors.__doc__ or "", error), error.status, error.exit_code, retry)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def who_acts(tree: str, error: type[errors.CompatAuthError]) -> str:
    """Return who acts on an error as the drawn tree says it; "..." and nothing mean: as in the line it hangs on."""
    said = dict(_BRANCH.findall(tree)).get(error.__name__, "").strip()
    if said and not said.startswith("..."):
        return next((actor for words, actor in _ACTORS.items() if said.startswith(words)), said)
    parent = error.__base__
    return who_acts(tree, parent) if parent is not None and issubclass(parent, errors.CompatAuthError) else ""


def error_classes() -> list[type[errors.CompatAuthError]]:
    """Return every error of ours, each below what it derives from."""
    public = [getattr(errors, name) for name in errors.__all__]
    found = [errors.CompatAuthError]
    for error in found:
        # The list grows while it is walked: children stand right behind their parent.
        place = found.index(error) + 1
        found[place:place] = error.__subclasses__()
    return [error for error in found if error in public]


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section, or None for a plain setting."""
    return _as_model(field.annotation)


def tables_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a section that may be there several times, or None."""
    kinds = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is list else ()
    return _as_model(kinds[0]) if kinds else None


def _as_model(kind: object) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def airflow_v1_text() -> str:
    """Return a table of the operations of `/api/v1`, and what each is made of."""
    lines = ["| Operation | `/api/v1` | Airflow 3 |", "|---|---|---|"]
    for operation in OPERATIONS:
        more = "" if operation.code is None else ", and what else it takes"
        who = " (FAB only)" if operation.fab else " (everybody)" if operation.public else ""
        lines.append(f"| `{operation.name}`{who} | `{operation.method} {operation.path}` | `{operation.to}`{more} |")
    return "\n".join(lines)


PARTS = {"settings": settings_text, "errors": errors_text, "airflow-v1": airflow_v1_text}


def fill_in(source: str) -> str:
    """Return a page's Markdown with each `<!-- generated: NAME -->` replaced by what the code says."""
    for name, make in PARTS.items():
        marker = f"<!-- generated: {name} -->"
        if marker in source:
            source = source.replace(marker, make())
    return source


def read_page(path: Path) -> str:
    """Return a page's Markdown as Sphinx reads it."""
    return fill_in(path.read_text(encoding="utf-8"))


def _in_json(variable: str) -> str:
    return f"In the environment: in `{ENV_PREFIX}{variable.upper()}`, a JSON list of objects."


def _setting(path: tuple[str, ...], field: FieldInfo, how_else: str = "") -> str:
    default = (
        "none; must be set" if field.is_required() else json.dumps(_plain(field.get_default(call_default_factory=True)))
    )
    return (
        f"```{{confval}} {'.'.join(path)}\n:type: {_type_in_words(field)}\n:default: `{default}`\n\n"
        f"{field.description}\n\n{how_else or _variable(path, field)}\n```\n"
    )


def _plain(default: object) -> object:
    return default.get_secret_value() if isinstance(default, SecretStr) else default


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
