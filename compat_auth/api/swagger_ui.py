"""Swagger UI for an OpenAPI document: to read it and to try it out. Nothing is loaded from elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from posixpath import dirname, relpath

from compat_auth.gateway.middleware import Page, whole_paths
from compat_auth.http.asgi import RawHeaders, Receive, Send, respond
from compat_auth.http.request import GateRequest

_CSS, _SCRIPT = b"text/css; charset=utf-8", b"text/javascript; charset=utf-8"
# Name in the URL: package, path in it, type. Swagger UI is brought by a package, so that it is updated like one.
_FILES = {
    "docs.css": ("compat_auth.web", "static/docs.css", _CSS),
    "docs.js": ("compat_auth.web", "static/docs.js", _SCRIPT),
    "swagger-ui.css": ("flask_swagger_ui", "dist/swagger-ui.css", _CSS),
    "swagger-ui.js": ("flask_swagger_ui", "dist/swagger-ui-bundle.js", _SCRIPT),
}
# What a page leads to, where it is there: below the prefix, or from the root.
_BESIDE = (
    ("tokens", "Tokens"),
    ("sessions", "Sessions"),
    ("docs", "Gateway API"),
    ("/api/v1/ui/", "Airflow API v1"),
)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
NOT_KEPT: RawHeaders = [(b"cache-control", b"no-store"), _NOSNIFF]
"""Headers of pages that are made for each request."""
_KEPT: RawHeaders = [(b"cache-control", b"private, max-age=3600"), _NOSNIFF]


@dataclass(frozen=True, slots=True)
class Site:
    """All our pages at a gate.

    Attributes:
        prefix: Their prefix, with both slashes.
        pages: By path below the prefix; a key that begins with "/" is a whole path.
    """

    prefix: str
    pages: Mapping[str, Page]

    @property
    def paths(self) -> frozenset[str]:
        """Their whole paths."""
        return frozenset(whole_paths(self.prefix, self.pages))


def swagger_ui(title: str, document: str, site: Site) -> Page:
    """Return the page that shows a document; the files of `swagger_files` are in the same folder.

    Args:
        title: The page's title.
        document: The document's URL, relative to the page.
        site: The pages that this page links to, if they exist.
    """
    template = _read("compat_auth.web", "templates/compat_auth/docs.html").decode("utf-8")
    for name, value in (("title", title), ("document", document)):
        template = template.replace(f"{{{{ {name} }}}}", escape(value))

    async def show(request: GateRequest, _receive: Receive, send: Send) -> None:
        nonce = secrets.token_urlsafe(16)
        # Not 'self': that would be every script of the upstream, which has the same origin.
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers: RawHeaders = [
            *NOT_KEPT,
            (b"content-security-policy", policy.encode("ascii")),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
        body = template.replace("{{ nonce }}", nonce).replace("{{ links }}", _links(site, request)).encode()
        await respond(send, 200, body, content_type=b"text/html; charset=utf-8", headers=headers)

    return show


def _links(site: Site, request: GateRequest) -> str:
    """Return the relative path to our other pages: it works below any path in front of us."""
    here, prefix = request.path.decode("ascii"), site.prefix
    links, paths = "", site.paths
    for name, text in _BESIDE:
        path = name if name.startswith("/") else prefix + name
        if path in paths:
            way = relpath(path, dirname(here)) + ("/" if path.endswith("/") else "")
            current = ' aria-current="page"' if path == here else ""
            links += f'<li><a href="{escape(way)}"{current}>{escape(text)}</a></li>\n'
    return links


def swagger_files() -> dict[str, Page]:
    """Return the files that the pages load, by name."""
    return {name: _file(_read(package, path), content_type) for name, (package, path, content_type) in _FILES.items()}


@cache
def _read(package: str, path: str) -> bytes:
    return files(package).joinpath(path).read_bytes()


def _file(content: bytes, content_type: bytes) -> Page:
    async def show(_request: GateRequest, _receive: Receive, send: Send) -> None:
        await respond(send, 200, content, content_type=content_type, headers=_KEPT)

    return show
