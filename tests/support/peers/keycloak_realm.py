"""A realm that answers KeycloakAuthManager's questions as Keycloak does; Keycloak itself needs a JVM and a minute."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

import jwt

from support.serving import served

REALM, CLIENT, CLIENT_SECRET = "airflow", "airflow-client", "secret-of-the-client"
UMA = "urn:ietf:params:oauth:grant-type:uma-ticket"
_KEY = "signs what only the realm itself reads, and is long enough"
_OPENID = f"/realms/{REALM}/protocol/openid-connect"


@dataclass
class Realm:
    """Users admin, viewer and crowd, each with its name as password; viewer may only read, crowd has many roles.

    Attributes:
        url: Keycloak's own.
        lifespan_s: Of the access tokens that are made from now on.
        ended: Access tokens that are no longer good, whatever they say.
        logins: By user.
        made: The newest access token of each user.
    """

    url: str = ""
    lifespan_s: int = 300
    ended: set[str] = field(default_factory=set[str])
    logins: Counter[str] = field(default_factory=Counter[str])
    made: dict[str, str] = field(default_factory=dict[str, str])

    def answer(self, path: str, form: dict[str, str], bearer: str) -> tuple[int, dict[str, Any]]:
        """Return status and document."""
        if path == f"{_OPENID}/token":
            if form["grant_type"] == UMA:
                return self._may(bearer, form["permission"])
            return self._log_in(form)
        if path == f"{_OPENID}/userinfo":
            claims = self._read(bearer)
            return (401, {"error": "invalid_token"}) if claims is None else (200, claims)
        return 404, {"error": "unknown"}

    def _log_in(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form["grant_type"] == "client_credentials":
            name = "robot" if form["client_secret"] == CLIENT_SECRET else ""
        else:
            name = form["username"] if form["username"] == form["password"] else ""
        if not name:
            return 401, {"error": "invalid_grant", "error_description": "Invalid user credentials"}
        self.logins[name] += 1
        roles = [f"role-of-some-length-{number}" for number in range(200 if name == "crowd" else 1)]
        now = int(time.time())
        said: dict[str, Any] = {"sub": f"id-of-{name}", "preferred_username": name, "iat": now, "roles": roles}
        access = jwt.encode({**said, "jti": str(time.time_ns()), "exp": now + self.lifespan_s}, _KEY)
        self.made[name] = access
        return 200, {"access_token": access, "refresh_token": jwt.encode({**said, "exp": now + 1800}, _KEY)}

    def _may(self, bearer: str, permission: str) -> tuple[int, dict[str, Any]]:
        claims = self._read(bearer)
        if claims is None:
            return 401, {"error": "invalid_token"}
        reads = permission.rpartition("#")[2] in ("GET", "LIST", "MENU")
        if claims["preferred_username"] == "viewer" and not reads:
            return 403, {"error": "access_denied"}
        return 200, {"access_token": "ticket"}

    def _read(self, bearer: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = jwt.decode(bearer, _KEY, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return None
        return None if bearer in self.ended else found


@contextmanager
def served_realm() -> Generator[Realm]:
    """Yield a realm that answers."""
    realm = Realm()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(sent).items()})

        def do_GET(self) -> None:
            self._answer({})

        def _answer(self, form: dict[str, str]) -> None:
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, document = realm.answer(self.path.replace("//", "/"), form, bearer)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with served(Handler) as url:
        realm.url = url
        yield realm
