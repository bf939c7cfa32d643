"""Limit header values before a Flask application parses them, so that no value is slow to parse. No I/O.

Werkzeug's patterns for `Cookie` and `Accept` take time that grows with the square of a run of blanks, and hold the GIL
meanwhile. So a run of blanks becomes one blank, and a cookie in a form that no browser sends is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

MAX_COOKIE_BYTES = 32 * 1024
"""More than any browser sends to one path in practice; the rest is removed."""
MAX_COOKIES = 512
# RFC 6265 4.1.1, and in a quoted value the escapes that http.cookies and werkzeug write.
_PAIR = re.compile(
    r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+="
    r'(?:[!#-+\--:<-\[\]-~]*|"(?:[ !#-+\--:<-\[\]-~]|\\[0-3][0-7]{2}|\\["\\])*")\Z'
)
# A cookie that werkzeug reads without backtracking.
_READABLE = re.compile(r'[^ \t=";]+(?:=(?:[^ \t";]*|"(?:[^\\";]|\\[^;])*"))?\Z')
_BLANKS = re.compile(rb"[ \t]{2,}|\t")
_EXTENSION = "compat_auth_cookies"
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def cookie_header(values: list[bytes]) -> str:
    """Return one Cookie value with the RFC 6265 pairs among these values, as many as fit.

    Args:
        values: The Cookie values of a request, in order.
    """
    text = b";".join(values).decode("latin-1")
    return _joined(pair for pair in map(_trimmed, text.split(";")) if _PAIR.match(pair))


def readable_cookies(value: str) -> str:
    """Return a Cookie value with the pairs that werkzeug reads, without those that would take it long."""
    return _joined(pair for pair in map(_trimmed, value.split(";")) if _READABLE.match(pair))


def one_blank(value: bytes) -> bytes:
    """Return a header value with one space for each run of blanks (equivalent by RFC 9110 section 5.6.3)."""
    return _BLANKS.sub(b" ", value) if b"  " in value or b"\t" in value else value


class ReadableCookies:
    """WSGI middleware that removes cookies which an application would take long to parse.

    Args:
        app: The application.
    """

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        cookie = environ.get("HTTP_COOKIE")
        if cookie:
            environ = {**environ, "HTTP_COOKIE": readable_cookies(cookie)}
        return self._app(environ, start_response)


def shield_cookies(app: Any) -> None:
    """Remove cookies that a Flask app would take long to parse; a second call has no effect.

    Flask reads the session's cookie before any hook runs, so this has to be middleware.
    """
    if app.extensions.setdefault(_EXTENSION, False) is False:
        app.extensions[_EXTENSION] = True
        app.wsgi_app = ReadableCookies(app.wsgi_app)


def _trimmed(pair: str) -> str:
    return pair.strip(" \t")


def _joined(pairs: Iterable[str]) -> str:
    kept: list[str] = []
    size = 0
    for pair in pairs:
        size += len(pair) + 2
        if size > MAX_COOKIE_BYTES or len(kept) == MAX_COOKIES:
            break
        kept.append(pair)
    return "; ".join(kept)
