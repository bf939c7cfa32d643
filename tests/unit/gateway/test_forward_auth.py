"""Forward-auth: a front proxy asks, and keeps the traffic."""

from __future__ import annotations

import pytest

from compat_auth.gateway.middleware import Gate
from compat_auth.http.asgi import RawHeaders
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject
from support.stand_ins import GOOD, Behind, Sent, basic, call, http_scope, make_decider, make_gate, scripted

ORIGINAL: dict[str, tuple[bytes, bytes]] = {
    "nginx": (b"x-original-uri", b"x-original-method"),
    "traefik": (b"x-forwarded-uri", b"x-forwarded-method"),
    "caddy": (b"x-forwarded-uri", b"x-forwarded-method"),
}
AUTHORIZATION = (b"authorization", GOOD.encode())
every_dialect = pytest.mark.parametrize("dialect", ORIGINAL)


@pytest.fixture
def gate() -> Gate:
    accept = Accept(Identity("alice", "first"), (("WWW-Authenticate", "Negotiate oRQw"),))
    backend = scripted("first", lambda c: accept if "alice" in repr(c) else Reject("wrong"), invites=("Basic",))
    return make_gate(Behind(), make_decider(backend), trusted=["10.0.0.0/8"])


async def ask(
    gate: Gate,
    dialect: str,
    headers: RawHeaders,
    *,
    uri: bytes = b"/api/v2/dags?limit=1",
    method: bytes = b"get",
    peer: str = "10.0.0.1",
) -> Sent:
    uri_header, method_header = ORIGINAL[dialect]
    told = [(uri_header, uri), (method_header, method), *headers]
    return await call(gate, http_scope(f"/compat-auth/forward-auth/{dialect}".encode(), told, client=peer))


@every_dialect
async def test_a_stranger_gets_no_token_out_of_it(gate: Gate, dialect: str) -> None:
    sent = await ask(gate, dialect, [AUTHORIZATION], peer="192.0.2.1")

    assert sent.status == 403
    assert sent.values(b"authorization") == []


@every_dialect
async def test_a_known_caller_goes_on_with_a_token_and_without_identity_cookies(gate: Gate, dialect: str) -> None:
    cookies = (b"cookie", b"_token=t; ours=1; theme=dark")

    sent = await ask(gate, dialect, [AUTHORIZATION, cookies])

    assert sent.status == 200
    assert sent.values(b"authorization") == [b"Bearer token-of-alice-0"]
    assert sent.values(b"x-compat-auth-cookie") == [b"theme=dark"]
    assert sent.values(b"www-authenticate") == [b"Negotiate oRQw"]
    assert sent.values(b"cache-control") == [b"no-store"]


@every_dialect
async def test_a_wrong_credential_is_401_with_challenges(gate: Gate, dialect: str) -> None:
    sent = await ask(gate, dialect, [(b"authorization", basic("bob", "x").encode())])

    assert sent.status == 401
    assert sent.values(b"www-authenticate") == [b"Basic"]


async def test_nothing_at_all_is_401(gate: Gate) -> None:
    assert (await ask(gate, "nginx", [])).status == 401


async def test_the_upstreams_own_bearer_goes_on_as_it_is(gate: Gate) -> None:
    sent = await ask(gate, "nginx", [(b"authorization", b"Bearer theirs"), (b"cookie", b"_token=t; ours=1")])

    assert sent.status == 200
    assert sent.values(b"authorization") == [b"Bearer theirs"]
    assert sent.values(b"x-compat-auth-cookie") == [b"_token=t"]


async def test_an_unprotected_path_needs_no_decision(gate: Gate) -> None:
    sent = await ask(gate, "nginx", [], uri=b"/ui")

    assert sent.status == 200
    assert sent.values(b"authorization") == []
    assert sent.values(b"x-compat-auth-cookie") == []


@pytest.mark.parametrize("credential", [AUTHORIZATION[1], b"Negotiate YIIabc"])
async def test_an_unprotected_path_is_not_told_a_password_or_ticket(gate: Gate, credential: bytes) -> None:
    sent = await ask(gate, "nginx", [(b"authorization", credential)], uri=b"/ui")

    assert sent.status == 200
    assert sent.values(b"authorization") == []


async def test_an_encoded_slash_does_not_lead_around_the_fence(gate: Gate) -> None:
    assert (await ask(gate, "nginx", [], uri=b"/api%2Fv2")).status == 401


@pytest.mark.parametrize("uri", [b"/api/../x", b"//x", b"", b"http://a/b", b"/a#b"])
async def test_a_target_with_two_readings_is_400(gate: Gate, uri: bytes) -> None:
    assert (await ask(gate, "nginx", [AUTHORIZATION], uri=uri)).status == 400


@pytest.mark.parametrize(
    ("dialect", "location"),
    [("traefik", b"https://airflow.example/api/x?a=//b"), ("caddy", b"/api/x?a=//b")],
)
async def test_a_proxy_that_sends_our_redirect_on_gets_one_for_a_merged_path(
    gate: Gate, dialect: str, location: bytes
) -> None:
    forward = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"airflow.example")]

    sent = await ask(gate, dialect, [AUTHORIZATION, *forward], uri=b"//api//x?a=//b")

    assert sent.status == 308
    assert sent.values(b"location") == [location]
    assert sent.values(b"authorization") == []


@every_dialect
async def test_a_stranger_gets_no_redirect_for_a_merged_path(gate: Gate, dialect: str) -> None:
    assert (await ask(gate, dialect, [], uri=b"//api/x", peer="192.0.2.1")).status == 403


@pytest.mark.parametrize("method", [b"", b"GET, POST", b"GET POST", "gét".encode()])
async def test_a_method_that_is_not_one_is_400(gate: Gate, method: bytes) -> None:
    assert (await ask(gate, "nginx", [AUTHORIZATION], method=method)).status == 400


async def test_two_targets_are_400(gate: Gate) -> None:
    sent = await ask(gate, "nginx", [AUTHORIZATION, (b"x-original-uri", b"/ui")])

    assert sent.status == 400


async def test_a_dialect_does_not_read_the_headers_of_another(gate: Gate) -> None:
    headers = [AUTHORIZATION, (b"x-forwarded-uri", b"/api/x"), (b"x-forwarded-method", b"GET")]

    sent = await call(gate, http_scope(b"/compat-auth/forward-auth/nginx", headers, client="10.0.0.1"))

    assert sent.status == 400
