"""The front proxies' configurations of the documentation, word for word, in real proxies."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from compat_auth.app import create_app
from compat_auth.asgi import Receive, Scope, Send, respond
from compat_auth.cli import commands
from compat_auth.config import parse_settings
from compat_auth.demo import BackgroundServer
from compat_auth.personal_tokens import PersonalTokens
from compat_auth.revocation import Revocations
from compat_auth.server import bind_socket
from compat_auth.token_wishes import Wish
from peers.proxies import StartProxy

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
        await respond(send, 200, json.dumps(headers).encode(), content_type=b"application/json")


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Run an upstream and compat_auth; yield their ports."""
    add = ["users", "add", "alice", "--file", str(tmp_path / "users"), "--password-stdin"]
    assert CliRunner().invoke(commands, add, input="secret\n").exit_code == 0
    keys = ["keys", "create", "--file", str(tmp_path / "keys.json")]
    assert CliRunner().invoke(commands, keys).exit_code == 0
    with bind_socket("127.0.0.1:0") as upstream, bind_socket("127.0.0.1:0") as ours:
        settings = parse_settings(
            {
                "auth_backends": ["personal_token", "basic_auth"],
                "database_url": f"sqlite:///{tmp_path / 'store.db'}",
                "trusted_proxies": ["127.0.0.1/32"],
                "upstream": {"url": f"http://127.0.0.1:{upstream.getsockname()[1]}", "profile": "generic"},
                "token": {"strategy": "key_pair", "key_file": str(tmp_path / "keys.json")},
                "basic_auth": {"directories": ["htpasswd"]},
                "htpasswd": {"file": str(tmp_path / "users")},
            },
            origin="test",
        )
        with BackgroundServer(echo, upstream), BackgroundServer(create_app(settings), ours):
            yield upstream.getsockname()[1], ours.getsockname()[1]


@pytest.fixture
def limited(tmp_path: Path, ports: tuple[int, int]) -> str:
    """Return the Authorization value of a token that may read one path."""
    del ports
    settings = {
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "upstream": {"profile": "generic"},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(tmp_path / "users")},
    }
    tokens = PersonalTokens.from_settings(parse_settings(settings, origin="test"), Revocations())
    return f"Bearer {tokens.create('alice', Wish('x', ('GET /api/x',)), by='alice').text}"


@pytest.fixture(params=["nginx", "caddy"])
def front(request: pytest.FixtureRequest, ports: tuple[int, int]) -> str:
    """Return the URL of a proxy that is configured as the page says."""
    start: StartProxy = request.getfixturevalue(str(request.param))
    upstream, ours = ports
    site = inside_of_block(str(request.param)).replace(":8080", f":{upstream}").replace(":8088", f":{ours}")
    return start(site)


def inside_of_block(proxy: str) -> str:
    """Return what stands in the page's server (nginx) or site (Caddy) block, without its address."""
    language = {"nginx": "nginx", "caddy": "text"}[proxy]
    found = re.search(rf"^```{language}\n[^\n]*\{{\n(.*?)^\}}\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.sub(r"^ *listen .*\n", "", found[1], flags=re.MULTILINE)


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
