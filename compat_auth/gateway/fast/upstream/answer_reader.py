"""Reads an answer of the upstream: what passes to the client, and what the ordinary way has to do instead. No I/O.

llhttp parses, with the settings that aiohttp uses, so that both ways to the upstream accept the same answers. Pieces are
collected while a packet is parsed, and taken once it is known that the answer passes.
"""

from __future__ import annotations

import re
from enum import Enum, auto

import httptools

from compat_auth.gateway.fast.upstream.answer_head import AnswerHead, answer_head
from compat_auth.gateway.fast.upstream.errand import Errand
from compat_auth.http.asgi import RawHeaders
from compat_auth.tokens.upstream_refusals import MAX_REFUSAL_BYTES

MAX_HEAD_BYTES = 64 * 1024
"""Longest head of an answer, interim answers included."""
MAX_HEADERS = 128
"""Most headers of an answer, as in aiohttp."""
_TIMEOUT = re.compile(rb"(?:^|[,\s])timeout\s*=\s*([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class AnswerState(Enum):
    """The state of an answer, by the part that has arrived."""

    WAITS = auto()
    """Nobody can tell yet; nothing may be passed on."""
    PASSES = auto()
    """It passes."""
    REFUSES_TOKEN = auto()
    """It refuses the token, and the request has not been done."""
    IS_UNUSUAL = auto()
    """It does not pass, and the request may have been done."""
    IS_MALFORMED = auto()
    """Its body is no body of HTTP, and nothing of the answer was passed on."""


class AnswerReader:
    """Reads the answers of one connection, one after the other.

    Attributes:
        is_complete: The answer has ended.
        is_broken: What came last is not HTTP.
        has_passed: A piece of the answer was taken.
    """

    def __init__(self) -> None:
        self._errand = Errand(b"", b"", None)
        self._parser = self._new_parser()
        self.begin(self._errand)

    def begin(self, errand: Errand) -> None:
        """Expect the answer to a request."""
        self._errand = errand
        self._headers: RawHeaders = []
        self._out: list[bytes] = []
        self._head: AnswerHead | None = None
        self._held: list[bytes] | None = None
        self._head_bytes = 0
        self._is_interim = self._is_refusal = self._is_unusual = False
        self._is_kept = self._has_stray = False
        self.is_complete = self.is_broken = self.has_passed = False

    @property
    def is_in_body(self) -> bool:
        """Whether the head of the answer passes, or has passed."""
        return self._head is not None and self._held is None

    @property
    def leaves_connection(self) -> bool:
        """Whether the connection may carry another request: it is kept, and no byte came behind the answer."""
        return self.is_complete and self._is_kept and not self._has_stray and not self.is_broken

    def feed(self, data: bytes) -> AnswerState:
        """Read what has arrived, and return what becomes of the answer."""
        if self._head is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.is_broken = True
        if self.is_complete and self._errand.method == b"HEAD":
            # llhttp cannot know that no body follows.
            self._is_kept = self._is_kept and data.endswith(_END_OF_HEAD) and data.count(_END_OF_HEAD) == 1
            self._parser = self._new_parser()
        return self._state()

    def end(self) -> AnswerState:
        """Note that the upstream sends nothing more, and return what becomes of the answer."""
        head = self._head
        if head is not None and head.ends_with_connection and not self.is_complete and not self.is_broken:
            self.is_complete = True
            self._out.append(_LAST_CHUNK)
        return self._state()

    def take(self) -> bytes:
        """Return the pieces for the client that nobody has taken yet."""
        out, self._out = self._out, []
        self.has_passed = True
        return b"".join(out) if len(out) != 1 else out[0]

    def kept_s(self) -> float | None:
        """Return for how many seconds the upstream says it keeps the connection; None if it says nothing."""
        for name, value in self._headers:
            if len(name) == len(b"keep-alive") and name.lower() == b"keep-alive" and (match := _TIMEOUT.search(value)):
                return int(match[1])
        return None

    def _state(self) -> AnswerState:
        if self._is_refusal:
            return AnswerState.REFUSES_TOKEN
        if self._head is None:
            is_unusual = self._is_unusual or self.is_broken or self._head_bytes > MAX_HEAD_BYTES
            return AnswerState.IS_UNUSUAL if is_unusual else AnswerState.WAITS
        if self.is_broken and not self.is_complete and not self.has_passed:
            return AnswerState.IS_MALFORMED
        return AnswerState.PASSES if self._held is None else self._state_on_403(self._head, self._held)

    def _state_on_403(self, head: AnswerHead, held: list[bytes]) -> AnswerState:
        """Return the state of a 403: held until it is complete, or too long for a refused token."""
        body = b"".join(held)
        if not self.is_complete and len(body) <= MAX_REFUSAL_BYTES:
            return AnswerState.WAITS
        if self._errand.is_refused(body, head.encoding):
            return AnswerState.REFUSES_TOKEN
        self._held = None
        # Meanwhile the client's connection may have got an end.
        errand = self._errand
        if errand.closes and (
            last := answer_head(403, self._headers, errand.method, closes=True, request_id=errand.request_id)
        ):
            self._out[0] = last.data
            errand.sent_bytes = -len(last.data)
        return AnswerState.PASSES

    # Events of the parser

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self._has_stray = self._has_stray or self.is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header; a trailer is dropped (RFC 9110 section 6.5.1)."""
        if self._head is None:
            self._headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Make the head for the client."""
        if self.is_complete:
            return
        errand, status = self._errand, self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._is_interim = True
            return
        head = None
        if len(self._headers) <= MAX_HEADERS:
            head = answer_head(status, self._headers, errand.method, closes=errand.closes, request_id=errand.request_id)
        # A token that is not ours cannot be renewed.
        is_refusal = status == 401 and errand.granted is not None
        if head is None or is_refusal:
            self._is_refusal, self._is_unusual = is_refusal, True
            return
        self._head = head
        errand.status = status
        errand.sent_bytes = -len(head.data)
        self._out.append(head.data)
        if errand.method == b"HEAD":
            self.is_complete, self._is_kept = True, self._parser.should_keep_alive()
        elif status == 403:
            self._held = []

    def on_body(self, body: bytes) -> None:
        """Receive a piece of the body."""
        head = self._head
        if self.is_complete:
            self._has_stray = True
        elif head is not None:
            if self._held is not None:
                self._held.append(body)
            self._out.append(b"%x\r\n%b\r\n" % (len(body), body) if head.is_chunked else body)

    def on_message_complete(self) -> None:
        """Note the end of the answer, or of an interim answer."""
        if self._is_interim:
            self._is_interim = False
            self._headers = []
        elif not self.is_complete and self._head is not None:
            self.is_complete, self._is_kept = True, self._parser.should_keep_alive()
            if self._head.is_chunked:
                self._out.append(_LAST_CHUNK)

    def _new_parser(self) -> httptools.HttpResponseParser:
        parser = httptools.HttpResponseParser(self)
        if hasattr(parser, "set_dangerous_leniencies"):
            parser.set_dangerous_leniencies(
                lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
            )
        return parser
