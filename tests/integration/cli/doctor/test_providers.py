"""The keys and clocks of identity providers, each wrong in one respect."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

import pytest

from compat_auth.cli.doctor.peers.providers import Provider, examine_provider, providers_of
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable
from support.serving import served
from support.stub_issuer import ED_KEY, RSA_KEY, jwk

KEYS: list[dict[str, Any]] = [jwk(RSA_KEY.public_key(), "r"), jwk(ED_KEY.public_key(), "e")]


class Issuer(BaseHTTPRequestHandler):
    """Publishes keys; subclasses are wrong in one respect."""

    keys: ClassVar[object] = {"keys": KEYS}
    issuer = ""
    clock_s: ClassVar[float] = 0
    aged = False

    def do_GET(self) -> None:  # http.server's name
        here = f"http://{self.headers['Host']}"
        is_discovery = self.path.startswith("/.well-known/")
        document: object = {"issuer": self.issuer or here, "jwks_uri": f"{here}/jwks"}
        content = json.dumps(document if is_discovery else self.keys).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if self.aged:
            self.send_header("Age", "4000")
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        return formatdate(time.time() + self.clock_s, usegmt=True)


class SharedSecret(Issuer):
    keys: ClassVar[object] = {"keys": [*KEYS, {"kty": "oct", "k": "c2VjcmV0"}]}


class NoKeys(Issuer):
    keys: ClassVar[object] = {"keys": []}


class OtherIssuer(Issuer):
    issuer = "https://other.example"


class LateClock(Issuer):
    clock_s = -300


class Cached(Issuer):
    clock_s = -4000
    aged = True


def statuses_of(kind: type[Issuer]) -> dict[str, str]:
    with served(kind) as url:
        found = list(examine_provider(Provider("oidc", "oidc.issuers[0]", url, "", "")))
    return {result.id.partition(" ")[0]: result.status for result in found if result.status != "ok"}


@pytest.mark.parametrize("kind", [pytest.param(Issuer, id="right"), pytest.param(Cached, id="behind-a-cache")])
def test_an_honest_provider_has_nothing_wrong(kind: type[Issuer]) -> None:
    assert statuses_of(kind) == {}


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        pytest.param(SharedSecret, {"jwks": "failure"}, id="shared-secret"),
        pytest.param(NoKeys, {"jwks": "failure"}, id="no-keys"),
        pytest.param(LateClock, {"clock": "failure"}, id="clock"),
    ],
)
def test_a_wrong_provider_is_found(kind: type[Issuer], wrong: dict[str, str]) -> None:
    assert statuses_of(kind) == wrong


def test_the_document_of_another_issuer_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match=r"oidc.issuers\[0\].issuer: .* describes 'https://other.example'"):
        statuses_of(OtherIssuer)


def test_each_issuer_is_asked_once_and_only_where_anybody_may_ask() -> None:
    rules = [
        {"name": "a", "issuer": "https://a.example", "claims": {"sub": "x"}, "account": "one"},
        {"name": "b", "issuer": "https://a.example", "claims": {"sub": "y"}, "account": "two"},
        {
            "name": "c",
            "issuer": "https://c.example",
            "jwks": "/etc/keys.json",
            "claims": {"sub": "z"},
            "account": "one",
        },
    ]
    rules = [{**rule, "audience": "gate", "scopes": ["all"]} for rule in rules]
    settings = parse_settings({"auth_backends": ["workload"], "workloads": rules}, origin="test")

    assert [provider.issuer for provider in providers_of(settings)] == ["https://a.example"]
