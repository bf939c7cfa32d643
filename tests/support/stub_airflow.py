"""Servers in the place of Airflow that are wrong in one respect each: no real Airflow can be told to be."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import jwt

from support.peers.authority import Signed

SECRET = "the-secret-of-airflow-that-is-long-enough-for-hs512-0123456789abcdef0123456789"


class StubAirflow(BaseHTTPRequestHandler):
    """Answers as Airflow 3.3 does to the few questions of a check; subclasses are wrong in one respect."""

    protocol_version = "HTTP/1.1"
    version = "3.3.2"
    manager = "fab"
    secret = SECRET
    audience = "apache-airflow"
    clock_s: ClassVar[float] = 0
    login_status = 400

    def do_GET(self) -> None:  # http.server's name
        """Answer."""
        match self.path.partition("?")[0]:
            case "/api/v2/version" if self.version.startswith("3"):
                self._answer(200, f'{{"version": "{self.version}"}}')
            case "/api/v1/version" if self.version.startswith("2"):
                self._answer(200, f'{{"version": "{self.version}"}}')
            case "/api/v2/dags":
                self._answer(*self._judge())
            case "/auth/fab/v1/users" if self.manager == "fab":
                self._answer(401, '{"detail": "Not authenticated"}')
            case _:
                self._answer(404, '{"error": "API route not found"}')

    def do_POST(self) -> None:  # http.server's name
        """Answer the login."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._answer(self.login_status, '{"detail": "Username and password must be provided"}')

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return what this server's clock says."""
        del timestamp
        return formatdate(time.time() + self.clock_s, usegmt=True)

    def _judge(self) -> tuple[int, str]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, self.secret, algorithms=["HS512"], audience=self.audience, leeway=10)
        except jwt.ExpiredSignatureError:
            return 401, '{"detail": "Token Expired"}'
        except jwt.InvalidTokenError:
            return 403, '{"detail": "Invalid JWT token"}'
        if ("role" in claims) == (self.manager == "fab"):
            return 403, '{"detail": "Invalid JWT token"}'
        return 200, "{}"

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@contextmanager
def served_by_tls(handler: type[BaseHTTPRequestHandler], signed: Signed) -> Generator[int]:
    """Yield the port of loopback at which the handler answers over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.certificate, signed.key)
    quiet = type(handler.__name__, (handler,), {"log_message": lambda *_: None})

    class Server(ThreadingHTTPServer):
        def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
            try:
                with context.wrap_socket(request, server_side=True) as secure:
                    self.RequestHandlerClass(secure, client_address, self)  # type: ignore[arg-type]
            except OSError:
                return

    server = Server(("127.0.0.1", 0), quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def silent_listener() -> Generator[int]:
    """Yield a port of loopback that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
