"""The same paths to the gateway alone and behind six proxies: none of them leads out of a scope, and all arrive alike."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import load_settings
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from corpora.cases import cases
from corpora.readings import with_dots_resolved
from corpora.wire import Client
from support.peers.generated import Site, basic, running_site, start

pytestmark = pytest.mark.peer

PROXIES = ("nginx-lua", "haproxy", "caddy", "apache", "traefik", "envoy")
SERVERS = ("gateway", *PROXIES)
ALLOWED = "/api/allowed"
# Ways out of the allowed folder, beside those that the corpus has.
OUT = [
    "/../denied",
    "/..%2fdenied",
    "/%2e%2e/denied",
    "/%2e%2e%2fdenied",
    "/..;/denied",
    "/..;a=b/denied",
    "/..%3b/denied",
    "/.%2e/denied",
    "/..\\denied",
    "/..%5cdenied",
    "/%252e%252e/denied",
    "/x/../../denied",
    "/..//denied",
    "//../denied",
    "/..%00/denied",
    "/..%c0%afdenied",
    "/%c0%ae%c0%ae/denied",
    "/../denied?x=/api/allowed/",
    "#/../../denied",
    "%2f..%2fdenied",
    ";/../denied",
    "/.. /denied",
    "/..\t/denied",
    "/x?/../../denied",
]
# On the wire a question mark begins a query, and some servers skip a second blank in a request line.
OF_CORPUS = [case["path"] for case in cases("paths") if not case["path"].startswith(" ") and len(case["path"]) < 4000]
PATHS = [*OF_CORPUS, *(ALLOWED + path for path in (*OF_CORPUS, *OUT))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def urls(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with ExitStack() as stack:
        found = {"gateway": site.url}
        for name in PROXIES:
            front = start(name, site, tmp_path_factory.mktemp(name))
            stack.callback(front.process.stop)
            found[name] = front.url
        yield found


@pytest.fixture(scope="module")
def scoped(site: Site) -> str:
    """Return the Authorization value of a token for one folder."""
    tokens = PersonalTokens.from_settings(
        load_settings(str(site.config)), RevocationEvents(), revoke_upstream=no_upstream
    )
    try:
        made = tokens.create("alice", PersonalTokenRequest("scoped", (f"GET {ALLOWED}/",)), by="alice")
        return f"Bearer {made.text}"
    finally:
        tokens.rows.database.close()


def arriving(url: str, path: str, authorization: str) -> str | None:
    """Return the target that the upstream got, or None."""
    raw = f"GET {path} HTTP/1.1\r\nHost: airflow.example\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
    for answer in Client(url, timeout_s=20).send(raw.encode("latin-1"), is_alone=True).answers:
        if answer.status == 200:
            return str(json.loads(answer.body)["target"])
    return None


def leads_out(path: str) -> bool:
    """Tell whether an upstream could read a path as one of the API outside the scope; beyond the API no token counts."""
    found = {reading.lower() for reading in with_dots_resolved(path)}
    is_of_api = any(reading.startswith("/api/") for reading in found)
    return is_of_api and any(not reading.startswith(f"{ALLOWED}/") for reading in found)


@pytest.mark.parametrize("path", ["/api/denied", "/api/allowed/../denied", "/%61pi/denied", "/api/allowed%2F..%2Fx"])
def test_a_path_that_leads_out_would_be_noticed(path: str) -> None:
    assert leads_out(path)


@pytest.mark.parametrize("server", SERVERS)
def test_no_spelling_leads_a_scoped_token_out_of_its_scope(urls: Mapping[str, str], scoped: str, server: str) -> None:
    arrived = {path: target for path in PATHS if (target := arriving(urls[server], path, scoped)) is not None}

    out = {path: target for path, target in arrived.items() if leads_out(target.partition("?")[0])}
    assert len(arrived) > 50
    assert out == {}


def test_all_of_them_pass_on_the_same_path(urls: Mapping[str, str]) -> None:
    different: dict[str, dict[str, str | None]] = {}

    for path in PATHS:
        targets = {server: arriving(urls[server], path, basic("alice")) for server in SERVERS}
        if len({target for target in targets.values() if target is not None}) > 1:
            different[path] = targets

    assert different == {}
