"""Serves a page of the Flask app at the gate: a small bridge from ASGI to WSGI, with a limit on the body."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from flask import Flask
from werkzeug.test import run_wsgi_app

from compat_auth.concurrency.lanes import LaneName, Lanes
from compat_auth.errors import CompatAuthError
from compat_auth.gateway.decision import Granted, Refused, Unclaimed, notices_of
from compat_auth.gateway.identification import Identification
from compat_auth.gateway.middleware import Page
from compat_auth.gateway.refusals import Refusals
from compat_auth.guard import JUDGED, METADATA_URL
from compat_auth.http.asgi import Receive, Send, read_body, respond
from compat_auth.http.request import GateRequest
from compat_auth.outcome import Accept, Outcome, Reject, Skip


def flask_page(
    app: Flask,
    lanes: Lanes,
    refusals: Refusals,
    *,
    max_body_bytes: int,
    lane: LaneName = "aside",
    identification: Identification | None = None,
) -> Page:
    """Return the page that answers as the app does.

    Args:
        app: Routes by the whole path.
        lanes: Threads.
        refusals: Knows the URL of the API's metadata.
        max_body_bytes: More than this is 413.
        lane: The lane of threads; see `Lanes.run`.
        identification: Identifies the caller for its views; None: they do not ask.
    """

    async def answer(request: GateRequest, receive: Receive, send: Send) -> None:
        body = request.body = await read_body(receive, max_body_bytes)
        environ = request.environ(with_cookies=True)
        environ.setdefault("CONTENT_TYPE", "")
        environ["CONTENT_LENGTH"] = str(len(body))
        environ["wsgi.input"] = BytesIO(body)
        environ[METADATA_URL] = refusals.context(request).metadata_url
        # A cookie is the session's, and what it knows of a session belongs to the request that the view sees.
        if identification is not None and request.intake.authorization is not None:
            environ[JUDGED] = await _judged(identification, request)
        status, headers, content = await lanes.run(request.client, lambda: _run(app, environ), lane=lane)
        kept = [(name, value) for name, value in headers if name not in (b"content-length", b"content-type")]
        content_type = dict(headers).get(b"content-type", b"")
        await respond(send, status, content, content_type=content_type, headers=kept)

    return answer


async def _judged(identification: Identification, request: GateRequest) -> Outcome | CompatAuthError:
    try:
        decision = await identification.identify(request)
    except CompatAuthError as error:
        return error
    match decision:
        case Granted(identity, _, raw_headers, used=used):
            headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in raw_headers)
            notices = ((name.decode("ascii").title(), value.decode("ascii")) for name, value in notices_of(decision))
            headers = (*headers, *notices)
            return Accept(identity, headers, used=used)
        case Refused(status, challenges):
            return Reject("", status, challenges)
        case Unclaimed(_, challenges):
            return Skip(challenges)


def _run(app: Flask, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    parts, status, headers = run_wsgi_app(app, environ, buffered=True)
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return int(status.partition(" ")[0]), raw, b"".join(parts)
