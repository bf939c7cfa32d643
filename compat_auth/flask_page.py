"""A page of the Flask app, served at the gate: a small bridge from ASGI to WSGI, with a bound on the body."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Flask
from werkzeug.test import run_wsgi_app

from compat_auth.asgi import Receive, Send, read_body, respond
from compat_auth.decision import Lane
from compat_auth.gate import Gate, Page
from compat_auth.guard import METADATA_URL
from compat_auth.request import GateRequest


def flask_page(app: Flask, *, max_body_bytes: int, lane: Lane = "aside") -> Page:
    """Return the page that answers as the app does.

    Args:
        app: Routes by the whole path.
        max_body_bytes: More than this is 413.
        lane: Whose threads; see `Decider.run`.
    """

    async def answer(gate: Gate, request: GateRequest, receive: Receive, send: Send) -> None:
        body = await read_body(receive, max_body_bytes)
        environ = request.environ(with_cookies=True)
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        environ[METADATA_URL] = gate.occasion(request).metadata_url
        status, headers, content = await gate.decider.run(request.client, lambda: _run(app, environ), lane=lane)
        kept = [(name, value) for name, value in headers if name not in (b"content-length", b"content-type")]
        content_type = dict(headers).get(b"content-type", b"")
        await respond(send, status, content, content_type=content_type, headers=kept)

    return answer


def _run(app: Flask, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    parts, status, headers = run_wsgi_app(app, environ, buffered=True)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return int(status.partition(" ")[0]), raw, b"".join(parts)
