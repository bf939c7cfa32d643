"""Finds addresses of `/api/v1` in a script, however the language spells variables, and translates them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from compat_auth.airflow.v1.catalog import OPERATIONS
from compat_auth.airflow.v1.operation import Operation
from compat_auth.cli.scripts.change import Change
from compat_auth.cli.scripts.language import Language
from compat_auth.cli.scripts.lines import Lines

# `{{ x }}` of Jinja, `${x}` of shells and Terraform, `{x}` of Python, `<x>` of documentation, or plain text. The limits
# keep the search linear when a brace is never closed.
_SEGMENT = (
    r"""(?:\{\{.{0,200}?\}\}|\$\{[^}\n]{0,200}\}|\$\([^)\n]{0,200}\)|\{[^{}\n]{0,200}\}|<\w+>|"""
    r"""[^\s/?#'"`(){}<>,;|&\\])+"""
)
_ADDRESS = re.compile(
    rf"(?:(?<![\w.-])(?P<slash>/?)|(?<=[\w\]}})])(?P<after_host>/))api/v1(?![\w-]|\.\w)"
    rf"(?P<rest>(?:/{_SEGMENT})*)(?P<end>/?)(?P<query>\?[^\s'\"`)]*)?"
)
_EXPERIMENTAL = re.compile(r"api/experimental\b[^\s'\"`]*")
_METHOD = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)\b|\.(get|post|put|patch|delete)\(", re.IGNORECASE)
# A slash at the end of a text in quotes, and what languages write between two texts that they join.
_OPEN_END = re.compile(r"[^\s),;\]>|&]")
_NEXT_TO_IT = r"""(?:\\?["'`]){1,3}[\w${/]|[{($]|\\\r?\n[^\s]"""
_OPERATOR = r"""(?:\\?["'`]){1,3}[ \t\r\n]{0,99}(?:\+|~|<>|\.\.|\.(?!format\()(?=[ \t]{0,9}[\w$"'(.]))"""
_GOES_ON_IN_SHELL = re.compile(_NEXT_TO_IT)
_GOES_ON = re.compile(f"{_NEXT_TO_IT}|{_OPERATOR}")
_ANOTHER_STRING = re.compile(r"""["']{1,3}[\s\\]{0,99}[frbuFRBU]{0,2}["']""")
_PLACEHOLDER = re.compile(r"[$%{<*]")
_NEW_RUN = "v2 wants logical_date in the body (null is allowed), and has no execution_date; the gateway's /api/v1 adds it for you"
_NOTES = {"post_dag_run": _NEW_RUN}
_BASE_ONLY = "only the base address; the paths that are added to it elsewhere have to be looked at"
_JOINED = "the script adds to this address, and the new address depends on the whole path"
_FIRST = frozenset(operation.path.strip("/").partition("/")[0] for operation in OPERATIONS)
# Other products have `/api/v1/users` or `/api/v1/health` too; these are Airflow's alone.
_OWN = frozenset(
    ("dags", "dagSources", "dagStats", "dagWarnings", "eventLogs", "importErrors", "parseDagFile", "pools")
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the old API in a script.

    Attributes:
        change: What replaces it.
        may_be_airflow: Whether it may be Airflow's; False if its first segment is that of another product.
        is_airflow: Whether it has a new address and can only be Airflow's, so that a token may be sent to it.
    """

    change: Change
    may_be_airflow: bool
    is_airflow: bool


def between(addresses: list[Address], begin: int, end: int) -> list[Address]:
    """Return the addresses that begin between two places; the list has to be in order."""
    first = bisect_left(addresses, begin, key=lambda one: one.change.begin)
    return addresses[first : bisect_left(addresses, end, key=lambda one: one.change.begin)]


def old_paths(lines: Lines, language: Language) -> Iterator[Address]:
    """Yield each address of the old API in a text."""
    text = lines.text
    methods: dict[int, set[str]] = {}
    for match in _ADDRESS.finditer(text):
        begin, end = lines.joined_at(match.start())
        if begin not in methods:
            methods[begin] = {method.upper() for pair in _METHOD.findall(text[begin:end]) for method in pair if method}
        segments = [segment for segment in match["rest"].split("/") if segment]
        new, note = _translated(match["rest"], match["query"] or "", frozenset(methods[begin]))
        if new is not None and not (match["slash"] or match["after_host"]):
            new = new.lstrip("/")
        change = Change(*match.span(), new, note)
        if segments and segments[0] in _FIRST and _goes_on(match, language):
            is_named = change.text is None and text.startswith("/", match.end())
            change = replace(change, text=None, note=change.note if is_named else _JOINED)
        may_be = not segments or segments[0] in _FIRST or _PLACEHOLDER.search(segments[0]) is not None
        is_airflow = change.text is not None and segments[0] in _OWN
        yield Address(change, may_be_airflow=may_be, is_airflow=is_airflow)
    for match in _EXPERIMENTAL.finditer(text):
        change = Change(*match.span(), None, "the experimental API of 1.10 is gone; call /api/v2")
        yield Address(change, may_be_airflow=True, is_airflow=False)


def _goes_on(match: re.Match[str], language: Language) -> bool:
    """Return whether the script adds something to an address, so that the whole path is not known."""
    text, end = match.string, match.end()
    if match["end"] and not match["query"] and _OPEN_END.match(text, end):
        return True
    if language is Language.PYTHON and _ANOTHER_STRING.match(text, end):
        return True
    pattern = _GOES_ON_IN_SHELL if language is Language.SHELL else _GOES_ON
    return pattern.match(text, end) is not None


@lru_cache(maxsize=4096)
def _translated(rest: str, query: str, methods: frozenset[str]) -> tuple[str | None, str]:
    """Return the new address, None if only a person can tell it, and what to say about it."""
    segments = [segment for segment in rest.split("/") if segment]
    if not segments:
        return None, _BASE_ONLY
    if segments[0] in ("ui", "openapi.json", "openapi.yaml"):
        return None, "a page of the old API; that of the new one is at /docs"
    operations = [operation for operation in OPERATIONS if _fits(operation, segments)]
    exact = [operation for operation in operations if _literals(operation) == max(map(_literals, operations))]
    narrowed = [operation for operation in exact if operation.method in methods] if len(methods) == 1 else exact
    if not narrowed:
        known = "no such operation" if not exact else f"{next(iter(methods))} is not an operation of this address"
        return None, f"{known} of Airflow 2's /api/v1"
    reasons = [reason for operation in narrowed if (reason := _reason(operation))]
    addresses: set[str] = set() if reasons else {_new_address(operation, segments) for operation in narrowed}
    if len(addresses) != 1:
        return None, reasons[0] if reasons else "the new address depends on the method"
    (address,) = addresses
    # What follows a POST of runs is not in this line, as a rule.
    note = next(
        (_NOTES[operation.name] for operation in narrowed if operation.name in _NOTES and len(narrowed) == 1), ""
    )
    return address + _query(query, narrowed[0]), note


def _fits(operation: Operation, segments: list[str]) -> bool:
    parts = operation.path.strip("/").split("/")
    if parts[-1] == "{uri}" and len(segments) >= len(parts):
        segments = [*segments[: len(parts) - 1], "/".join(segments[len(parts) - 1 :])]
    return len(parts) == len(segments) and all(
        part.startswith("{") or part == segment for part, segment in zip(parts, segments, strict=True)
    )


def _literals(operation: Operation) -> int:
    """Return how much of a path is fixed: the fixed path counts before one with a variable in the same place."""
    return sum(not part.startswith("{") for part in operation.path.split("/"))


def _reason(operation: Operation) -> str:
    method, _, path = operation.to.partition(" ")
    if method != operation.method:
        return f"{operation.method} becomes {operation.to}, with another body"
    missing = set(re.findall(r"\{(\w+)\}", path)) - set(re.findall(r"\{(\w+)\}", operation.path))
    if missing:
        return f"the new address has {', '.join(sorted(missing))}, which the old one does not: {operation.to}"
    if operation.path.endswith("{uri}") or (operation.name.startswith("get_dag_source")):
        return f"the new API finds it in another way: {operation.to}"
    return ""


def _new_address(operation: Operation, segments: list[str]) -> str:
    parts = operation.path.strip("/").split("/")
    values = {part.strip("{}"): one for part, one in zip(parts, segments, strict=False) if part.startswith("{")}
    # The names in the template may be those of the script's own variables: all are replaced in one pass.
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], operation.to.partition(" ")[2])


def _query(query: str, operation: Operation) -> str:
    names = {parameter.name: parameter.to for parameter in operation.query if parameter.to}
    return re.sub(r"(?<=[?&])(\w+)(?==)", lambda match: names.get(match[1], match[1]), query)
