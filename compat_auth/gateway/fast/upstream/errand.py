"""A request on its way to the upstream past the ASGI application."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from compat_auth.errors import CompatAuthError
from compat_auth.gateway.decision import Granted
from compat_auth.tokens.upstream_refusals import MAX_REFUSAL_BYTES, may_have_ended, says_refused


@dataclass(slots=True)
class Errand:
    """One request to the upstream.

    Attributes:
        data: The request as the upstream gets it.
        method: Its method.
        granted: The grant of the caller; None: the upstream checks the token itself.
        closes: Whether the client's connection ends with the answer.
        request_id: Its id.
        path: Its canonical path.
        caller: Address of the caller, where the access log or the usage needs it; else "".
        agent: Value of its User-Agent, where the usage needs it; else b"".
        began: When it began, by `perf_counter`.
        status: Status of the answer; 0 before it begins.
        sent_bytes: Bytes of the body so far, as the client gets them.
    """

    data: bytes = field(repr=False)
    method: bytes
    granted: Granted | None
    closes: bool = False
    request_id: bytes = b""
    path: bytes = b""
    caller: str = ""
    agent: bytes = b""
    began: float = 0.0
    status: int = 0
    sent_bytes: int = 0

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent again when nobody knows whether the upstream has done it (RFC 9110 section 9.2.2)."""
        return self.method in (b"GET", b"HEAD")

    def is_refused(self, body: bytes, content_encoding: bytes) -> bool:
        """Return whether a 403 with this body refuses the token, and not the caller's permission."""
        granted = self.granted
        if granted is None or not body or len(body) > MAX_REFUSAL_BYTES:
            return False
        return says_refused(body, content_encoding) or may_have_ended(granted.bearer, time.time())


class Client(Protocol):
    """The client's side of an errand. Exactly one of the last three methods is called, once."""

    def pass_on(self, data: bytes) -> None:
        """Send a piece of the answer."""

    def end_answer(self) -> None:
        """Note that the answer is complete."""

    def break_off(self) -> None:
        """Close the connection, because the rest of the answer will never come."""

    def take_ordinary_way(self, failure: CompatAuthError | None) -> None:
        """Give the request to the ASGI application; nothing of an answer has been sent.

        Args:
            failure: The error that the client gets; None: the request may be sent again.
        """
