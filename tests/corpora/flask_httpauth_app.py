"""An application of Flask-HTTPAuth that tells the echo whom it let in: run by gunicorn in that peer's own environment."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask_httpauth import HTTPBasicAuth  # pyright: ignore[reportMissingImports]  # in that environment

app = Flask(__name__)
auth = HTTPBasicAuth()
_USERS = {"alice": "secret", "bob": "other-secret"}
_METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


@auth.verify_password  # type: ignore[untyped-decorator]  # Flask-HTTPAuth has no types
def verify(username: str, password: str) -> str | None:
    return username if password and _USERS.get(username) == password else None


@app.route("/", defaults={"path": ""}, methods=_METHODS, provide_automatic_options=False)
@app.route("/<path:path>", methods=_METHODS, provide_automatic_options=False)
@auth.login_required  # type: ignore[untyped-decorator]  # the same
def tell(path: str) -> Response:
    """Send the echo what arrived, with the user in `X-Remote-User`."""
    del path
    raw = str(request.environ.get("RAW_URI", request.full_path)).encode("latin-1")
    own = ("x-remote-user", "host", "content-length", "transfer-encoding", "connection")
    headers = [(name, value) for name, value in request.headers if name.lower() not in own]
    lines = "".join(f"{name}: {value}\r\n" for name, value in [*headers, ("X-Remote-User", str(auth.current_user()))])
    body = request.get_data()
    head = b"%b %b HTTP/1.1\r\nHost: echo\r\n%bContent-Length: %d\r\n\r\n" % (
        request.method.encode(),
        raw,
        lines.encode("latin-1", "replace"),
        len(body),
    )
    echo = urlsplit(os.environ["ECHO_URL"])
    with socket.create_connection((str(echo.hostname), int(echo.port or 0)), timeout=10) as connection:
        connection.sendall(head + body)
        connection.recv(65536)
    return Response("in\n")
