"""The requests that a limited credential may send: `METHOD /path`, `METHOD /path/`, `all`. No I/O, no Flask.

A scope limits and never grants: the upstream's own permissions still apply. The grammar is that of Arvados' API tokens:

- `GET /a` is that one path; `GET /a/` is everything below it, and not the path itself.
- A trailing slash of the request does not count, so `GET /a/` is asked as `GET /a`. Where it belongs to a key, the callers
  of `allow` spell it `%2F`.
- A scope for GET also allows HEAD. The query does not count. Methods and paths compare with case.
- `{name}` in the place of a segment is any one segment: `GET /dags/{dag_id}/tasks`.
- A path with an encoded slash has two readings, and a scope must cover both: servers differ in whether it separates
  segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

__all__ = [
    "ALL",
    "MAX_LENGTH",
    "MAX_SCOPES",
    "Scope",
    "allow",
    "is_subset",
    "needed_scopes",
    "parse_scope",
    "parse_scopes",
    "scope_token",
]

ALL = "all"
"""The scope that limits nothing."""
MAX_LENGTH = 512
"""Longest scope, in characters."""
# What some frameworks take for the method instead: a scope must cover both.
METHOD_OVERRIDES = (b"x-http-method-override", b"x-http-method", b"x-method-override")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_FORM = re.compile(rf"({'|'.join(_METHODS)}) (/[^\s?#\x00-\x1f\x7f]*)\Z")


# Braces only around a whole segment: no canonical path has any.
_SEGMENT = re.compile(r"(?:[^{}]*|\{[A-Za-z_][A-Za-z0-9_]*\})\Z")


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope, parsed.

    Attributes:
        method: Upper case, or "" for `all`.
        path: Canonical path; one that ends with a slash is everything below it.
    """

    method: str
    path: str

    def allows(self, method: str, path: str) -> bool:
        """Return whether the scope covers a request; the path has no trailing slash, except "/" itself."""
        if not self.method:
            return True
        if self.method != method and not (method == "HEAD" and self.method == "GET"):
            return False
        return path_covers(self.path, path) and ("%" not in path or path_covers(unquote(self.path), unquote(path)))

    def includes(self, other: Scope) -> bool:
        """Return whether the scope covers every request that the other one covers."""
        if not self.method:
            return True
        if not other.method or not self.allows(other.method, other.path):
            return False
        # Of what is below a path, only what is below it or further up covers all.
        return not other.path.endswith("/") or self.path.endswith("/")

    def __str__(self) -> str:
        return f"{self.method} {self.path}" if self.method else ALL


def path_covers(pattern: str, path: str) -> bool:
    """Return whether the path of a scope covers a path, in this one reading of it."""
    if "{" not in pattern:
        return path.startswith(pattern) if pattern.endswith("/") else path == pattern
    wanted, found = pattern.split("/"), path.split("/")
    is_below = wanted[-1] == ""
    if len(found) < len(wanted) if is_below else len(found) != len(wanted):
        return False
    pairs = zip(wanted[:-1] if is_below else wanted, found, strict=False)
    return all(segment == want or (want.startswith("{") and segment != "") for want, segment in pairs)


def is_subset(scopes: Iterable[Scope], granted: Iterable[Scope]) -> bool:
    """Return whether each of the scopes is included in one that is granted."""
    granted = tuple(granted)
    return all(any(wide.includes(scope) for wide in granted) for scope in scopes)


def parse_scope(text: str) -> Scope:
    """Return the scope that a text spells.

    Raises:
        ValueError: It is none: a typo would otherwise match nothing, in silence.
    """
    if text == ALL:
        return Scope("", "")
    match = _FORM.match(text)
    if match is None or not all(_SEGMENT.match(segment) for segment in match.group(2).split("/")):
        method, _, path = text.partition(" ")
        upper = f"{method.upper()} {path}"
        hint = f"did you mean {upper!r}?" if upper != text and _FORM.match(upper) else "such as 'GET /api/v2/dags'"
        raise ValueError(f"scope {text!r}: neither 'all' nor 'METHOD /path' with an upper-case method; {hint}")
    return Scope(match.group(1), match.group(2))


def needed_scopes(methods: Iterable[str], path: str) -> str:
    """Return the narrowest scopes that would cover a request, as the `scope` of a challenge has them.

    There a blank parts two scopes (RFC 6749 section 3.3), so a colon stands between method and path: `GET:/api/v2/dags`.

    Args:
        methods: All those that the request can be taken for.
        path: Canonical path, ASCII.

    Returns:
        "" where such a scope would be too long to be one.
    """
    trimmed = path.rstrip("/") or "/"
    # Any other method, such as one that a header has made up, is covered by `all` alone.
    needed = dict.fromkeys(f"{method} {trimmed}" if method in _METHODS else ALL for method in methods)
    return "" if any(len(scope) > MAX_LENGTH for scope in needed) else " ".join(map(scope_token, needed))


def scope_token(scope: str) -> str:
    """Return a scope as OAuth spells one."""
    return scope.replace(" ", ":")


def allow(scopes: Iterable[Scope], method: str, path: str) -> bool:
    """Return whether any scope covers a request.

    Args:
        scopes: None of them covers nothing.
        method: As the upstream will see it; no header may override it afterwards.
        path: Canonical path (no dot segments, no double encoding), without the query.
    """
    trimmed = path.rstrip("/") or "/"
    return any(scope.allows(method, trimmed) for scope in scopes)


MAX_SCOPES = 50
"""Most scopes of one credential."""
_APIS = ("/api/v2", "/api/v1")
_BUNDLE_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# "~" is Airflow's word for every DAG, dots are no names of one.
_DAG = re.compile(r"(?!~\Z)(?!\.{1,2}\Z)[\w.\-~]{1,250}\Z")


@lru_cache(maxsize=1024)
def parse_scopes(texts: tuple[str, ...]) -> tuple[Scope, ...]:
    """Return the scopes that texts spell, bundles by what they stand for, each once.

    Raises:
        ValueError: One is no scope, there are none or more than 50, or one is longer than 512 characters.
    """
    if not 0 < len(texts) <= MAX_SCOPES:
        raise ValueError(f"scopes: 1 to {MAX_SCOPES} of them")
    if any(len(text) > MAX_LENGTH for text in texts):
        raise ValueError(f"scopes: none longer than {MAX_LENGTH} characters")
    return tuple(dict.fromkeys(scope for text in texts for scope in _expand(text)))


def _expand(text: str) -> Iterable[Scope]:
    if text == "read":
        return (parse_scope("GET /"),)
    if text == "trigger":
        return _below("{dag_id}", (("POST", "/dagRuns"), ("GET", "/dagRuns/{dag_run_id}")))
    if text.startswith("dags:"):
        dag = text.removeprefix("dags:")
        if not _DAG.match(dag):
            raise ValueError(f"scope {text!r}: no DAG's id; write dags:ID, such as dags:daily_report")
        return _below(quote(dag, safe="~"), ((method, rest) for rest in ("", "/") for method in _BUNDLE_METHODS))
    return (parse_scope(text),)


def _below(dag: str, requests: Iterable[tuple[str, str]]) -> tuple[Scope, ...]:
    pairs = tuple(requests)
    return tuple(parse_scope(f"{method} {api}/dags/{dag}{rest}") for api in _APIS for method, rest in pairs)
