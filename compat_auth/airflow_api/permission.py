"""Whether the scopes of a limited credential cover a request, with all that it can reach. No I/O, no Flask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compat_auth.airflow_api.reach import reach_of
from compat_auth.http.paths import AIRFLOW_RESTS
from compat_auth.scopes import Scope, allow, needed_scopes

_MAX_TOLD = 5


def uncovered(scopes: Iterable[Scope], methods: Sequence[str], path: str, body: bytes | None) -> str | None:
    """Return the narrowest scopes that are missing, as the `scope` of a challenge has them; None where none is.

    A request that names further objects in its body, or can reach all of them, needs a scope for each.

    Args:
        scopes: Of the credential.
        methods: All those that the request can be taken for.
        path: Canonical path, ASCII.
        body: Whole; None where nobody has seen it.

    Returns:
        "" where what is missing would be too long to be told.
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
    """Return a path whose last slash stays where it is data: to Airflow, `/variables/a/` is the variable `a/`, not `a`."""
    if path.endswith("/") and AIRFLOW_RESTS.match(path.encode("ascii")):
        return f"{path[:-1]}%2F"
    return path
