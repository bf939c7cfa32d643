"""A real OpenID provider that logs anybody in who is named, and the clients that get tokens from it."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
import requests

from support.peers.place import HERE, INSTALL, peers_folder
from support.peers.process import Process, answers_http, free_port

START_S = 30
TIMEOUT_S = 20
MAX_HOPS = 8
AUDIENCE = "https://api.example.org"
GATEWAY_CLIENT = "gateway"
GATEWAY_SECRET = "gateway secret+%"
LOGIN_CLIENT = "login"
LOGIN_SECRET = "login secret+%"
GOOGLE = "https://accounts.google.com"
_SOURCE = HERE / "oidc"
_CALLBACK = "http://127.0.0.1:1/callback"


class OpenIdProvider:
    """One oidc-provider; keeps its port and signing keys over a restart, but no token.

    Users: alice, bob (e-mail not verified), carol (no `hd`), disabled, stranger, newcomer (with a full name), service (of
    a Google project).

    Attributes:
        url: Where it listens, without a slash at the end.
        issuer: What it calls itself.
        process: The running server.
    """

    def __init__(self, folder: Path, *, issuer: str = "") -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.issuer = issuer or self.url
        self.jwks_url = f"{self.url}/jwks"
        self.process = Process("oidc-provider", folder / "log")
        self._folder = folder
        self._port = port
        self._callbacks: list[str] = []

    def start(self) -> None:
        """Start it and return once it answers."""
        command = [
            _node(),
            str(_SOURCE / "provider.mjs"),
            str(_modules()),
            str(self._folder),
            str(self._port),
            self.issuer,
        ]
        self.process.start(
            command,
            env={"PATH": os.defpath, "HOME": str(self._folder)},
            is_ready=lambda: answers_http(f"{self.url}/test/counts"),
            timeout_s=START_S,
        )
        for uri in self._callbacks:
            self._add_callback(uri)

    def stop(self) -> None:
        """Stop it; its keys stay, its tokens are forgotten."""
        self.process.stop()

    def id_token(self, user: str, *, client: str = "web-RS256") -> str:
        """Return the ID token that a login of the user gives a client."""
        return str(self._log_in(user, client)["id_token"])

    def access_token(self, user: str, *, client: str = "web-RS256", resource: str = "") -> str:
        """Return the user's access token: opaque and for UserInfo, or for a `resource` (see `resource`)."""
        return str(self._log_in(user, client, resource=resource)["access_token"])

    def machine_token(self, resource: str, *, client: str = "machine", scope: str = "read") -> str:
        """Return the token of a client that acts for itself."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
        return str(self._post("/token", form, (client, "machine-secret"))["access_token"])

    def revoke(self, token: str, *, client: str = "web-RS256") -> None:
        """Revoke an opaque token of a client of a user."""
        answer = requests.post(
            f"{self.url}/token/revocation", data={"token": token}, auth=(client, "web-secret"), timeout=TIMEOUT_S
        )
        answer.raise_for_status()

    def rotate(self, *, drop: bool = False) -> None:
        """Sign with new keys from now on; the old ones stay published unless they are dropped."""
        requests.get(f"{self.url}/test/rotate{'?drop' if drop else ''}", timeout=TIMEOUT_S).raise_for_status()

    def send_logins_to(self, uri: str) -> None:
        """Let the client `LOGIN_CLIENT` have users sent back to this address, too."""
        self._callbacks.append(uri)
        self._add_callback(uri)

    def asked(self, path: str) -> int:
        """Return how often a path was asked for since the start."""
        counts: dict[str, int] = requests.get(f"{self.url}/test/counts", timeout=TIMEOUT_S).json()
        return counts.get(path, 0)

    def _add_callback(self, uri: str) -> None:
        query = urlencode({"uri": uri})
        requests.get(f"{self.url}/test/callback?{query}", timeout=TIMEOUT_S).raise_for_status()

    def _log_in(self, user: str, client: str, *, resource: str = "") -> Mapping[str, Any]:
        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        target = {"resource": resource} if resource else {}
        query = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": _CALLBACK,
            "scope": "openid email profile" + (" read" if resource else ""),
            "state": "state",
            "login_hint": user,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **target,
        }
        url = f"{self.url}/auth?{urlencode(query)}"
        with requests.Session() as browser:
            browser.trust_env = False
            for _ in range(MAX_HOPS):
                answer = browser.get(url, allow_redirects=False, timeout=TIMEOUT_S)
                # Under another issuer's name it redirects to that issuer's host.
                url = urljoin(url, answer.headers["location"]).replace(self.issuer, self.url)
                if url.startswith(_CALLBACK):
                    break
        code = dict(parse_qsl(urlsplit(url).query))["code"]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": _CALLBACK,
            "code_verifier": verifier,
            **target,
        }
        return self._post("/token", form, (client, "web-secret"))

    def _post(self, path: str, form: Mapping[str, str], auth: tuple[str, str]) -> Mapping[str, Any]:
        answer = requests.post(self.url + path, data=form, auth=auth, timeout=TIMEOUT_S)
        if answer.status_code != 200:
            pytest.fail(f"oidc-provider answered {answer.status_code}: {answer.text}", pytrace=False)
        content: dict[str, Any] = answer.json()
        return content


def resource(kind: str = "jwt", *, algorithm: str = "RS256", ttl_s: int = 600) -> str:
    """Return the resource whose tokens are of that kind ("jwt" or "opaque"), all with the audience `AUDIENCE`."""
    return f"https://{kind}.{algorithm}.{ttl_s}.example.org"


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """An OpenID provider under its own name."""
    yield from _running(OpenIdProvider(tmp_path_factory.mktemp("oidc")))


@pytest.fixture(scope="session")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """The same provider under Google's name."""
    yield from _running(OpenIdProvider(tmp_path_factory.mktemp("google"), issuer=GOOGLE))


def _running(provider: OpenIdProvider) -> Iterator[OpenIdProvider]:
    provider.start()
    yield provider
    provider.stop()


def _node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.fail("the peer oidc-provider needs Node.js 20 or newer; run: apt-get install nodejs npm", pytrace=False)
    return program


def _modules() -> Path:
    folder = peers_folder() / "oidc"
    stamp, wanted = folder / ".complete", _SOURCE / "package-lock.json"
    if not stamp.is_file() or stamp.read_bytes() != wanted.read_bytes():
        pytest.fail(f"the peer oidc-provider is not installed in {folder}; run {INSTALL}", pytrace=False)
    return folder / "node_modules"
