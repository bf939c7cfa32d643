"""Check that a credential's scopes cover a request and every object that it can reach. No I/O, no Flask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compat_auth.airflow_api.reach import reach_of
from compat_auth.http.paths import AIRFLOW_RESTS
from compat_auth.scopes import Scope, allow, needed_scopes

_MAX_TOLD = 5


def uncovered(scopes: Iterable[Scope], methods: Sequence[str], path: str, body: bytes | None) -> str | None:
    """Return the narrowest missing scopes, in the form of a challenge's `scope`; None where none is missing.

    A request whose body names more objects, or that can reach all of them, needs a scope for each.

    Args:
        scopes: Scopes of the credential.
        methods: Every method that the request may count as.
        path: Canonical path, ASCII.
        body: The whole body; None where it is not available.

    Returns:
        "" where the missing scopes would be too long for a header.
    """
    scopes, path = tuple(scopes), _as_data(path)
    if not all(allow(scopes, method, path) for method in methods):
        return needed_scopes(methods, path)
    further = {(method, reached) for method in methods for reached in reach_of(method, path, body).paths}
    missing = sorted((method, reached) for method, reached in further if not allow(scopes, method, reached))
    if not missing:
        return None
    return (
        " ".join(needed_scopes([method], reached) for method, reached in missing) if len(missing) <= _MAX_TOLD else ""
    )


def _as_data(path: str) -> str:
    """Return the path with its final slash encoded where that is data: `/variables/a/` is the variable `a/`."""
    if path.endswith("/") and AIRFLOW_RESTS.match(path.encode("ascii")):
        return f"{path[:-1]}%2F"
    return path
