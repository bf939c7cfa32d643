"""Messages of a translated operation: calls to the upstream, its answers, and the reply to the client. No I/O.

An operation is a generator: it yields a `Call`, receives the `Answer`, and returns the `Reply`. Its driver does the
I/O: the gateway over its connection pool, the plugin over Airflow's own application, a test over a recording.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic_core import from_json, to_json

from compat_auth.crypto.strict_json import is_object

JSON = "application/json"
TEXT = "text/plain"
Json = dict[str, Any]
"""A JSON object of a document."""


class Rewriter(Protocol):
    """Converts a body piece by piece, so that it is never complete in memory."""

    def feed(self, part: bytes) -> bytes:
        """Return the output for this piece."""
        ...

    def end(self) -> bytes:
        """Return the rest of the output."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the upstream.

    Attributes:
        method: Upper case.
        path: The complete path, segments percent-encoded.
        query: Names and values, not encoded.
        body: JSON document, or None for no body.
        accept: Value of `Accept`.
        rewriter: If given, a successful body streams through it to the client, and the operation ends there.
        content_type: Content type of the rewriter's output.
        does: The effect of the call, for people, in the imperative; empty for method and path.
        repeatable: The call is idempotent.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: object = field(default=None, repr=False)
    accept: str = JSON
    rewriter: Rewriter | None = None
    content_type: str = TEXT
    does: str = ""
    repeatable: bool = True

    @property
    def effect(self) -> str:
        """The effect of the call, for people."""
        return self.does or f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        """Whether it may change something upstream; some lists, tests and dry runs use POST or PATCH but only read."""
        if self.method == "GET" or self.path.endswith(("/list", "/dry_run", "/connections/test")):
            return False
        return not (is_object(self.body) and self.body.get("dry_run") is True)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the upstream.

    Attributes:
        status: HTTP status.
        body: As received, not compressed.
        headers: Names in lower case.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the call succeeded."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the document.

        Raises:
            ValueError: The body is not JSON.
        """
        return from_json(self.body, cache_strings="keys", allow_inf_nan=False)

    def header(self, name: bytes) -> bytes:
        """Return a header's last value, or nothing."""
        return next((value for known, value in reversed(self.headers) if known == name), b"")


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the client.

    Attributes:
        status: HTTP status.
        body: The complete body.
        content_type: Empty for no body.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""


Steps = Generator[Call, Answer, Reply]


def json_reply(document: object, status: int = 200) -> Reply:
    """Return a JSON document as a reply.

    Raises:
        ValueError: It holds a number that JSON cannot represent: infinity or NaN.
    """
    body = to_json(document)
    # The library writes `Infinity`, and reads 1e400 as infinity. The word may also occur in a text, where it is valid.
    if (b"Infinity" in body or b"NaN" in body) and body != to_json(document, inf_nan_mode="null"):
        raise ValueError("a number too large")
    return Reply(status, body, JSON)


def text_reply(text: str, status: int = 200) -> Reply:
    """Return plain text as a reply."""
    return Reply(status, text.encode(), TEXT)


NO_CONTENT = Reply(204)


def accepted(header: str, offered: Sequence[str]) -> str | None:
    """Return the media type that fits a client best; None if none fits (RFC 9110 section 12.5.1).

    Args:
        header: Value of `Accept`; empty for no header, which accepts anything.
        offered: In order of preference.
    """
    if not header.strip():
        return offered[0]
    ranges = [_parse(part) for part in header.split(",") if part.strip()]
    best: tuple[float, int, int] | None = None
    chosen: str | None = None
    for number, kind in enumerate(offered):
        quality, precision = max(
            ((quality, precision) for name, quality in ranges if (precision := _precision(name, kind)) > 0),
            key=lambda match: match[1],
            default=(0.0, 0),
        )
        if quality > 0 and (best is None or (quality, precision, -number) > best):
            best, chosen = (quality, precision, -number), kind
    return chosen


def _parse(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0


def _precision(name: str, kind: str) -> int:
    """Return how precisely a media range matches a type; 0 if it does not match."""
    if name == kind:
        return 3
    if name == kind.partition("/")[0] + "/*":
        return 2
    return 1 if name == "*/*" else 0
