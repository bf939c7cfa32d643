"""Two replicas of the real gateway, two workers each, with one PostgreSQL and one Redis: what one knows, all know."""

from __future__ import annotations

import re
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bcrypt
import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from compat_auth.store.redis.client import PAUSE_S
from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway, call
from support.peers.postgres import Postgres
from support.peers.redis_server import RedisServer
from support.stub_issuer import AUDIENCE, Answer, StubIssuer, running_issuer

pytestmark = pytest.mark.peer

PATH = "/api/v2/x"
COOKIE = "compat_auth_session"
NAME, PASSWORD = "zoë", "pässword"
# A worker takes 20 logins of a name in a minute.
LOGOUTS = 8


@dataclass(frozen=True, slots=True)
class Replicas:
    """The gateways, the issuer that they ask, and what they share."""

    one: Gateway
    other: Gateway
    issuer: StubIssuer
    redis: RedisServer


@pytest.fixture(scope="module")
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.fixture(scope="module")
def replicas(
    gateway: StartGateway,
    echo_upstream: EchoUpstream,
    postgres: Postgres,
    redis_server: RedisServer,
    issuer: StubIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Replicas:
    folder = tmp_path_factory.mktemp("replicas")
    line = f"{NAME}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n"
    (folder / "htpasswd").write_text(line, encoding="utf-8")
    (folder / "htpasswd").chmod(0o600)
    settings: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth", "oidc"],
        "database_url": new_database(postgres),
        "redis_url": redis_server.url,
        "session": {"secret": "a secret for nothing but these very tests"},
        "upstream": {"url": echo_upstream.url, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "oidc": {
            "issuers": [
                {
                    "issuer": issuer.url,
                    "audience": AUDIENCE,
                    "introspection": True,
                    "client_id": "gateway",
                    "client_secret": "secret",
                    "opaque_prefix": "opaque-",
                }
            ]
        },
    }
    one, other = (gateway({**settings, "serve": {"workers": 2}}, {"REPLICA": number}) for number in "12")
    return Replicas(one, other, issuer, redis_server)


def new_database(postgres: Postgres) -> str:
    name = f"replicas_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def log_in(instance: Gateway) -> requests.Session:
    """Return a browser with a session."""
    browser = requests.Session()
    browser.trust_env = False
    (token,) = re.findall(r'name="token" value="([^"]*)"', browser.get(f"{instance.url}/compat-auth/login").text)
    form = {"token": token, "username": NAME, "password": PASSWORD, "next": "/"}
    assert browser.post(f"{instance.url}/compat-auth/login", data=form, allow_redirects=False).status_code == 303
    return browser


def log_out(instance: Gateway, browser: requests.Session, *, everywhere: bool = False) -> None:
    (token,) = re.findall(r'name="token" value="([^"]*)"', browser.get(f"{instance.url}/compat-auth/logout").text)
    form = {"token": token, **({"everywhere": "1"} if everywhere else {})}
    assert browser.post(f"{instance.url}/compat-auth/logout", data=form, allow_redirects=False).status_code == 303


def status_with(instance: Gateway, cookie: str) -> int:
    """Return the answer to a request on a connection of its own, which any of the workers may take."""
    return call("GET", instance.url + PATH, cookies={COOKIE: cookie}).status_code


def seconds_until_out(instance: Gateway, cookie: str) -> float:
    """Return for how long after now some worker still let the session in."""
    began = last = time.monotonic()
    refused = 0
    while refused < 8:
        asked = time.monotonic()
        if status_with(instance, cookie) == 200:
            last, refused = asked, 0
        else:
            refused += 1
        assert asked - began < 5, "still logged in"
    return last - began


def as_bearer(instance: Gateway, token: str) -> int:
    return call("GET", instance.url + PATH, headers={"Authorization": f"Bearer {token}"}).status_code


def say_yes(replicas: Replicas, *, after_s: float = 0) -> None:
    """Let the issuer know every token from now on."""

    def introspect(_form: object) -> Answer:
        time.sleep(after_s)
        return Answer({"active": True, "sub": NAME, "aud": AUDIENCE, "client_id": "web", "exp": int(time.time()) + 600})

    replicas.issuer.says["/introspect"] = introspect


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_logout_at_one_replica_is_seen_by_every_worker_of_the_other_at_once(
    replicas: Replicas, everywhere: bool
) -> None:
    took_s: list[float] = []

    for _ in range(LOGOUTS):
        browser = log_in(replicas.one)
        cookie = browser.cookies[COOKIE]
        assert {status_with(replicas.other, cookie) for _ in range(4)} == {200}
        log_out(replicas.one, browser, everywhere=everywhere)
        took_s.append(seconds_until_out(replicas.other, cookie))

    assert max(took_s) < 1
    # Without the signal a worker would believe the session for the rest of a second.
    assert statistics.median(took_s) < 0.1, sorted(took_s)


def test_an_issuer_is_asked_once_for_all_replicas_and_workers(replicas: Replicas) -> None:
    say_yes(replicas)
    token = f"opaque-{uuid.uuid4().hex}"
    before = replicas.issuer.asked["/introspect"]

    answers = [as_bearer(instance, token) for instance in (replicas.one, replicas.other) * 4]

    assert answers == [200] * 8
    assert replicas.issuer.asked["/introspect"] - before == 1


def test_without_redis_everybody_still_comes_in_and_whoever_logs_out_is_out_within_a_second(
    replicas: Replicas,
) -> None:
    say_yes(replicas)
    browser = log_in(replicas.one)
    cookie = browser.cookies[COOKIE]
    status_with(replicas.other, cookie)

    with replicas.redis.away():
        token = f"opaque-{uuid.uuid4().hex}"
        answers = [as_bearer(instance, token) for instance in (replicas.one, replicas.other)]
        answers += [status_with(instance, cookie) for instance in (replicas.one, replicas.other)]
        answers += [status_with(replicas.one, log_in(replicas.one).cookies[COOKIE])]
        log_out(replicas.one, browser)
        took_s = seconds_until_out(replicas.other, cookie)

    assert answers == [200] * 5
    assert took_s < 1.1


def test_a_redis_that_hangs_holds_nobody_up_for_long(replicas: Replicas) -> None:
    say_yes(replicas)

    with replicas.redis.frozen():
        began = time.monotonic()
        answers = [as_bearer(replicas.one, f"opaque-{uuid.uuid4().hex}") for _ in range(10)]
        took_s = time.monotonic() - began

    assert answers == [200] * 10
    assert took_s < 6


def test_when_redis_is_back_the_replicas_share_again_without_a_restart(replicas: Replicas) -> None:
    say_yes(replicas)
    with replicas.redis.away():
        as_bearer(replicas.one, f"opaque-{uuid.uuid4().hex}")
    time.sleep(PAUSE_S + 1)
    token = f"opaque-{uuid.uuid4().hex}"
    before = replicas.issuer.asked["/introspect"]

    answers = [as_bearer(instance, token) for instance in (replicas.one, replicas.other) * 4]
    browser = log_in(replicas.one)
    cookie = browser.cookies[COOKIE]
    status_with(replicas.other, cookie)
    log_out(replicas.one, browser)
    took_s = seconds_until_out(replicas.other, cookie)

    assert answers == [200] * 8
    assert replicas.issuer.asked["/introspect"] - before == 1
    assert took_s < 0.2
