"""Finds addresses of `/api/v1` in a line, however the language spells variables, and translates them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compat_auth.airflow.v1.catalog import OPERATIONS
from compat_auth.airflow.v1.operation import Operation
from compat_auth.cli.scripts.change import Change

# `{{ x }}` of Jinja, `${x}` of shells and Terraform, `{x}` of Python, `<x>` of documentation, or plain text.
_SEGMENT = r"""(?:\{\{.*?\}\}|\$\{[^}]*\}|\$\([^)]*\)|\{[^{}]*\}|<\w+>|[^\s/?#'"`(){}<>,;|&\\])+"""
_ADDRESS = re.compile(rf"(?<![\w.-])(?P<slash>/?)api/v1(?P<rest>(?:/{_SEGMENT})*)(?P<end>/?)(?P<query>\?[^\s'\"`)]*)?")
_AFTER_HOST = re.compile(
    rf"(?<=[\w\]}})])(?P<slash>/)api/v1(?P<rest>(?:/{_SEGMENT})*)(?P<end>/?)(?P<query>\?[^\s'\"`)]*)?"
)
_METHOD = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)\b|\.(get|post|put|patch|delete)\(", re.IGNORECASE)
_NEW_RUN = "v2 wants logical_date in the body (null is allowed), and has no execution_date; the gateway's /api/v1 adds it for you"
_NOTES = {"post_dag_run": _NEW_RUN}
_BASE_ONLY = "only the base address; the paths that are added to it elsewhere have to be looked at"


def old_paths(line: str) -> Iterator[Change]:
    """Yield a change for each address of the old API in a line."""
    found = {match.start(): match for pattern in (_ADDRESS, _AFTER_HOST) for match in pattern.finditer(line)}
    for begin in sorted(found):
        yield _translated(found[begin], line)
    for match in re.finditer(r"api/experimental\b[^\s'\"`]*", line):
        yield Change(match.start(), match.end(), None, "the experimental API of 1.10 is gone; call /api/v2")


def _translated(match: re.Match[str], line: str) -> Change:
    segments = [segment for segment in match["rest"].split("/") if segment] if match["rest"] else []
    begin, end = match.span()
    if not segments:
        return Change(begin, end, None, _BASE_ONLY)
    if segments[0] in ("ui", "openapi.json", "openapi.yaml"):
        return Change(begin, end, None, "a page of the old API; that of the new one is at /docs")
    operations = [operation for operation in OPERATIONS if _fits(operation, segments)]
    exact = [operation for operation in operations if _literals(operation) == max(map(_literals, operations))]
    methods = {method.upper() for pair in _METHOD.findall(line) for method in pair if method}
    narrowed = [operation for operation in exact if operation.method in methods] if len(methods) == 1 else exact
    if not narrowed:
        known = "no such operation" if not exact else f"{next(iter(methods))} is not an operation of this address"
        return Change(begin, end, None, f"{known} of Airflow 2's /api/v1")
    reasons = [reason for operation in narrowed if (reason := _reason(operation))]
    addresses: set[str] = set() if reasons else {_new_address(operation, segments) for operation in narrowed}
    if len(addresses) != 1:
        return Change(begin, end, None, reasons[0] if reasons else "the new address depends on the method")
    (address,) = addresses
    text = (address if match["slash"] else address.lstrip("/")) + _query(match["query"] or "", narrowed[0])
    # What follows a POST of runs is not in this line, as a rule.
    note = next(
        (_NOTES[operation.name] for operation in narrowed if operation.name in _NOTES and len(narrowed) == 1), ""
    )
    return Change(begin, end, text, note)


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
