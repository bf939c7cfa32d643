"""The answers to refused requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable, BadRequest, NotAuthenticated, TokenEnded
from compat_auth.gateway.decision import Refused, Unclaimed
from compat_auth.gateway.refusals import Refusals, refuse_websocket, respond_moved
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.challenges import ChallengeContext
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from support.stand_ins import Sent

CHALLENGES = ("Basic", "Negotiate")


def request(*headers: tuple[bytes, bytes]) -> GateRequest:
    return GateRequest({}, take_in([(b"host", b"a"), *headers]), "GET", b"/api/x", b"", "192.0.2.1")


async def answer(refusals: Refusals, refusal: Any, asked: GateRequest | None = None) -> Sent:
    sent = Sent()

    async def send(message: Any) -> None:
        sent.messages.append(message)

    await refusals.send(send, refusal, asked)
    return sent


@pytest.mark.parametrize(
    ("refusal", "status", "challenges"),
    [
        (Refused(401, ("Digest",)), 401, [b"Digest"]),
        (Refused(403, ("Digest",)), 403, []),
        (Unclaimed(Absent(), ("Basic",)), 401, [b"Basic"]),
        (NotAuthenticated("ended"), 401, [b"Basic", b"Negotiate"]),
        (TokenEnded("revoked"), 401, [b"Basic", b"Negotiate", b"Bearer"]),
        (BadRequest("wrong"), 400, []),
        (BackendUnavailable("down"), 503, []),
    ],
)
async def test_a_refusal_has_its_status_and_challenges_and_is_not_kept(
    refusal: Any, status: int, challenges: list[bytes]
) -> None:
    sent = await answer(Refusals(ErrorStyle(), CHALLENGES), refusal)

    assert (sent.status, sent.values(b"www-authenticate")) == (status, challenges)
    assert sent.values(b"cache-control") == [b"no-store"]
    assert json.loads(sent.body)["status"] == status


async def test_airflow2_had_no_challenge_for_a_bearer() -> None:
    refusals = Refusals(ErrorStyle("airflow2"), CHALLENGES)

    assert (await answer(refusals, TokenEnded("revoked"))).values(b"www-authenticate") == [b"Basic", b"Negotiate"]
    assert (refusals.style, refusals.challenges) == (ErrorStyle("airflow2"), CHALLENGES)


async def test_a_wrong_bearer_is_told_so_and_where_to_get_one() -> None:
    refusals = Refusals(ErrorStyle(), ("Bearer",), lambda asked: f"https://{asked.intake.host.decode()}/meta")

    wrong = await answer(refusals, Refused(401, ("Bearer",)), request((b"authorization", b"Bearer t")))
    none = await answer(refusals, Refused(401, ("Bearer",)), request())

    assert wrong.values(b"www-authenticate") == [b'Bearer error="invalid_token", resource_metadata="https://a/meta"']
    assert none.values(b"www-authenticate") == [b'Bearer resource_metadata="https://a/meta"']
    assert refusals.www_authenticate(("Bearer",), request()) == ('Bearer resource_metadata="https://a/meta"',)


@pytest.mark.parametrize(
    ("headers", "context"),
    [
        pytest.param([], ChallengeContext(), id="nothing"),
        pytest.param([(b"authorization", b"bEarer t")], ChallengeContext(is_bearer=True), id="bearer"),
        pytest.param([(b"authorization", b"Basic \xff")], ChallengeContext(), id="not-ascii"),
        pytest.param([(b"x-requested-with", b"XMLHttpRequest")], ChallengeContext(caller="script"), id="script"),
    ],
)
def test_challenges_depend_on_what_was_presented_and_by_whom(headers: RawHeaders, context: ChallengeContext) -> None:
    assert Refusals(ErrorStyle(), ()).context(request(*headers)) == context
    assert Refusals(ErrorStyle(), ()).context(None) == ChallengeContext()


@pytest.mark.parametrize(
    ("query", "location"),
    [
        (b"", b"/api/x"),
        (b"a=1", b"/api/x?a=1"),
        (b"a=\xe9", b"/api/x?a=%E9"),
        (b"a=1\r\nx: y", b"/api/x"),
        (b"a b", b"/api/x"),
    ],
)
async def test_a_client_is_sent_to_the_canonical_path_with_its_query(query: bytes, location: bytes) -> None:
    sent = Sent()

    async def send(message: Any) -> None:
        sent.messages.append(message)

    await respond_moved(send, b"/api/x", query)

    assert (sent.status, sent.values(b"location")) == (308, [location])
    assert sent.values(b"cache-control") == [b"no-store"]
    assert sent.values(b"content-type") == [b"application/problem+json"]
    assert "empty segment" in json.loads(sent.body)["detail"]


@pytest.mark.parametrize("extensions", [{"websocket.http.response": {}}, {}, None])
async def test_a_websocket_is_refused_once_it_has_asked(extensions: Any) -> None:
    sent: list[Any] = []
    received: list[int] = []

    async def receive() -> Any:
        received.append(1)
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        assert received == [1]
        sent.append(message)

    await refuse_websocket({"extensions": extensions}, receive, send)

    if not extensions:
        assert sent == [{"type": "websocket.close", "code": 1008}]
        return
    start, body = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 501)
    assert start["headers"] == [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body["body"])),
    ]
    assert body["type"] == "websocket.http.response.body"
    assert json.loads(body["body"])["status"] == 501
    assert "call the upstream directly" in json.loads(body["body"])["detail"]
