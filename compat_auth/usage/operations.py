"""The operation of a request, spelt as the narrowest scope that covers it and that names no object of a user. No I/O.

`GET /api/v2/dags/{dag_id}` is one template of Airflow's API. `GET /api/v2/dags/{dag_id}/` is something below it that no
template describes, and `GET /` any other path. So the number of operations is bounded, and a list of operations
is a list of scopes, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import OPERATIONS
from compat_auth.http.paths import AIRFLOW_RESTS
from compat_auth.scopes import ALL, parse_scope

LANE: Final = "lane"
"""A front proxy asked about a credential: one second in which that was used, and not one request."""
FOLDED: Final = "other"
"""Requests that were counted without their details."""
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_FURTHER: Final = (("POST", "/auth/token"), ("POST", "/auth/token/cli"))
_WORD = re.compile(r"[a-z][a-z_-]{0,23}\Z")
_MAX_WORDS: Final = 64
_words: set[str] = set()


class _Node:
    __slots__ = ("children", "methods", "parameter", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.methods: set[str] = set()

    def below(self, segment: str) -> _Node:
        """Return the node of a segment of a template."""
        path = f"{self.path}/{segment}"
        if not segment.startswith("{"):
            return self.children.setdefault(segment, _Node(path))
        if self.parameter is None:
            # Templates differ in the names of parameters at the same place; the first name stands for all.
            self.parameter = _Node(path)
        return self.parameter


def _grow() -> _Node:
    root = _Node("")
    templates = [(one.method, (*one.base.split("/")[1:], *one.segments)) for one in OPERATIONS]
    templates += [(method, tuple(path.split("/")[1:])) for method, path in _FURTHER]
    for method, segments in templates:
        node = root
        for segment in segments:
            node = node.below(segment)
        node.methods.add(method)
    return root


_ROOT = _grow()
_narrowest: dict[tuple[str, str], str] = {}


def operation_of(method: str, path: str) -> str:
    """Return the operation of a known user's request.

    Args:
        method: Upper case.
        path: Canonical path, without the query.

    Returns:
        A scope that covers the request, whatever its body names; see the module. `all` for a method that scopes do not
        know.
    """
    if method not in _METHODS:
        return ALL
    trimmed = path.rstrip("/")
    if ("%2" in path and "%2F" in path.upper()) or (trimmed != path and AIRFLOW_RESTS.match(path.encode())):
        return _covering(method, path)
    segments = trimmed.split("/")[1:]
    node = _find(_ROOT, segments, 0, "GET" if method == "HEAD" else method)
    if node is None:
        node, used = _deepest(segments)
        if used < len(segments):
            return f"{method} {node.path}/" if used else _outside(method, segments)
    return _template(method, node.path)


def family_of(method: str, path: str) -> str:
    """Return the operation of a request whose caller nobody knows: the API alone, so that nobody can fill the table."""
    for base in ("/api/v1/", "/api/v2/"):
        if path.startswith(base):
            return f"{method} {base}" if method in _METHODS else ALL
    return f"{method} /" if method in _METHODS else ALL


def _find(node: _Node, segments: list[str], at: int, method: str) -> _Node | None:
    """Return the template for a method that fits all segments; literal segments before parameters."""
    if at == len(segments):
        return node if method in node.methods else None
    child = node.children.get(segments[at])
    if child is not None and (found := _find(child, segments, at + 1, method)) is not None:
        return found
    return None if node.parameter is None else _find(node.parameter, segments, at + 1, method)


def _deepest(segments: list[str]) -> tuple[_Node, int]:
    """Return how far the templates go along a path, and how many segments that is."""
    node, used = _ROOT, 0
    for segment in segments:
        child = node.children.get(segment) or node.parameter
        if child is None:
            break
        node, used = child, used + 1
    return node, used


def _outside(method: str, segments: list[str]) -> str:
    word = segments[0] if segments else ""
    if not _WORD.match(word) or (word not in _words and len(_words) >= _MAX_WORDS):
        return f"{method} /"
    _words.add(word)
    return f"{method} /{word}" + ("/" if len(segments) > 1 else "")


def _template(method: str, template: str) -> str:
    """Return the narrowest operation for a path of a template, whose body may name further objects."""
    found = _narrowest.get((method, template))
    if found is None:
        sample = re.sub(r"\{[^/]*\}", "x", template)
        found = _narrowest[method, template] = next(
            one for one in _wider(method, template) if _covers(one, method, sample)
        )
    return found


@lru_cache(maxsize=1024)
def _covering(method: str, path: str) -> str:
    """Return the narrowest operation for a path with two readings."""
    node, _ = _deepest(path.split("/")[1:])
    return next(one for one in _wider(method, node.path) if _covers(one, method, path))


def _wider(method: str, template: str) -> Iterator[str]:
    """Yield scopes, each wider than the one before; the last one covers everything that has this method."""
    segments = template.split("/")[1:]
    if template:
        yield f"{method} {template}"
        # A DAG may have the name of an operation: `/dags/bulk`.
        yield f"{method} {template.rpartition('/')[0]}/{{name}}"
    for end in range(len(segments), -1, -1):
        yield f"{method} {'/'.join(('', *segments[:end]))}/"


def _covers(scope: str, method: str, path: str) -> bool:
    return uncovered((parse_scope(scope),), (method,), path, None) is None
