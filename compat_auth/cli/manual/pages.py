"""The built documentation, answered as files: only those found at the start, by their exact names."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_Message = MutableMapping[str, Any]
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml")
# The pages load nothing from elsewhere; the theme has style attributes.
_POLICY = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_NOT_FOUND = b"There is no such page; begin at /\n"
_ONLY_READ = b"These pages can only be read: use GET.\n"


@dataclass(frozen=True, slots=True)
class _Answer:
    """A status with its body.

    Attributes:
        status: Of HTTP.
        kind: The media type.
        body: The content, read whole: a page is small.
        policy: The Content-Security-Policy.
        more: Other headers.
    """

    status: int
    kind: str
    body: bytes
    policy: str = _POLICY.format(hashes="")
    more: tuple[tuple[bytes, bytes], ...] = ()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return its headers; everything may be read, nothing may be embedded elsewhere or guessed."""
        return [
            (b"content-type", self.kind.encode()),
            (b"content-length", str(len(self.body)).encode()),
            (b"content-security-policy", self.policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cache-control", b"no-cache"),
            *self.more,
        ]


class Pages:
    """An ASGI application for a folder of built pages.

    Only a file that is in the folder at the start is answered, and only at its exact name, so no path leads out of
    the folder: not by "..", not encoded, not by a link.

    Args:
        folder: The folder with index.html.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {name: path for path in sorted(folder.rglob("*")) if (name := _name_of(path, folder))}

    def __len__(self) -> int:
        return len(self._files)

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer one request; a WebSocket is refused by closing it."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            return
        answer = self.answer(scope["method"], scope["path"])
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers()})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    def answer(self, method: str, path: str) -> _Answer:
        """Return the answer for a method and a decoded path."""
        if method not in ("GET", "HEAD"):
            return _Answer(405, "text/plain; charset=utf-8", _ONLY_READ, more=((b"allow", b"GET, HEAD"),))
        file = self._files.get(path + "index.html" if path.endswith("/") else path)
        try:
            body = file.read_bytes() if file is not None else None
        except OSError:
            body = None
        if file is None or body is None:
            return _Answer(404, "text/plain; charset=utf-8", _NOT_FOUND)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.startswith(_TEXT):
            kind += "; charset=utf-8"
        hashes = _hashes(body) if file.suffix == ".html" else ""
        return _Answer(200, kind, body, _POLICY.format(hashes=hashes))


def _name_of(path: Path, folder: Path) -> str:
    """Return the path of a URL for a file; "" for what is no page: folders, links, hidden files."""
    parts = path.relative_to(folder).parts
    if path.is_symlink() or not path.is_file() or any(part.startswith(".") for part in parts):
        return ""
    # A linked folder may lead out of the folder.
    is_inside = path.resolve().is_relative_to(folder.resolve())
    return "/" + "/".join(parts) if is_inside else ""


def _hashes(page: bytes) -> str:
    """Return the sources of Content-Security-Policy for the scripts in one of our pages (CSP 3, section 2.3.1)."""
    found = {base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(page)}
    return "".join(f" 'sha256-{digest}'" for digest in sorted(found))
