"""The page of the demo's upstream: what it has received, newest first, renewed by the browser."""

from __future__ import annotations

import html
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_KEPT = 20
_RENEWED_S = 2
_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"cache-control", b"no-store"),
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{renewed_s}">
<title>Received by the API</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
pre {{ overflow-x: auto; }}
</style>
</head>
<body>
<h1>Received by the API</h1>
<p>The API behind the gateway accepts only the gateway's JWT. Run a curl line of the demo, and see here what arrives in its place.
Your account: <a href="/compat-auth/">/compat-auth/</a></p>
{received}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Received:
    """One request that reached the upstream with a JWT that it accepts."""

    at: float
    request_line: str
    claims: Mapping[str, Any]


class ReceivedPage:
    """Keeps the last requests, and shows them."""

    def __init__(self) -> None:
        self._received: deque[Received] = deque(maxlen=_KEPT)
        self.headers = _HEADERS

    def add(self, request_line: str, claims: Mapping[str, Any]) -> None:
        """Keep a request; the token itself is not kept."""
        self._received.appendleft(Received(time.time(), request_line, claims))

    def render(self) -> bytes:
        """Return the page."""
        shown = "".join(_shown(one) for one in self._received) or "<p>Nothing yet.</p>"
        return _PAGE.format(renewed_s=_RENEWED_S, received=shown).encode("utf-8")


def _shown(one: Received) -> str:
    at = time.strftime("%H:%M:%S", time.gmtime(one.at))
    heading = html.escape(f"{at} UTC  {one.request_line}")
    claims = html.escape(json.dumps(one.claims, indent=2, ensure_ascii=False))
    return f'<h2>{heading}</h2>\n<pre tabindex="0">{claims}</pre>\n'
