"""Small HTTP servers on a thread, for what a test lets others ask."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import uvicorn
from werkzeug.serving import make_server


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Generator[str]:
    """Yield the URL, without a slash at the end, at which the handler answers; it writes nothing about its requests."""
    quiet = type(handler.__name__, (handler,), {"log_message": lambda *_: None})
    with _running(ThreadingHTTPServer(("127.0.0.1", 0), quiet)) as url:
        yield url


@contextmanager
def served_by_wsgi(app: Any) -> Generator[str]:
    """Yield the URL, without a slash at the end, at which a WSGI app answers."""
    with _running(make_server("127.0.0.1", 0, app, threaded=True)) as url:
        yield url


@contextmanager
def _running(server: HTTPServer) -> Generator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def served_by_asgi(app: Any) -> Generator[str]:
    """Yield the URL, without a slash at the end, at which uvicorn serves an app of ASGI; fails if the app does not start."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))

        def run() -> None:
            with contextlib.suppress(SystemExit):
                server.run(sockets=[listener])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the app did not start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
