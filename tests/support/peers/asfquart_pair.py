"""asfquart with its documented app, and the same app on `CompatAuth`: two servers that get the same requests."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import bcrypt
import requests

from support.peers.place import environment
from support.peers.process import Process, answers_http, free_port

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SERVE = Path(__file__).parent / "asfquart_side" / "serve.py"


@dataclass
class Browser:
    """Keeps cookies, also those that are only for HTTPS: the servers stand on loopback.

    Attributes:
        url: Of the server, without a slash at the end.
        cookies: By name.
    """

    url: str
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    def ask(
        self, path: str, method: str = "GET", *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> requests.Response:
        """Return the answer to a request; redirects are not followed."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**({"Cookie": cookie} if cookie else {}), **(headers or {})}
        with requests.Session() as client:
            client.trust_env = False
            answer = client.request(
                method, f"{self.url}{path}", headers=sent, data=data, timeout=20, allow_redirects=False
            )
        for header in answer.raw.headers.getlist("set-cookie"):
            self._keep(header)
        return answer

    def _keep(self, header: str) -> None:
        for name, morsel in SimpleCookie(header).items():
            is_over = morsel["expires"] and parsedate_to_datetime(morsel["expires"]) < datetime.now(UTC)
            if is_over or morsel["max-age"] == "0" or not morsel.value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value

    def open(self, path: str) -> requests.Response:
        """Return the answer to a browser whose user opens a page."""
        return self.ask(path, headers={"Sec-Fetch-Mode": "navigate", "Accept": "text/html,*/*;q=0.8"})

    def show(self, token: str, path: str) -> requests.Response:
        """Return the answer to a request with a bearer token."""
        return self.ask(path, headers={"Authorization": f"Bearer {token}"})


@dataclass(frozen=True)
class Pair:
    """The two servers.

    Attributes:
        before: URL of asfquart's.
        after: URL of ours.
    """

    before: str
    after: str

    def browsers(self) -> tuple[Browser, Browser]:
        """Return a new browser for each."""
        return Browser(self.before), Browser(self.after)


def verdict(answer: requests.Response) -> object:
    """Return what a caller has got: the content, or "out" for a refusal and for the way to a login."""
    if answer.status_code in (302, 401, 403):
        return "out"
    if answer.status_code != 200:
        return answer.status_code
    return json.loads(answer.text) if answer.text[:1] == "{" else answer.text


@contextmanager
def serving(folder: Path, handler: str, callback: str = "") -> Generator[Pair]:
    """Serve both apps.

    Args:
        folder: For their files.
        handler: "async" or "sync": what kind of function the token handler is.
        callback: Where asfquart asks who has logged in, with `%s` for the code.
    """
    hashed = bcrypt.hashpw(b"wonder", bcrypt.gensalt(4)).decode()
    (folder / "users.htpasswd").write_text(f"ana:{hashed}\n", encoding="utf-8")
    sides: dict[str, tuple[Path, str]] = {
        "asfquart_before": (environment("asfquart") / "bin" / "python", callback),
        "asfquart_after": (Path(sys.executable), ""),
    }
    started: list[Process] = []
    urls: list[str] = []
    try:
        for name, (python, argument) in sides.items():
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            process = Process(name, folder / f"{name}-{handler}.log")
            command = [str(python), str(SERVE), str(EXAMPLES / f"{name}.py"), str(port), handler, argument]
            process.start(
                ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command],
                env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
                is_ready=partial(answers_http, f"{url}/show"),
                timeout_s=60,
            )
            started.append(process)
            urls.append(url)
        yield Pair(*urls)
    finally:
        for process in started:
            process.stop()
