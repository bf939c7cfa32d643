"""The world of the ten modules of Airflow 2: the services that they ask, and what a caller shows each of them.

The services are stand-ins of ours for Keycloak, Auth0 and a site's own token service, with the shapes that those document.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization

from support.serving import served
from support.stub_issuer import RSA_KEY, jwk

MODULES = Path(__file__).resolve().parent.parent / "compat" / "legacy_modules"
PACKAGE = "ten"
VARIABLE_KEY = "key-of-the-json-body-0123456789abcdef"
SIGNING_KEY = "key-of-admin-0123456789abcdef"
# What the token service knows: token, user, roles.
SERVICE_TOKENS = {
    "service!token": ("admin", ["Admin"]),
    "new!token": ("carol", ["Viewer"]),
    "promoted!token": ("carol", ["Op"]),
}
_PASSWORDS = {"admin": "admin"}
_KID = "realm-key"


class _Services(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/realms/site":
            der = RSA_KEY.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self._answer(200, {"realm": "site", "public_key": base64.b64encode(der).decode()})
        elif self.path.endswith("/userinfo"):
            claims = _read(self.headers.get("Authorization", "").partition(" ")[2])
            self._answer(200, claims) if claims else self._answer(401, {"error": "invalid_token"})
        elif self.path == "/auth0/.well-known/jwks.json":
            self._answer(200, {"keys": [jwk(RSA_KEY.public_key(), _KID, alg="RS256")]})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/service/whois":
            known = SERVICE_TOKENS.get(json.loads(body)["token"])
            if known is None:
                return self._answer(404, {})
            return self._answer(200, {"username": known[0], "roles": known[1], "email": f"{known[0]}@example.com"})
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if self.path.endswith("/introspect"):
            claims = _read(form["token"])
            active = {"active": True, "username": claims["preferred_username"]} if claims else {"active": False}
            return self._answer(200, active)
        if _PASSWORDS.get(form.get("username", "")) == form.get("password"):
            return self._answer(200, {"access_token": token_of(form["username"]), "token_type": "Bearer"})
        return self._answer(401, {"error": "invalid_grant"})

    def _answer(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def token_of(username: str, **claims: Any) -> str:
    """Return a token of the realm, or of Auth0, for a user."""
    content = {
        "preferred_username": username,
        "email": f"{username}@example.com",
        "aud": "airflow",
        "exp": int(time.time()) + 3600,
        "resource_access": {"airflow": {"roles": ["airflow-user"]}},
        **claims,
    }
    return jwt.encode(content, RSA_KEY, "RS256", {"kid": _KID})


def _read(token: str) -> dict[str, Any] | None:
    try:
        return dict(jwt.decode(token, RSA_KEY.public_key(), algorithms=["RS256"], audience="airflow"))
    except jwt.PyJWTError:
        return None


@dataclass(frozen=True, slots=True)
class Sent:
    """What a caller sends beside method and path."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class LegacyCase:
    """One of the ten modules.

    Attributes:
        module: Its name in the package.
        does: What it does, for the table.
        good: What the caller `admin` shows, from the URL of the services and the path of the request.
        bad: The same, of nobody.
        none: What a caller without a credential sends.
        settings: Of `[airflow2_modules]`.
        method: Of the request.
    """

    module: str
    does: str
    good: Callable[[str, str], Sent]
    bad: Callable[[str, str], Sent]
    none: Sent = field(default_factory=Sent)
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    method: str = "GET"

    @property
    def name(self) -> str:
        """Its dotted name."""
        return f"{PACKAGE}.{self.module}"

    @property
    def path(self) -> str:
        """Path of the request, below the API."""
        return "/dags" if self.method == "GET" else "/variables"


def _authorization(value: Callable[[str], str] | str) -> Callable[[str, str], Sent]:
    return lambda url, _: Sent({"Authorization": value(url) if callable(value) else value})


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _signed(key: str) -> Callable[[str, str], Sent]:
    def sign(_: str, path: str) -> Sent:
        signature = hmac.new(key.encode(), b"\n".join((b"GET", path.encode(), b"")), hashlib.sha256).hexdigest()
        return Sent({"Authorization": f"HMAC admin:{signature}"})

    return sign


def _variable(description: str) -> Sent:
    content = {"key": f"of_legacy_{time.monotonic_ns()}", "value": "x", "description": description}
    return Sent({"Content-Type": "application/json"}, json.dumps(content).encode())


def _in_body(key: str) -> Callable[[str, str], Sent]:
    return lambda _url, _path: _variable(jwt.encode({"sub": "admin"}, key, "HS256"))


_GOOD_BEARER = _authorization(lambda _: f"Bearer {token_of('admin')}")
_BAD_BEARER = _authorization("Bearer junk!token")
_GOOD_BASIC, _BAD_BASIC = _authorization(_basic("admin", "admin")), _authorization(_basic("admin", "wrong"))
CASES = (
    LegacyCase("keycloak_userinfo", "password grant at Keycloak, then userinfo", _GOOD_BASIC, _BAD_BASIC),
    LegacyCase(
        "realm_key_roles",
        "realm's key fetched at import, roles from `resource_access`, raises on junk",
        _GOOD_BEARER,
        _BAD_BEARER,
    ),
    LegacyCase(
        "introspection_or_password", "introspection, else LDAP or database by AUTH_TYPE", _GOOD_BEARER, _BAD_BEARER
    ),
    LegacyCase(
        "token_service",
        "a site's tokens, creates and updates users and roles",
        _authorization("Token service!token"),
        _authorization("Token junk"),
        settings={"write_users_as": "admin"},
    ),
    LegacyCase("signed_requests", "HMAC over the request, signs the answer", _signed(SIGNING_KEY), _signed("wrong")),
    LegacyCase(
        "auth0_jwks",
        "Auth0's JWKS, with `LoggingMixin` and `conf`",
        _authorization(lambda url: f"Bearer {token_of('admin', iss=f'{url}/auth0')}"),
        _authorization(lambda _: f"Bearer {token_of('admin', iss='https://other.example')}"),
    ),
    LegacyCase(
        "json_body_token",
        "a JWT in the JSON body, its key in a Variable",
        _in_body(VARIABLE_KEY),
        _in_body("another-key-0123456789abcdef0123456789"),
        none=_variable(""),
        settings={"read_as": "admin"},
        method="POST",
    ),
    LegacyCase(
        "front_proxy",
        "the remote user of a front proxy",
        lambda _url, _path: Sent({"X-Remote-User": "admin"}),
        lambda _url, _path: Sent({"X-Remote-User": "nobody"}),
        settings={"remote_user_header": "X-Remote-User", "remote_user_proxies": ["127.0.0.1"]},
    ),
    LegacyCase("asks_auth_view", "asks `sm.auth_view`, as Composer's does", _GOOD_BASIC, _BAD_BASIC),
    LegacyCase("password_of_1_10", "1.10's passwords, with `_request_ctx_stack`", _GOOD_BASIC, _BAD_BASIC),
)


def environ_of(url: str) -> dict[str, str]:
    """Return the environment that the modules read, as variables of Airflow's configuration."""
    return {
        "PYTHONPATH": str(MODULES),
        "AIRFLOW__SITE__REALM_URL": f"{url}/realms/site",
        "AIRFLOW__SITE__SERVICE_URL": f"{url}/service",
        "AIRFLOW__SITE__AUTH0_URL": f"{url}/auth0",
        "AIRFLOW__SITE_KEYS__ADMIN": SIGNING_KEY,
    }


@contextmanager
def legacy_services() -> Generator[str]:
    """Yield the URL of the services."""
    with served(_Services) as url:
        yield url
