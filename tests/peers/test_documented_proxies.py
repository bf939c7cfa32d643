"""The front proxies' configurations of the documentation, word for word, in real proxies."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner

from compat_auth.app import create_app
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.cli import commands
from compat_auth.cli.demo.upstream import BackgroundServer
from compat_auth.config import parse_settings
from compat_auth.gateway.server.server import bind_socket
from compat_auth.http.asgi import Receive, Scope, Send, respond
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from support.peers.process import free_port
from support.peers.proxies import StartProxy, start_caddy, start_nginx

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "forward-auth.md").read_text(encoding="utf-8")
ALICE = "Basic " + base64.b64encode(b"alice:secret").decode()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the headers that arrived; but nobody is permitted what is below /denied/."""
    del receive
    if scope["type"] == "http" and scope["path"].startswith("/denied/"):
        await respond(send, 403, b"of the upstream")
        return
    if scope["type"] == "http":
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        headers[":method"], headers[":target"] = (
            scope["method"],
            (scope["raw_path"] + b"?" + scope["query_string"]).decode(),
        )
        await respond(send, 200, json.dumps(headers).encode(), content_type=b"application/json")


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[int, int, int]]:
    """See `serving`."""
    with serving(tmp_path) as found:
        yield found


@contextmanager
def serving(tmp_path: Path) -> Generator[tuple[int, int, int]]:
    """Run an upstream and compat_auth; yield the ports of the upstream and of compat_auth: for front proxies, for clients."""
    add = ["users", "add", "alice", "--file", str(tmp_path / "users"), "--password-stdin"]
    assert CliRunner().invoke(commands, add, input="secret\n").exit_code == 0
    keys = ["keys", "create", "--file", str(tmp_path / "keys.json")]
    assert CliRunner().invoke(commands, keys).exit_code == 0
    with (
        bind_socket(f"127.0.0.1:{free_port()}") as upstream,
        bind_socket(f"127.0.0.1:{free_port()}") as ours,
        bind_socket(f"127.0.0.1:{free_port()}") as front,
    ):
        settings = parse_settings(
            {
                "auth_backends": ["personal_token", "basic_auth"],
                "database_url": f"sqlite:///{tmp_path / 'store.db'}",
                "trusted_proxies": ["127.0.0.1/32"],
                "forward_auth": {"bind": f"127.0.0.1:{front.getsockname()[1]}"},
                "upstream": {"url": f"http://127.0.0.1:{upstream.getsockname()[1]}", "profile": "generic"},
                "token": {"strategy": "key_pair", "key_file": str(tmp_path / "keys.json")},
                "basic_auth": {"directories": ["htpasswd"]},
                "htpasswd": {"file": str(tmp_path / "users")},
            },
            origin="test",
        )
        with BackgroundServer(echo, upstream), BackgroundServer(create_app(settings), ours, front):
            yield upstream.getsockname()[1], front.getsockname()[1], ours.getsockname()[1]


@pytest.fixture
def limited(tmp_path: Path, ports: tuple[int, int, int]) -> str:
    """Return the Authorization value of a token that may read one path."""
    del ports
    settings = {
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "upstream": {"profile": "generic"},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "users")},
    }
    tokens = PersonalTokens.from_settings(
        parse_settings(settings, origin="test"), RevocationEvents(), revoke_upstream=no_upstream
    )
    return f"Bearer {tokens.create('alice', PersonalTokenRequest('x', ('GET /api/x',)), by='alice').text}"


