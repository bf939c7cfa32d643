"""JWTs that an upstream may accept and that our strict verifier refuses: each can be revoked here all the same."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from compat_auth.config import parse_settings
from compat_auth.tokens.strategies import open_key_ring
from support import token_server
from support.security.taking_back import GatewayUnderTest, bearer, cookie, open_instance
from support.security.upstream import Recorder
from support.token_server import TokenServer

SECRET = "s" * 70
DAY_S = 86400


@pytest.fixture
async def instance(tmp_path: Path, upstream: Recorder) -> AsyncIterator[GatewayUnderTest]:
    async with open_instance(tmp_path, upstream, token={"strategy": "shared_secret", "secret": SECRET}) as instance:
        yield instance


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "alice", "aud": "apache-airflow", "iat": now, "nbf": now, "exp": now + 600, **changed}


def signed(header: dict[str, Any], content: dict[str, Any], *, key: Any = SECRET, algorithm: str = "HS512") -> str:
    return jwt.encode(content, key, algorithm=algorithm, headers=header)


@pytest.mark.parametrize(
    ("header", "changed"),
    [
        pytest.param({}, {}, id="no-kid"),
        pytest.param({"kid": "another"}, {}, id="another-kid"),
        pytest.param({"kid": "not-used", "typ": "at+jwt"}, {}, id="another-type"),
        pytest.param({"kid": "not-used", "typ": None}, {}, id="no-type"),
        pytest.param({"kid": "not-used"}, {"exp": time.time() + 600.5}, id="a-fraction"),
        pytest.param({"kid": "not-used"}, {"exp": int(time.time()) + 400 * DAY_S}, id="more-than-a-year"),
        pytest.param({"kid": "not-used"}, {"sub": 1}, id="a-number-as-subject"),
        pytest.param({"kid": "not-used"}, {"aud": "another"}, id="another-audience"),
        pytest.param({"kid": "not-used"}, {"jti": "j" * 20}, id="a-jti"),
        pytest.param({"kid": "not-used"}, {"pad": "x" * 9000}, id="too-long-for-us"),
        pytest.param({}, {"jti": 7, "exp": None}, id="a-number-as-jti"),
    ],
)
async def test_what_the_secret_has_signed_can_be_revoked(
    instance: GatewayUnderTest, header: dict[str, Any], changed: dict[str, Any]
) -> None:
    content = {name: value for name, value in claims(**changed).items() if value is not None}
    token, other = signed(header, content), signed(header, {**content, "other": 1, "jti": "another"})
    before = await instance.get("/api/v2/dags", bearer(token))
    instance.upstream.take()

    status = await instance.revoke(token)

    assert (before.status, status) == (200, 200)
    assert (await instance.get("/api/v2/dags", bearer(token))).status == 401
    assert (await instance.get("/ui/dags", bearer(token))).status == 401
    assert (await instance.get("/api/v2/dags", cookie(token))).status == 401
    assert instance.upstream.take() == []
    assert (await instance.get("/api/v2/dags", bearer(other))).status == 200


async def test_what_our_own_key_has_signed_can_be_revoked(tmp_path: Path, upstream: Recorder) -> None:
    async with open_instance(tmp_path, upstream) as instance:
        key = open_key_ring(parse_settings(instance.content, origin="test")).signing_key()
        token = signed({}, claims(), key=key.secret, algorithm=key.algorithm)
        before = await instance.get("/api/v2/dags", bearer(token))
        instance.upstream.take()

        status = await instance.revoke(token)

        assert (before.status, status) == (200, 200)
        assert (await instance.get("/api/v2/dags", bearer(token))).status == 401
        assert instance.upstream.take() == []


async def test_what_another_secret_has_signed_fills_no_denylist(instance: GatewayUnderTest) -> None:
    token = signed({}, claims(), key="x" * 70)

    status = await instance.revoke(token)

    assert status == 200
    assert not (instance.folder / "store.db").exists()


@pytest.mark.parametrize("is_valid", [True, False], ids=["valid", "forged"])
async def test_where_only_airflow_can_verify_its_tokens_it_is_asked(tmp_path: Path, *, is_valid: bool) -> None:
    with token_server.serving() as airflow:
        async with open_instance(tmp_path, Recorder(), **exchanging(airflow)) as instance:
            token = signed({}, claims())
            airflow.issued += [token] if is_valid else []
            before = await instance.get("/api/v2/dags", bearer(token))

            status = await instance.revoke(token)

            assert (before.status, status) == (200 if is_valid else 401, 200)
            airflow.requests.clear()
            assert (await instance.get("/api/v2/dags", bearer(token))).status == 401
            assert (airflow.requests == []) is is_valid


async def test_an_airflow_that_cannot_say_makes_no_false_promise(tmp_path: Path) -> None:
    with token_server.serving() as airflow:
        async with open_instance(tmp_path, Recorder(), **exchanging(airflow)) as instance:
            airflow.on_request = lambda _got: token_server.Answer(502)

            status = await instance.revoke(signed({}, claims()))

            assert status == 503


async def test_a_token_that_nobody_here_can_judge_gets_an_honest_answer(tmp_path: Path) -> None:
    with token_server.serving() as other:
        async with open_instance(tmp_path, Recorder(), **exchanging(other, profile="generic")) as instance:
            jwt_like = await instance.post("/compat-auth/revoke", {"token": signed({}, claims())})
            statuses = [await instance.revoke(text) for text in ("a guess", "a.b.c")]

    assert (jwt_like.status, json.loads(jwt_like.body)["error"]) == (400, "unsupported_token_type")
    assert statuses == [200, 200]


def exchanging(airflow: TokenServer, *, profile: str = "airflow-simple") -> dict[str, Any]:
    return {
        "token": {"strategy": "exchange"},
        "basic_auth": {"directories": ["upstream"]},
        "upstream": {"url": airflow.url, "profile": profile},
    }
