"""The head of an answer: what the upstream sent becomes what the client gets, and where the answer ends. No I/O.

All framing of the fast path is decided here (RFC 9112 section 6.3). The parser, llhttp, has refused two lengths, a
length beside a coding, and malformed names and lines before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from compat_auth.gateway.proxy.header_rules import BODILESS, answer_headers
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.headers import is_header
from compat_auth.telemetry.request_ids import HEADER as REQUEST_ID

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode("ascii") for status in range(200, 600)
}


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """A head for the client.

    Attributes:
        data: The head on the wire.
        is_chunked: Whether the body goes to the client in chunks, because its length is unknown.
        ends_with_connection: Whether the end of the upstream's connection ends the body.
        encoding: `Content-Encoding`; b"" if there is none.
    """

    data: bytes
    is_chunked: bool
    ends_with_connection: bool
    encoding: bytes


def answer_head(
    status: int, raw_headers: RawHeaders, method: bytes, *, closes: bool, request_id: bytes = b""
) -> AnswerHead | None:
    """Return the head for the client; None if the answer is unusual.

    Args:
        status: Of the answer.
        raw_headers: As received, names in any case.
        method: Of the request.
        closes: Whether the client's connection ends with this answer.
        request_id: Replaces the upstream's own; b"": the upstream's passes.
    """
    codings = [value for name, value in raw_headers if name.lower() == b"transfer-encoding"]
    headers = answer_headers(status, raw_headers)
    if headers is None or any(coding.lower() != b"chunked" for coding in codings) or len(codings) > 1:
        return None
    lengths = [value for name, value in headers if name == b"content-length"]
    if len(lengths) > 1 or not all(map(_is_length, lengths)) or (lengths and codings):
        return None
    out = [_STATUS_LINES[status]]
    encoding = b""
    for name, value in headers:
        if name == REQUEST_ID and request_id:
            continue
        if name == b"content-encoding":
            encoding = value
        if not _is_name(name):
            return None
        out += (name, b": ", value, b"\r\n")
    if request_id:
        out += (REQUEST_ID, b": ", request_id, b"\r\n")
    if closes:
        out.append(b"connection: close\r\n")
    has_body = method != b"HEAD" and status not in BODILESS
    is_chunked = has_body and not lengths
    out.append(b"transfer-encoding: chunked\r\n\r\n" if is_chunked else b"\r\n")
    return AnswerHead(b"".join(out), is_chunked, is_chunked and not codings, encoding)


def _is_length(value: bytes) -> bool:
    return value.isdigit() and len(value) < 20


@lru_cache(maxsize=1024)
def _is_name(name: bytes) -> bool:
    return is_header(name, b"")
