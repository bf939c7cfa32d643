"""What a translated operation says and hears: calls to the upstream, its answers, the reply to the client. No I/O.

An operation is a generator: it yields a `Call`, is sent the `Answer`, and returns the `Reply`. Whoever drives it does
the I/O: the gateway over its pool of connections, the plugin over Airflow's own application, a test over a recording.
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
"""A JSON object on its way from one document to another."""


class Rewriter(Protocol):
    """Turns a body into another one part by part, so that nobody holds it whole."""

    def feed(self, part: bytes) -> bytes:
        """Return what can be said after this part."""
        ...

    def end(self) -> bytes:
        """Return what is left to say."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the upstream.

    Attributes:
        method: Upper case.
        path: Whole path, segments percent-encoded.
        query: Names and values, not encoded.
        body: JSON document, or None for no body.
        accept: Value of `Accept`.
        rewriter: Given, a successful body goes through it to the client as it comes, and the operation ends there.
        content_type: Of what the rewriter makes.
        does: What carrying it out does, for people, in the imperative; empty for method and path.
        repeatable: Carrying it out twice leaves what carrying it out once leaves.
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
        """What carrying it out does, for people."""
        return self.does or f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        """Whether it may change something upstream; a list, a test and a trial run are asked for by writing methods."""
        if self.method == "GET" or self.path.endswith(("/list", "/dry_run", "/connections/test")):
            return False
        return not (is_object(self.body) and self.body.get("dry_run") is True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the upstream answered, whole.

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
        """Whether the call was carried out."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the document.

        Raises:
            ValueError: It is none.
        """
        return from_json(self.body, cache_strings="keys", allow_inf_nan=False)

    def header(self, name: bytes) -> bytes:
        """Return a header's last value, or nothing."""
        return next((value for known, value in reversed(self.headers) if known == name), b"")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client gets.

    Attributes:
        status: HTTP status.
        body: Whole body.
        content_type: Empty for no body.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = ""


Steps = Generator[Call, Answer, Reply]


def json_reply(document: object, status: int = 200) -> Reply:
    """Return a JSON document as a reply.

    Raises:
        ValueError: It holds a number that JSON has no text for: infinite, or none.
    """
    body = to_json(document)
    # The library writes `Infinity` and reads 1e400 as that. The words may also stand in a text, which is right.
    if (b"Infinity" in body or b"NaN" in body) and body != to_json(document, inf_nan_mode="null"):
        raise ValueError("a number too large")
    return Reply(status, body, JSON)


def text_reply(text: str, status: int = 200) -> Reply:
    """Return plain text as a reply."""
    return Reply(status, text.encode(), TEXT)


NO_CONTENT = Reply(204)


def accepted(header: str, offered: Sequence[str]) -> str | None:
    """Return the media type that suits a client best; None when none does (RFC 9110 section 12.5.1).

    Args:
        header: Value of `Accept`; empty for none, which takes anything.
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
    """Return how exactly a range names a type: 0 for not at all."""
    if name == kind:
        return 3
    if name == kind.partition("/")[0] + "/*":
        return 2
    return 1 if name == "*/*" else 0
