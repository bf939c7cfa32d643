"""What two slashes in a row mean in a path: a base URL that ended in one, or data of the upstream. No I/O, no Flask.

A client joins `…/api/v1/` and `/dags`. What the upstream makes of `//` differs from server to server, so nothing is
passed on: the client gets the merged path and asks again. Where a route of the upstream takes the rest of the path as
data, as in `/api/v1/datasets/s3://bucket/key`, its slashes go on encoded: routes read them the same way, and a proxy in
between cannot merge them.
"""

from __future__ import annotations

import re

from compat_auth.errors import InvalidPath
from compat_auth.http.paths import canonical_path

Rests = re.Pattern[bytes]
"""Matches a path whose end is data; the groups `head` and `rest` part the two."""

_MERGE = re.compile(rb"/{2,}")
_TASK = rb"dags/+[^/]+/+dagRuns/+[^/]+/+taskInstances/+[^/]+/+"
# Airflow 2.11: `format: path` in its OpenAPI document; such a rest never begins with a slash there.
_V1_RESTS = (
    rb"datasets/+(?:queuedEvent/+)?|dags/+[^/]+/+datasets/+queuedEvent/+|variables/+|" + _TASK + rb"xcomEntries/+"
)
# Airflow 3.0 to 3.4: `:path` in its routes, which may begin with a slash.
_V2_RESTS = rb"(?:variables|pools|assets/+[^/]+/+state-store|" + _TASK + rb"(?:xcomEntries|state-store))/"
_TASK_RESTS = rb"(?:variables|connections|xcoms/+[^/]+/+[^/]+/+[^/]+|store/+ti/+[^/]+)/"
AIRFLOW_RESTS: Rests = re.compile(
    rb"(?P<head>(?:/+[^/]+)*?/+(?:api/+(?:v1/+(?:%b)(?!/)|v2/+%b)|execution/+%b))(?P<rest>.+)\Z"
    % (_V1_RESTS, _V2_RESTS, _TASK_RESTS),
    re.DOTALL,
)
"""Where Airflow's API takes the rest of a path as a URI or a key, below any path of `base_url`."""


class MergedPath(InvalidPath):
    """The path has an empty segment that is no data.

    Args:
        path: The one that the client means: canonical, without empty segments; it begins with exactly one slash.
    """

    def __init__(self, path: bytes) -> None:
        super().__init__("path: an empty segment ('//'); ask for the path without it")
        self.path = path


def read_path(raw_path: bytes, rests: Rests | None = None) -> bytes:
    """Return the canonical path, with `%2F` for the slashes of a rest in which one follows another.

    Args:
        raw_path: The path as it stood in the request line, without the query.
        rests: Where the upstream takes the rest of a path as data; None: nowhere.

    Raises:
        MergedPath: An empty segment that is no data.
        InvalidPath: Another parser could read the path in another way.
    """
    if b"//" not in raw_path or not raw_path.startswith(b"/"):
        return canonical_path(raw_path)
    found = None if rests is None else rests.match(raw_path)
    head, rest = (raw_path, b"") if found is None else (found["head"], found["rest"])
    if rest.startswith(b"/") or b"//" in rest:
        rest = rest.replace(b"/", b"%2F")
    path = canonical_path(_MERGE.sub(b"/", head) + rest)
    if b"//" in head:
        raise MergedPath(path)
    return path
