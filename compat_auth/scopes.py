"""What a limited credential may be used for: `METHOD /path`, `METHOD /path/`, `all`. No I/O, no Flask.

A scope limits and never grants: the upstream's own permissions still apply. The grammar is that of Arvados' API tokens:

- `GET /a` is that one path; `GET /a/` is everything below it, and not the path itself.
- A trailing slash of the request does not count, so `GET /a/` is asked as `GET /a`.
- What allows GET allows HEAD. The query does not count. Methods and paths compare with case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ALL = "all"
_FORM = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[^\s?#\x00-\x1f\x7f]*)\Z")


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
        return path.startswith(self.path) if self.path.endswith("/") else path == self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}" if self.method else ALL


def parse_scope(text: str) -> Scope:
    """Return the scope that a text spells.

    Raises:
        ValueError: It is none: a typo would otherwise match nothing, in silence.
    """
    if text == ALL:
        return Scope("", "")
    match = _FORM.match(text)
    if match is None:
        raise ValueError(f"scope {text!r}: neither 'all' nor 'METHOD /path' with an upper-case method")
    return Scope(match.group(1), match.group(2))


def allow(scopes: Iterable[Scope], method: str, path: str) -> bool:
    """Return whether any scope covers a request.

    Args:
        scopes: None of them covers nothing.
        method: As the upstream will see it; no header may override it afterwards.
        path: Canonical path (`compat_auth.paths`), without the query.
    """
    trimmed = path.rstrip("/") or "/"
    return any(scope.allows(method, trimmed) for scope in scopes)
