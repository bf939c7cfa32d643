"""The WSGI environment in which backends see a request of an ASGI app, parsed as strictly as at a gate. No I/O."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from compat_auth.errors import BadRequest
from compat_auth.guard import WEBSOCKET
from compat_auth.http.asgi import Scope
from compat_auth.http.forwarded import Peers
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.outcome import MODULE_ENVIRON
from compat_auth.scopes import METHOD_OVERRIDES

_PATH_SAFE = "/!$&'()*+,;=:@~"
_QUERY_SAFE = "".join(map(chr, range(0x21, 0x7F)))
_SECURE = ("https", "wss")


def client_of(scope: Scope) -> str:
    """Return the address of the caller, as the server says it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def path_of(scope: Scope) -> str:
    """Return the decoded path of a request below the root path."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


def environ_of(scope: Scope, peers: Peers | None, named: frozenset[bytes]) -> dict[str, Any]:
    """Return the WSGI environment (PEP 3333) of a request or handshake, without its body.

    Args:
        scope: As the server made it.
        peers: Reads the other end of the connection; None: no backend asks for it.
        named: Headers in which a backend finds who the caller is, in lower case.

    Raises:
        BadRequest: The header section has two readings, see `take_in`; or the path is not text.
    """
    try:
        path = quote(path_of(scope), safe=_PATH_SAFE).encode("ascii")
        query = quote(bytes(scope.get("query_string", b"")), safe=_QUERY_SAFE).encode("ascii")
    except UnicodeError:
        raise BadRequest("path: not UTF-8") from None
    raw = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
    intake = take_in(raw, may_lack_host=True, named=named)
    request = GateRequest(
        {**scope, "root_path": str(scope.get("root_path", "")).rstrip("/")},
        intake,
        str(scope.get("method", "GET")),
        path,
        query,
        client_of(scope),
        "https" if scope.get("scheme") in _SECURE else "http",
    )
    if peers is not None:
        request.peer = peers.of(scope, intake.identity, intake.forward)
    environ = request.environ(with_cookies=True)
    # The body is the app's: a module of Airflow 2 that wants it is refused at start.
    del environ[MODULE_ENVIRON]
    if scope["type"] == "websocket":
        environ[WEBSOCKET] = True
    for name in METHOD_OVERRIDES:
        if values := intake.forward.get(name):
            environ["HTTP_" + name.decode("ascii").upper().replace("-", "_")] = b",".join(values).decode("latin-1")
    return environ
