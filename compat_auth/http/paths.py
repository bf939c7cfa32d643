"""Paths: one canonical form, path prefixes, and slashes inside data. No I/O, no Flask.

The gateway decides on the same path that the upstream gets. A path with more than one reading is refused, never
repaired: the next parser could repair it differently (CVE-2026-33494, CVE-2021-29492, CVE-2026-73551). An encoded
character inside a segment stays encoded and is data: Airflow's asset URIs and run ids contain `%2F`, `%3A` and `+`.
Where Airflow takes the rest of a path as a URI or key, two slashes in a row are data too, and are encoded.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from compat_auth.errors import InvalidPath

# The common case in one match: unreserved characters and sub-delimiters without "%", ";" or a dot at the start of a
# segment, and no empty segment but the last.
_PLAIN = re.compile(rb"(?:/(?![./])[A-Za-z0-9_\-.~!$&'()*+,=:@]*)+\Z")
PLAIN_PATH = _PLAIN.pattern.decode("ascii").removesuffix(r"\Z")
"""Regular expression (PCRE) of the paths that every parser reads alike, and that go on unchanged."""
_ALLOWED = re.compile(rb"[A-Za-z0-9_\-.~!$&'()*+,;=:@/%\x80-\xff]+\Z")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_DOUBLE = re.compile(rb"%25[0-9A-Fa-f]{2}", re.IGNORECASE)
# A dot segment, with or without matrix parameters, which Java servers remove before they resolve dots.
_DOTS = re.compile(rb"\.{1,2}(?:;.*)?\Z", re.DOTALL)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e\x80-\xff]*\Z")
_MATRIX = re.compile(rb";[^/]*")
_SLASHES = re.compile(rb"/{2,}")
MAX_PATH_BYTES = 8192
"""Longest path."""
_MAX_QUERY = 32768


def canonical_path(raw_path: bytes) -> bytes:
    """Return the canonical form of a request path: unreserved characters decoded, every other escape in upper case.

    Args:
        raw_path: The path of the request line, without the query.

    Raises:
        InvalidPath: Another parser could read the path differently.
    """
    if len(raw_path) > MAX_PATH_BYTES:
        raise InvalidPath(f"path: longer than {MAX_PATH_BYTES} bytes")
    if _PLAIN.match(raw_path):
        return raw_path
    if not raw_path.startswith(b"/"):
        raise InvalidPath("path: does not begin with '/'")
    if not _ALLOWED.match(raw_path):
        raise InvalidPath("path: a character that must be percent-encoded")
    if _DOUBLE.search(raw_path):
        raise InvalidPath("path: encoded twice")
    path = _ESCAPE.sub(_normalise_escape, raw_path)
    # Old clients send raw bytes above ASCII: forward them in the form that every parser reads alike.
    path = b"".join(b"%%%02X" % byte if byte > 0x7F else bytes((byte,)) for byte in path)
    _refuse_ambiguous(path)
    return path


def _normalise_escape(match: re.Match[bytes]) -> bytes:
    digits = match.group(1)
    if digits is None:
        raise InvalidPath("path: '%' without two hexadecimal digits")
    byte = int(digits, 16)
    if byte < 0x20 or byte in (0x5C, 0x7F):
        raise InvalidPath("path: an encoded control character or backslash")
    return bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte


def _refuse_ambiguous(path: bytes) -> None:
    if b"//" in path:
        raise InvalidPath("path: an empty segment ('//')")
    decoded = unquote_to_bytes(path)
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPath("path: not UTF-8") from None
    # Both readings, because the next parser may treat an encoded slash or semicolon as a real one.
    for reading in (path, decoded):
        if any(_DOTS.match(segment) for segment in reading.split(b"/")):
            raise InvalidPath("path: a dot segment ('.' or '..')")


def canonical_query(raw_query: bytes) -> bytes:
    """Return the query with bytes above ASCII percent-encoded.

    Raises:
        InvalidPath: The query has a control character, a blank or '#', or is longer than 32 KiB.
    """
    if len(raw_query) > _MAX_QUERY:
        raise InvalidPath(f"query: longer than {_MAX_QUERY} bytes")
    if not _QUERY.match(raw_query):
        raise InvalidPath("query: a character that must be percent-encoded")
    if raw_query.isascii():
        return raw_query
    return b"".join(b"%%%02X" % byte if byte > 0x7F else bytes((byte,)) for byte in raw_query)


class Prefixes:
    """Path prefixes that match in every reading of a path, so that no spelling evades them."""

    __slots__ = ("_as_written", "_folded", "_longest")

    def __init__(self, prefixes: list[str]) -> None:
        self._as_written = tuple(prefix.encode() for prefix in prefixes)
        self._folded = tuple(prefix.lower() for prefix in self._as_written)
        self._longest = max((len(prefix) for prefix in self._as_written), default=0)

    @property
    def as_written(self) -> tuple[bytes, ...]:
        """The prefixes."""
        return self._as_written

    def cover(self, path: bytes) -> bool:
        """Return whether a canonical path, as any lenient parser may read it, is below one of the prefixes.

        A lenient parser decodes before it splits the path, merges slashes, removes matrix parameters, ignores case, and
        ignores a final slash.
        """
        if path.startswith(self._as_written):
            return True
        if b"%" not in path and b";" not in path and b"//" not in path:
            # Without an empty segment, only case and the final slash can be read differently.
            return (path[: self._longest] + b"/").lower().startswith(self._folded)
        reading = unquote_to_bytes(path) if b"%" in path else path
        if b";" in reading:
            reading = _MATRIX.sub(b"", reading)
        reading = _SLASHES.sub(b"/", reading) + b"/"
        return reading.lower().startswith(self._folded)


Rests = re.Pattern[bytes]
"""Matches a path whose end is data; the groups `head` and `rest` are the two sections."""

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
    """The path has an empty segment that is not data.

    Args:
        path: The path that the client means: canonical, without empty segments; it begins with exactly one slash.
    """

    def __init__(self, path: bytes) -> None:
        super().__init__("path: an empty segment ('//'); ask for the path without it")
        self.path = path


def read_path(raw_path: bytes, rests: Rests | None = None) -> bytes:
    """Return the canonical path, with `%2F` for repeated slashes in a rest that is data.

    Args:
        raw_path: The path of the request line, without the query.
        rests: Where the upstream takes the rest of a path as data; None: nowhere.

    Raises:
        MergedPath: The path has an empty segment that is not data.
        InvalidPath: Another parser could read the path differently.
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
