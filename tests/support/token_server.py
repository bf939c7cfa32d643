"""A small server over real sockets: hands out tokens at `/auth/token`, takes them back, wants them elsewhere, keeps what it got."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import jwt

SECRET = "a secret of the server that the tests start" * 2


@dataclass
class Got:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """One answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b"{}"


class _Server(ThreadingHTTPServer):
    """Takes many connections at once; the library's own queue of five makes clients wait for seconds."""

    request_queue_size = 128


@dataclass
class TokenServer:
    """What a test sets before, and looks at after."""

    url: str = ""
    lifetime_s: int = 3600
    login_takes_s: float = 0
    clock_ahead_s: int = 0
    logins: list[Got] = field(default_factory=list[Got])
    requests: list[Got] = field(default_factory=list[Got])
    issued: list[str] = field(default_factory=list[str])
    personal: dict[str, str] = field(default_factory=dict[str, str])
    questions: list[Got] = field(default_factory=list[Got])
    revoked: set[str] = field(default_factory=set[str])
    revocations: list[Got] = field(default_factory=list[Got])
    on_revocation: Callable[[Got], Answer | None] = lambda _got: None
    on_login: Callable[[Got], Answer | None] = lambda _got: None
    on_request: Callable[[Got], Answer | None] = lambda _got: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def revoke_all(self) -> None:
        """Refuse every token issued so far."""
        self.revoked.update(self.issued)

    def answer(self, got: Got) -> Answer:
        """Log in or serve."""
        if got.path == "/auth/token":
            with self.lock:
                self.logins.append(got)
            time.sleep(self.login_takes_s)
            return self.on_login(got) or self._issue()
        if got.path == "/compat-auth/revoke":
            with self.lock:
                self.revocations.append(got)
                self.revoked.update(dict(parse_qsl(got.body.decode())).values())
            return self.on_revocation(got) or Answer(200)
        token = got.headers.get("authorization", "").removeprefix("Bearer ")
        if got.path == "/compat-auth/whoami":
            with self.lock:
                self.questions.append(got)
            if token not in self.personal or token in self.revoked:
                return Answer(401, {"WWW-Authenticate": "Bearer"})
            return Answer(200, body=json.dumps({"username": self.personal[token]}).encode())
        with self.lock:
            self.requests.append(got)
        if (token not in self.issued and token not in self.personal) or token in self.revoked:
            return self.on_request(got) or Answer(401, {"WWW-Authenticate": "Bearer"})
        return self.on_request(got) or Answer(200)

    def _issue(self) -> Answer:
        now = int(time.time()) + self.clock_ahead_s
        with self.lock:
            claims = {"sub": "alice", "iat": now, "exp": now + self.lifetime_s, "jti": str(len(self.issued))}
            token = jwt.encode(claims, SECRET, algorithm="HS512")
            self.issued.append(token)
        return Answer(201, body=json.dumps({"access_token": token}).encode())


@contextmanager
def serving() -> Generator[TokenServer]:
    """Serve on a free port of loopback."""
    state = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = state.answer(Got(self.command, self.path, headers, body))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815  # the names that http.server looks for

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((time.time() if timestamp is None else timestamp) + state.clock_ahead_s)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
            del format, args

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
