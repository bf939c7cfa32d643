"""The OpenAPI document of our own endpoints, and Swagger UI to read it and try it out. Nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import secrets
from importlib.resources import files

from compat_auth.asgi import RawHeaders, Receive, Send, respond
from compat_auth.gate import Gate, Page
from compat_auth.openapi import describe
from compat_auth.request import GateRequest

_CSS, _SCRIPT = b"text/css; charset=utf-8", b"text/javascript; charset=utf-8"
# Name in the URL: package, path in it, type. Swagger UI is brought by a package, so that it is updated like one.
_FILES = {
    "docs.css": ("compat_auth.web", "static/docs.css", _CSS),
    "docs.js": ("compat_auth.web", "static/docs.js", _SCRIPT),
    "swagger-ui.css": ("flask_swagger_ui", "dist/swagger-ui.css", _CSS),
    "swagger-ui.js": ("flask_swagger_ui", "dist/swagger-ui-bundle.js", _SCRIPT),
}
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE: RawHeaders = [(b"cache-control", b"no-store"), _NOSNIFF]
_KEPT: RawHeaders = [(b"cache-control", b"private, max-age=3600"), _NOSNIFF]


def docs_pages() -> dict[str, Page]:
    """Return the pages by path below the prefix."""
    read = {
        name: (files(package).joinpath(path).read_bytes(), content_type)
        for name, (package, path, content_type) in _FILES.items()
    }
    template = files("compat_auth.web").joinpath("templates/compat_auth/docs.html").read_text(encoding="utf-8")
    return {
        "openapi.json": _show_document,
        "docs": _swagger_ui(template),
        **{name: _file(content, content_type, _KEPT) for name, (content, content_type) in read.items()},
    }


async def _show_document(gate: Gate, _request: GateRequest, _receive: Receive, send: Send) -> None:
    document = describe(gate.rules.prefix.decode("ascii"), gate.paths)
    await respond(send, 200, json.dumps(document).encode(), content_type=b"application/json", headers=_NO_STORE)


def _file(content: bytes, content_type: bytes, headers: RawHeaders) -> Page:
    async def show(_gate: Gate, _request: GateRequest, _receive: Receive, send: Send) -> None:
        await respond(send, 200, content, content_type=content_type, headers=headers)

    return show


def _swagger_ui(template: str) -> Page:
    async def show(_gate: Gate, _request: GateRequest, _receive: Receive, send: Send) -> None:
        nonce = secrets.token_urlsafe(16)
        # Not 'self': that would be every script of the upstream, which has the same origin.
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers: RawHeaders = [
            *_NO_STORE,
            (b"content-security-policy", policy.encode("ascii")),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
        body = template.replace("{{ nonce }}", nonce).encode()
        await respond(send, 200, body, content_type=b"text/html; charset=utf-8", headers=headers)

    return show
