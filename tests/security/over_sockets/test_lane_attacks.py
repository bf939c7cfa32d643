"""The lane: whom it answers, and what it lets through."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from typing import Any

import pytest

from support.security.gateway import Answer, Gateway, basic, free_port, running_gateway, write_config
from support.security.upstream import recording_upstream

ALICE = (b"Authorization", basic())
SECRET = b"a-secret-of-the-front-proxy-alone-0123456789"
WITH_SECRET = (b"X-Compat-Auth-Proxy-Secret", SECRET)
LANE = "/compat-auth/forward-auth/lane"


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Gateway, Gateway]]:
    """A gateway as clients ask it, and as its front proxy does."""
    folder, port = tmp_path_factory.mktemp("lane"), free_port()
    with recording_upstream() as upstream:
        section = f'trusted_proxies = ["127.0.0.1/32"]\n[forward_auth]\nbind = "127.0.0.1:{port}"'
        config = write_config(folder, f"http://127.0.0.1:{upstream.port}", section)
        with running_gateway(config, upstream) as gateway:
            yield gateway, Gateway(port, gateway.process, gateway.log, upstream)


@pytest.fixture(scope="module")
def by_secret(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """A gateway whose front proxy shows a secret."""
    with recording_upstream() as upstream:
        section = f'trusted_proxies = ["127.0.0.1/32"]\n[forward_auth]\nsecret = "{SECRET.decode()}"'
        config = write_config(tmp_path_factory.mktemp("secret"), f"http://127.0.0.1:{upstream.port}", section)
        with running_gateway(config, upstream) as gateway:
            yield gateway


def tokens(answer: Answer) -> list[bytes]:
    return [value for name, value in answer.headers if name == b"authorization"]


def upstream_token(**claims: Any) -> bytes:
    """Return a JWT that only the upstream checks."""
    parts: tuple[dict[str, Any], ...] = ({"alg": "HS512"}, {"sub": "1", "aud": "apache-airflow", **claims}, {})
    return b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)


def warm(gateway: Gateway) -> None:
    assert gateway.ask("/api/v2/x", ALICE).status == 200


def test_without_forward_auth_there_is_no_lane(gateway: Gateway) -> None:
    warm(gateway)

    answer = gateway.ask(LANE, ALICE)

    assert (answer.status, tokens(answer)) == (404, [])


@pytest.mark.parametrize("path", [LANE, f"{LANE}/", f"{LANE}?x", LANE.replace("lane", "%6cane")])
def test_a_client_does_not_reach_the_lane(behind_proxy: tuple[Gateway, Gateway], path: str) -> None:
    clients, _ = behind_proxy
    warm(clients)

    answer = clients.ask(path, ALICE, WITH_SECRET)

    assert (answer.status, tokens(answer)) == (404, [])


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param([], id="none"),
        pytest.param([(WITH_SECRET[0], SECRET[:-1])], id="shorter"),
        pytest.param([WITH_SECRET, WITH_SECRET], id="twice"),
        pytest.param([(b"X-Compat_Auth-Proxy.Secret", SECRET)], id="another-spelling"),
    ],
)
def test_without_the_secret_nobody_learns_of_a_warm_credential(
    by_secret: Gateway, shown: list[tuple[bytes, bytes]]
) -> None:
    warm(by_secret)

    answer = by_secret.ask(LANE, ALICE, *shown)

    assert answer.status in (400, 403)
    assert tokens(answer) == []


def test_a_client_that_the_proxy_forwards_is_not_taken_for_the_proxy(by_secret: Gateway) -> None:
    warm(by_secret)

    answer = by_secret.ask(LANE, ALICE, WITH_SECRET, (b"X-Forwarded-For", b"203.0.113.9, 198.51.100.7"))

    assert (answer.status, tokens(answer)) == (403, [])


def test_the_front_proxy_gets_the_callers_own_token(behind_proxy: tuple[Gateway, Gateway]) -> None:
    clients, front = behind_proxy
    warm(clients)
    forwarded = clients.upstream.take()[-1]

    answer = front.ask(LANE, ALICE, (b"X-Forwarded-For", b"198.51.100.7"))

    assert (answer.status, tokens(answer)) == (200, forwarded.values(b"authorization"))


def test_a_question_never_counts_as_a_guess(behind_proxy: tuple[Gateway, Gateway]) -> None:
    clients, front = behind_proxy

    answers = [front.ask(LANE, (b"Authorization", basic("alice", f"wrong{number}"))) for number in range(60)]

    assert {(answer.status, answer.rest) for answer in answers} == {(401, b"")}
    assert clients.ask("/api/v2/x", ALICE).status == 200


def test_a_question_reaches_neither_backend_nor_upstream(behind_proxy: tuple[Gateway, Gateway]) -> None:
    clients, front = behind_proxy
    clients.upstream.take()
    written = clients.log.stat().st_size

    front.ask(LANE, (b"Authorization", basic("zoë")))

    assert clients.upstream.take() == []
    assert clients.log.read_bytes()[written:] == b""


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        pytest.param({}, 200, id="unbound"),
        pytest.param({"cnf": {"x5t#S256": "of-another-caller"}}, 401, id="bound"),
        pytest.param({"cnf": {"x5t#S256": "of-another-caller"}, "aud": ["x", "apache-airflow"]}, 401, id="bound-too"),
    ],
)
def test_a_token_that_needs_a_certificate_does_not_pass_without_it(
    behind_proxy: tuple[Gateway, Gateway], claims: dict[str, Any], status: int
) -> None:
    clients, front = behind_proxy
    shown = (b"Authorization", b"Bearer " + upstream_token(**claims))

    answers = [clients.ask("/api/v2/x", shown), front.ask(LANE, shown)]

    assert [answer.status for answer in answers] == [status, status]
    assert (tokens(answers[1]) != []) is (status == 200)
