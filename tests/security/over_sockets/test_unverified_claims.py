"""What a token says of itself may be anything: whoever reads it before it is verified neither falls over nor believes it."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat_auth.errors import InvalidToken
from compat_auth.tokens.jose.jwt import algorithm_of, kid_of_plausible, read_unverified, verify
from compat_auth.tokens.jose.unverified_claims import ClaimedToken, read_claimed
from support.security.taking_back import GatewayUnderTest, as_user, bearer, cookie, open_instance
from support.security.upstream import Recorder

NAMES = ("jti", "sub", "iat", "exp", "nbf", "iss", "aud", "kid", "alg", "typ", "azp", "scope")
numbers = st.one_of(st.integers(), st.floats(), st.integers(min_value=2**62, max_value=2**70))
plain = st.one_of(st.none(), st.booleans(), numbers, st.text(), st.characters(categories=["Cs"]))
anything = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=6
)
objects = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), anything)


def segment(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def unsigned(claims: object, header: object = None) -> str:
    return f"{segment({'alg': 'none'} if header is None else header)}.{segment(claims)}.x"


texts = st.one_of(
    st.builds(unsigned, st.one_of(objects, anything), st.one_of(objects, anything)),
    st.text(),
    st.lists(st.text(alphabet="ey.-_=AZ09\0\n"), min_size=3, max_size=4).map(".".join),
)


@given(texts)
@settings(deadline=None, max_examples=300)
def test_a_claim_has_its_type_or_was_not_said(text: str) -> None:
    found = read_claimed(text)

    if found is not None:
        assert found == ClaimedToken(str(found.jti), str(found.sub), found.issued, found.expires)
        for moment in (found.issued, found.expires):
            assert moment is None or type(moment) is int
        (found.jti + found.sub).encode("utf-8")


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(read_unverified, id="claims"),
        pytest.param(algorithm_of, id="alg"),
        pytest.param(
            lambda text: kid_of_plausible(text, algorithms=frozenset({"RS256"}), audience="a", issuer="i", now=1),
            id="kid",
        ),
        pytest.param(lambda text: verify(text, {}, audience="a", issuer="i", now=1), id="verify"),
    ],
)
@given(text=texts)
@settings(deadline=None, max_examples=150)
def test_every_reader_of_an_unverified_token_says_what_it_is_or_that_it_is_none(
    read: Callable[[str], object], text: str
) -> None:
    with contextlib.suppress(InvalidToken):
        read(text)


@pytest.fixture
async def instance(tmp_path: Path, upstream: Recorder) -> AsyncIterator[GatewayUnderTest]:
    """A gateway that has something to look for: one token is taken back, one user everywhere."""
    async with open_instance(tmp_path, upstream) as instance:
        await instance.revoke(await instance.token_of("alice"))
        upstream.take()
        yield instance


ODD: list[Any] = [
    *([], {}, [[]], {"a": []}, True, None, 1, -1, 1.5, 10**400, float("nan"), float("inf")),
    *("", "\0", "\ud800", "x" * 3000, "\U0001f600"),
]


@pytest.mark.parametrize("name", ["jti", "sub", "iat", "exp"])
@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:12])
async def test_no_claim_of_a_made_up_token_is_an_accident(instance: GatewayUnderTest, name: str, value: object) -> None:
    token = unsigned({"jti": "a", "sub": "7", name: value})

    statuses = [
        (await instance.get("/api/v2/dags", bearer(token))).status,
        (await instance.get("/", bearer(token))).status,
        (await instance.get("/compat-auth/whoami", bearer(token))).status,
        (await instance.get("/api/v2/dags", cookie(token))).status,
        (await instance.get("/", cookie(token))).status,
        await instance.revoke(token),
        (await instance.post("/auth/token", {}, bearer(token))).status,
    ]
    described = await instance.introspect(token, "seer")

    # A Bearer that is none of ours is the upstream's to judge.
    assert statuses[:6] == [200, 200, 401, 200, 200, 200]
    assert statuses[6] in (400, 401)
    assert described == {"active": False}


@given(claims=objects)
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_no_made_up_token_is_an_accident_at_any_endpoint(
    instance: GatewayUnderTest, claims: dict[str, Any]
) -> None:
    token = unsigned(claims)
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }

    answers = [
        await instance.get("/api/v2/dags", bearer(token)),
        await instance.get("/", cookie(token)),
        await instance.post("/auth/token", exchange),
        await instance.post("/compat-auth/revoke", {"token": token}),
        await instance.post("/compat-auth/introspect", {"token": token}, as_user("alice")),
    ]

    assert all(answer.status < 500 for answer in answers)
