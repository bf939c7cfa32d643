"""The headers that a front proxy removes from callers' requests: those that the gate itself removes, from the gate's own lists.

The gate removes them, too. But it believes some of them from a trusted proxy, and the front proxy is one. The names of a
request and of its trace also go: the gate believes them from a trusted proxy.
"""

from __future__ import annotations

import re

from compat_auth.http.headers import removed_names
from compat_auth.http.identity_headers import identity_families, names_of_applications

_OURS = "x-compat-auth-*"
# What the front proxy says itself, after it has removed the caller's own.
SAID_BY_PROXY = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
OF_REQUESTS = ("x-request-id", "traceparent", "tracestate", "baggage")
"""Which request and which trace it is: the gateway believes a trusted proxy, so the proxy may not repeat a caller's word."""


def families() -> tuple[str, ...]:
    """Return the families of names, in lower case; for their ends see `identity_families`."""
    return (*identity_families(), _OURS)


def kept_names(believed: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the names that stay although they look like removed ones, in lower case, sorted.

    Args:
        believed: Names that backends of the site read, in lower case.
    """
    return tuple(sorted({*names_of_applications()} - believed)) + SAID_BY_PROXY


def single_names(believed: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the names that can be removed one by one, in the usual spelling, sorted.

    Args:
        believed: Names that backends of the site read, in lower case.
    """
    of_families = [family.rstrip("*?") for family in families() if not family.endswith("-*")]
    ours = ("x-compat-auth-cookie", "x-compat-auth-lasts-ms", "x-compat-auth-proxy-secret")
    found = {*removed_names(), *OF_REQUESTS, *believed, *of_families, *ours} - {*kept_names(believed)}
    return tuple(sorted(map(spelled, found)))


def pattern(believed: frozenset[str] = frozenset()) -> str:
    """Return a regular expression (PCRE) that matches every such name in lower case, from its start to its end.

    Args:
        believed: See `single_names`.
    """
    kept = "|".join(map(re.escape, kept_names(believed)))
    names = sorted({*removed_names(), *OF_REQUESTS, *believed})
    words = [*map(re.escape, names), *map(_of_family, families())]
    return f"^(?!(?:{kept})$)(?:{'|'.join(dict.fromkeys(words))})$".replace(r"\-", "-")


def spelled(name: str) -> str:
    """Return a name as people write it: X-Forwarded-For."""
    return "-".join(word.capitalize() for word in name.split("-"))


def _of_family(family: str) -> str:
    stem = re.escape(family.rstrip("*?"))
    return stem + {"*": ".*", "?": "(?:-.*)?"}.get(family[-1], "")
