"""A gateway with pages in this process, in front of an upstream like Airflow, and a browser of it that keeps cookies."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt

from compat_auth.app import Gateway
from compat_auth.config import Settings, parse_settings
from compat_auth.http.asgi import RawHeaders
from support.stand_ins import Sent, call, http_scope

HASH = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()


def settings_with_pages(folder: Path, upstream_port: int, **more: Any) -> Settings:
    """Return the settings; the password of alice and of bob is "wonder"; a section in `more` is added to ours."""
    (folder / "htpasswd").write_text(f"alice:{HASH}\nbob:{HASH}\n")
    (folder / "htpasswd").chmod(0o600)
    content: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "session": {"secret": "s" * 32},
        "upstream": {
            "url": f"http://127.0.0.1:{upstream_port}",
            "profile": "airflow-simple",
            "roles": {"*": "VIEWER"},
        },
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
    }
    for name, value in more.items():
        content[name] = {**content.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_settings(content, origin="test")


@contextlib.asynccontextmanager
async def opened_pages(settings: Settings) -> AsyncGenerator[Gateway]:
    """Open the gateway and close it in the end."""
    gateway = Gateway(settings)
    await gateway._proxy.open()
    try:
        yield gateway
    finally:
        gateway._core.decider.close()
        await gateway._proxy.close()


@dataclass
class Browser:
    """Keeps cookies, and says that its requests come from our own pages."""

    gateway: Gateway
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    async def ask(
        self, path: str, form: dict[str, str] | None = None, headers: RawHeaders | None = None, **cookies: str
    ) -> Sent:
        """Ask for a path, by POST where there is a form; the headers stand in place of those of our own pages."""
        jar = {**self.cookies, **cookies}
        headers = [*([(b"sec-fetch-site", b"same-origin")] if headers is None else headers)]
        if jar:
            headers.append((b"cookie", "; ".join(f"{name}={value}" for name, value in jar.items()).encode()))
        if form is not None:
            headers.append((b"content-type", b"application/x-www-form-urlencoded"))
        method = "GET" if form is None else "POST"
        sent = await call(
            self.gateway, http_scope(path.encode(), headers, method=method), urlencode(form or {}).encode()
        )
        for value in sent.values(b"set-cookie"):
            name, _, content = value.decode().partition(";")[0].partition("=")
            if content:
                self.cookies[name] = content
            else:
                self.cookies.pop(name, None)
        return sent

    async def submit(self, path: str, **fields: str) -> Sent:
        """Send the form of a page."""
        (token,) = re.findall(rb'name="token" value="([^"]*)"', (await self.ask(path)).body)
        return await self.ask(path, {"token": token.decode(), **fields})

    async def log_in(self, username: str = "alice") -> None:
        """Log in at our page."""
        sent = await self.submit("/compat-auth/login", username=username, password="wonder")
        assert sent.status == 303, sent.body

    async def token(self) -> str:
        """Return a token made from the session."""
        sent = await self.ask("/auth/token", {})
        assert sent.status == 201, sent.body
        return str(json.loads(sent.body)["access_token"])
