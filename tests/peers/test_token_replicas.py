"""A personal token revoked at one of three replicas, again and again: PostgreSQL between them, with Redis and without.

`TOKEN_TRIALS=1000 ./test tests/peers/test_token_replicas.py` is the long run, of five minutes.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from typing import Any

import bcrypt
import pytest
import requests
from requests.auth import HTTPBasicAuth
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from support.peers.airflows import JWT_SECRET
from support.peers.echo import EchoUpstream
from support.peers.gateway import Gateway, StartGateway
from support.peers.postgres import Postgres
from support.peers.redis_server import RedisServer

pytestmark = pytest.mark.peer

PATH = "/api/v2/x"
TOKENS = "/compat-auth/api/personal-tokens"
OWNER = ("zoë".encode(), "pässword".encode())
WITH_REDIS, WITHOUT_REDIS = int(os.environ.get("TOKEN_TRIALS", "120")), 40
# Between two questions of whether a token is refused: to ask without a pause keeps both cores busy.
PAUSE_S = 0.01
# The bound that the docs give, for both.
BOUND_S = 1.0


class Replica:
    """A gateway with one worker, on one connection."""

    def __init__(self, instance: Gateway) -> None:
        self._url = instance.url
        self._session = requests.Session()
        self._session.trust_env = False

    def status_with(self, token: str) -> int:
        """Return the answer to a request with a token."""
        headers = {"Authorization": f"Bearer {token}"}
        return self._session.get(self._url + PATH, headers=headers, timeout=30).status_code

    def make(self) -> tuple[str, str]:
        """Return the id and the text of a new token of the owner's."""
        wish = {"name": uuid.uuid4().hex, "scopes": ["read"]}
        answer = self._session.post(self._url + TOKENS, auth=HTTPBasicAuth(*OWNER), json=wish, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.json()["token"]

    def revoke(self, token_id: str) -> int:
        """Return the answer to the owner's revocation."""
        return self._session.delete(
            f"{self._url}{TOKENS}/{token_id}", auth=HTTPBasicAuth(*OWNER), timeout=30
        ).status_code


@dataclass(frozen=True, slots=True)
class Trial:
    """One revocation.

    Attributes:
        remembered: What the other two replicas answered before it.
        took_s: From when it was answered until both had refused the token.
        revoked: The answer to it.
    """

    remembered: tuple[int, ...]
    took_s: float
    revoked: int


@pytest.fixture(scope="module")
def settings(
    echo_upstream: EchoUpstream, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    users = tmp_path_factory.mktemp("token-replicas") / "htpasswd"
    users.write_bytes(OWNER[0] + b":" + bcrypt.hashpw(OWNER[1], bcrypt.gensalt(4)) + b"\n")
    users.chmod(0o600)
    return {
        "auth_backends": ["personal_token", "basic_auth"],
        "database_url": new_database(postgres),
        "upstream": {"url": echo_upstream.url, "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": JWT_SECRET},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "personal_tokens": {"per_user_limit": 2_000, "pepper": "a-pepper-of-more-than-32-bytes-0123456789"},
    }


def new_database(postgres: Postgres) -> str:
    name = f"token_replicas_{uuid.uuid4().hex}"
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def three(gateway: StartGateway, settings: dict[str, Any], **more: Any) -> list[Replica]:
    return [Replica(gateway({**settings, **more}, {"REPLICA": str(number)})) for number in range(3)]


def revoked_at(replicas: list[Replica], number: int) -> Trial:
    """Make a token, use it at two replicas, revoke it at the third, and watch the two."""
    here, *others = replicas[number % 3 :] + replicas[: number % 3]
    token_id, token = here.make()
    remembered = tuple(instance.status_with(token) for instance in others)
    revoked = here.revoke(token_id)
    began = last = time.monotonic()
    waiting = list(others)
    while waiting and last - began < 10 * BOUND_S:
        waiting = [instance for instance in waiting if instance.status_with(token) != 401]
        last = time.monotonic()
        if waiting:
            time.sleep(PAUSE_S)
    return Trial(remembered, last - began, revoked)


def test_many_tokens_revoked_at_one_replica_are_each_refused_by_the_others_within_a_second(
    gateway: StartGateway, settings: dict[str, Any], redis_server: RedisServer
) -> None:
    secret = "a secret for nothing but these very tests"
    replicas = three(gateway, settings, redis_url=redis_server.url, redis_secret=secret)

    trials = [revoked_at(replicas, number) for number in range(WITH_REDIS)]

    assert {trial.remembered for trial in trials} == {(200, 200)}
    assert {trial.revoked for trial in trials} == {204}
    assert max(trial.took_s for trial in trials) < BOUND_S


def test_without_redis_they_are_refused_within_the_bound_that_the_docs_give(
    gateway: StartGateway, settings: dict[str, Any]
) -> None:
    replicas = three(gateway, settings)

    trials = [revoked_at(replicas, number) for number in range(WITHOUT_REDIS)]

    assert {trial.remembered for trial in trials} == {(200, 200)}
    assert {trial.revoked for trial in trials} == {204}
    assert max(trial.took_s for trial in trials) < BOUND_S