@pytest.fixture(params=["nginx", "caddy"])
def front(request: pytest.FixtureRequest, ports: tuple[int, int, int]) -> str:
    """Return the URL of a proxy that is configured as the page says."""
    start: StartProxy = request.getfixturevalue(str(request.param))
    return start(site_of(str(request.param), *ports))


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of such a proxy that many tests share."""
    proxy = str(request.param)
    start = {"nginx": start_nginx, "caddy": start_caddy}[proxy]
    with serving(tmp_path_factory.mktemp("shared")) as ports:
        process, url = start(tmp_path_factory.mktemp(proxy), site_of(proxy, *ports), "")
        yield url
        process.stop()


def site_of(proxy: str, upstream: int, asked: int, ours: int) -> str:
    inside = inside_of_block(proxy)
    return inside.replace(":8080", f":{upstream}").replace(":9188", f":{asked}").replace(":8088", f":{ours}")


def inside_of_block(proxy: str) -> str:
    """Return what stands in the page's server (nginx) or site (Caddy) block, without its address."""
    language = {"nginx": "nginx", "caddy": "text"}[proxy]
    found = re.search(rf"^```{language}\n[^\n]*\{{\n(.*?)^\}}\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.sub(r"^ *listen .*\n", "", found[1], flags=re.MULTILINE)


FORGED = [
    "Remote-User",
    "Remote-Groups",
    "Remote-Email",
    "Remote-Name",
    "Remote-Role",
    "Remote-Addr",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Remote-Groups",
    "X-Remote-Email",
    "X-Remote-Role",
    "X-Remote-Extra-Scopes",
    "X-Remote-Uid",
    "X-User",
    "X-User-Id",
    "X-User-Email",
    "X-Username",
    "X-Email",
    "X-Groups",
    "X-Roles",
    "X-Auth",
    "X-Auth-User",
    "X-Auth-Username",
    "X-Auth-Email",
    "X-Auth-Groups",
    "X-Auth-Roles",
    "X-Auth-Subject",
    "X-Auth-Token",
    "X-Auth-JWT",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-Authenticated-Groups",
    "X-WebAuth-User",
    "X-WebAuth-Role",
    "X-Proxy-User",
    "X-IAP-JWT",
    "X-JWT-Assertion",
    "X-Amzn-Oidc-Identity",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Accesstoken",
    "X-Goog-Authenticated-User-Email",
    "X-Goog-Authenticated-User-Id",
    "X-Goog-Iap-Jwt-Assertion",
    "X-Ms-Client-Principal",
    "X-Ms-Client-Principal-Id",
    "X-Ms-Client-Principal-Name",
    "X-Ms-Token-Aad-Id-Token",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Access-Token",
    "X-Auth-Request-Preferred-Username",
    "X-Pomerium-Jwt-Assertion",
    "X-Pomerium-Claim-Email",
    "X-Authentik-Username",
    "X-Authentik-Groups",
    "X-Authentik-Jwt",
    "X-SSL-Client-Verify",
    "X-SSL-Client-S-DN",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "X-Client-Cert",
    "X-Client-DN",
    "X-Forwarded-Client-Cert",
    "X-Vouch-User",
    "X-Token-Subject",
    "X-Consumer-Username",
    "X-Credential-Username",
    "Tailscale-User-Login",
    "Tailscale-User-Name",
    "Cf-Access-Jwt-Assertion",
    "Cf-Access-Authenticated-User-Email",
    "Oidc-Claim-Sub",
    "Iv-User",
    "Iv-Groups",
    "Sm-User",
    "Oam-Remote-User",
    "Auth-User",
    "Kong-User",
    "Client-Cert",
    "Client-Cert-Chain",
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-Port",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Server",
    "X-Forwarded-By",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "Fastly-Client-IP",
    "CF-Connecting-IP",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-Forwarded-For",
    "X-Rewrite-URL",
    "X-Script-Name",
    "X-Envoy-Original-Path",
    "X-Envoy-Original-Method",
    "X-Envoy-External-Address",
    "X-Envoy-Internal",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-User",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "Front-End-HTTPS",
    "X-URL-Scheme",
    "X-Compat-Auth-Cookie",
    "X-Compat-Auth-Proxy-Secret",
    "X-Compat-Auth-Other",
    "Remote_User",
    "X_Remote_User",
    "X_Forwarded_User",
    "X_HTTP_Method_Override",
    "Remote.User",
    "X.Forwarded.User",
]
WANTED = {
    "Accept": "application/json",
    "Accept-Language": "de",
    "Content-Type": "application/json; charset=utf-8",
    "If-None-Match": '"tag"',
    "Range": "bytes=0-",
    "Origin": "http://other.example",
    "Referer": "http://other.example/page",
    "User-Agent": "script/1",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


def ask(url: str, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, {name.lower(): refusal.headers.get_all(name) for name in refusal.headers}


def test_a_password_becomes_a_token_and_the_cookies_of_another_login_go(front: str) -> None:
    status, seen = ask(f"{front}/api/x", Authorization=ALICE, Cookie="_token=of-bob; theme=dark")

    assert status == 200
    assert seen["authorization"].startswith("Bearer ey")
    assert seen["cookie"] == "theme=dark"


@pytest.mark.peer
@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("path", ["/api/x", "/open"])
def test_no_header_by_which_a_client_pretends_to_be_somebody_or_a_proxy_arrives(
    started: str, path: str, name: str
) -> None:
    _, seen = ask(f"{started}{path}", Authorization=ALICE, **{name: "forged-value"})

    assert not [header for header, value in seen.items() if "forged-value" in str(value)]
    assert (seen.get(":method"), seen.get(":target")) in {("GET", f"{path}?"), (None, None)}


def test_what_airflows_api_needs_arrives_as_it_was_sent(front: str) -> None:
    status, seen = ask(f"{front}/api/x?limit=1&order_by=-id", Authorization=ALICE, **WANTED)

    assert status == 200
    assert {name: seen.get(name.lower()) for name in WANTED} == WANTED
    assert seen[":target"] == "/api/x?limit=1&order_by=-id"


@pytest.mark.parametrize("claim", ["203.0.113.9", "203.0.113.9, 127.0.0.1"])
def test_the_clients_own_word_about_where_it_comes_from_does_not_arrive(front: str, claim: str) -> None:
    forged = {"X-Forwarded-For": claim, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}

    status, seen = ask(f"{front}/api/x", Authorization=ALICE, **forged)

    assert status == 200
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == front.removeprefix("http://")


def test_a_personal_token_on_an_open_path_does_not_arrive(front: str, limited: str) -> None:
    status, seen = ask(f"{front}/open", Authorization=limited)

    assert status == 200
    assert "authorization" not in seen


def test_a_limited_token_arrives_as_a_jwt_of_seconds(front: str, limited: str) -> None:
    _, seen = ask(f"{front}/api/x", Authorization=limited)

    claims = jwt.decode(seen["authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] <= 10


@pytest.mark.parametrize("page", ["nginx", "caddy", "traefik", "live"])
def test_a_client_does_not_reach_the_forward_auth_endpoint_through_the_proxy(front: str, page: str) -> None:
    told = {"X-Original-Uri": "/api/x", "X-Original-Method": "GET", "X-Forwarded-Uri": "/api/x"}

    where = "live" if page == "live" else f"forward-auth/{page}"
    status, seen = ask(f"{front}/compat-auth/{where}", Authorization=ALICE, **told)

    # The listener for clients answers, which knows no such page but `live`.
    assert (status, seen) == ((200, {"status": "live"}) if page == "live" else (404, seen))
    assert "authorization" not in seen


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/compat-auth/whoami", "username"),
        ("/compat-auth/openapi.json", "openapi"),
        ("/.well-known/jwks.json", "keys"),
        ("/.well-known/oauth-protected-resource", "resource"),
        ("/auth/token", "access_token"),
        ("/auth/token/cli", "access_token"),
    ],
)
def test_the_paths_that_compat_auth_answers_are_served_through_the_proxy(started: str, path: str, member: str) -> None:
    status, seen = ask(f"{started}{path}", Authorization=ALICE)

    assert status in (200, 201)
    assert member in seen


@pytest.mark.parametrize("path", ["/API/v2/dags", "/api/v1x", "/auth/tokens", "/auth/token/other", "/compat-authx/y"])
def test_a_path_beside_those_of_compat_auth_is_the_upstreams(started: str, path: str) -> None:
    _, seen = ask(f"{started}{path}", Authorization=ALICE)

    assert seen[":target"] == f"{path}?"


def test_a_form_of_another_site_does_not_act_with_a_remembered_password(front: str) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "https://evil.example"}
    sent = {"Authorization": ALICE, "Content-Type": "text/plain", **foreign}
    request = urllib.request.Request(f"{front}/api/x", b"a=b", sent, method="POST")

    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)

    with refusal.value as answer:
        assert answer.code == 403


def test_where_only_another_logins_cookies_came_none_arrives(front: str) -> None:
    status, seen = ask(f"{front}/api/x", Authorization=ALICE, Cookie="_token=of-bob")

    assert status == 200
    assert "cookie" not in seen


def test_a_forged_original_request_does_not_open_a_protected_path(front: str) -> None:
    forged = {"X-Original-Uri": "/open", "X-Forwarded-Uri": "/open", "X-Original-Method": "GET"}

    status, refusal = ask(f"{front}/api/x", **forged)

    assert status == 401
    # nginx 1.22 passes the first challenge on, and no other.
    assert refusal["www-authenticate"][0] == 'Bearer realm="Airflow"'


def test_an_upstreams_own_bearer_and_an_open_path_pass_as_they_are(front: str) -> None:
    token, opened = ask(f"{front}/api/x", Authorization="Bearer a.b.c"), ask(f"{front}/open", Cookie="_token=mine")

    assert (token[0], token[1]["authorization"]) == (200, "Bearer a.b.c")
    assert (opened[0], opened[1]["cookie"]) == (200, "_token=mine")


def test_a_missing_scope_is_named_through_the_proxy(front: str, limited: str) -> None:
    allowed, refused = ask(f"{front}/api/x", Authorization=limited), ask(f"{front}/api/y", Authorization=limited)

    assert allowed[0] == 200
    assert refused[0] == 403
    assert refused[1]["www-authenticate"] == ['Bearer error="insufficient_scope", scope="GET:/api/y"']


def test_a_wrong_token_is_told_to_be_wrong_through_the_proxy(front: str) -> None:
    status, refusal = ask(f"{front}/api/x", Authorization="Bearer cat_pat_x")

    assert status == 401
    assert refusal["www-authenticate"][0] == 'Bearer realm="Airflow", error="invalid_token"'


def test_the_upstreams_own_403_stays_as_it_is(front: str) -> None:
    request = urllib.request.Request(f"{front}/denied/x", headers={"Authorization": ALICE})

    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=10)

    with refusal.value as answer:
        assert (answer.code, answer.read()) == (403, b"of the upstream")
        assert answer.headers["WWW-Authenticate"] is None
