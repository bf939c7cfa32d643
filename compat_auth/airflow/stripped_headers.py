"""Headers that say who the caller is, and that do not reach Airflow: nobody inside Airflow can tell who wrote them.

The gate drops them from the requests that it forwards with an identity; this module drops them from all others.
"""

from __future__ import annotations

from compat_auth.crypto.personal_token_format import PREFIX
from compat_auth.gateway.authorization import GateRules
from compat_auth.http.asgi import Scope
from compat_auth.http.headers import fold_name, names_caller

_PREFIX = PREFIX.encode("ascii")


class StrippedHeaders:
    """Drops identity headers, and personal tokens in the header for them.

    Args:
        rules: Which headers they are, besides those that are known to everybody, and which ones Airflow itself reads.
    """

    def __init__(self, rules: GateRules) -> None:
        self._named = rules.identity_headers
        self._read = rules.upstream_reads
        self._api_key = rules.api_key

    def strip(self, scope: Scope) -> Scope:
        """Return the scope without these headers; the scope itself if there are none."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        kept = [header for header in headers if not self._is_dropped(*header)]
        return scope if len(kept) == len(headers) else {**scope, "headers": kept}

    def _is_dropped(self, name: bytes, value: bytes) -> bool:
        folded = fold_name(name)
        if folded in self._named:
            return True
        if folded == self._api_key:
            return _PREFIX in value.lower()
        return names_caller(folded) and name not in self._read
