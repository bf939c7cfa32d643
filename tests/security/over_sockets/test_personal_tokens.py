"""Personal tokens under attack, at the gateway: what is none, what is somebody else's, and ways around a scope."""

from __future__ import annotations

import base64
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy import text as sql

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import Settings
from compat_auth.credentials import Credential
from compat_auth.crypto.personal_token_format import checksum, make_text
from compat_auth.http.asgi import RawHeaders
from compat_auth.outcome import Outcome
from compat_auth.personal_tokens.peppers import Peppers
from compat_auth.personal_tokens.request import NewToken
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.store.tables.personal_tokens import PersonalTokenRows
from compat_auth_backends.basic_auth import BasicAuthBackend
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, call, http_scope

DAGS = b"/api/v2/dags"


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


@pytest.fixture
def others_asked(monkeypatch: pytest.MonkeyPatch) -> list[Credential]:
    """What the other backend of the chain was asked about."""
    asked: list[Credential] = []
    real: Callable[[BasicAuthBackend, Credential], Outcome] = BasicAuthBackend.authenticate

    def authenticate(backend: BasicAuthBackend, credential: Credential) -> Outcome:
        asked.append(credential)
        return real(backend, credential)

    monkeypatch.setattr(BasicAuthBackend, "authenticate", authenticate)
    return asked


def bearer(text: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + text.encode())


def basic(username: str, password: str) -> tuple[bytes, bytes]:
    return (b"authorization", b"Basic " + base64.b64encode(f"{username}:{password}".encode()))


async def ask(gateway: Gateway, *headers: tuple[bytes, bytes], path: bytes = DAGS, method: str = "GET") -> Sent:
    return await call(gateway, http_scope(path, list(headers), method=method))


def sealed(body: str) -> str:
    """Return a body with the checksum that belongs to it."""
    return body + checksum(body)


# From a token of alice's and one of bob's, what is neither.
FORGERIES: dict[str, Callable[[str, str], str]] = {
    "forged checksum": lambda alice, _: alice[:-6] + "000000",
    "secret changed, checksum too": lambda alice, _: sealed(alice[:-7] + ("0" if alice[-7] != "0" else "1")),
    "secret of one, id of the other": lambda alice, bob: sealed(bob[:20] + alice[20:-6]),
    "the same, with the old checksum": lambda alice, bob: bob[:20] + alice[20:],
    "new secret for the id": lambda alice, _: make_text(alice[8:20]).value,
    "cut by one": lambda alice, _: alice[:-1],
    "cut to the id": lambda alice, _: alice[:20],
    "the prefix alone": lambda *_: "cat_pat_",
    "one more": lambda alice, _: alice + "0",
    "two in one": lambda alice, bob: alice + bob,
    "upper case": lambda alice, _: alice[:8] + alice[8:].upper(),
    "padding of base64": lambda alice, _: alice + "=",
}
# What HTTP Basic can carry and a Bearer cannot.
ODD_FORGERIES: dict[str, Callable[[str, str], str]] = {
    "digits that only Unicode takes for such": lambda alice, _: alice[:-6] + "".join(chr(0x660 + n) for n in range(6)),
    "a letter that folds to ASCII": lambda alice, _: alice[:-1] + "\u017f",
    "a line after it": lambda alice, _: alice + "\n",
    "NUL after it": lambda alice, _: alice + "\x00",
    "a blank before the end": lambda alice, _: alice[:-1] + " " + alice[-1],
    "a colon and more": lambda alice, _: alice + ":x",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_a_bearer_that_begins_like_a_token_and_is_none_is_refused_for_good(
    gateway: Gateway,
    settings: Settings,
    upstream: Recorder,
    others_asked: list[Credential],
    forge: Callable[[str, str], str],
) -> None:
    alice, bob = make_token(settings).text, make_token(settings, owner="bob").text

    # A session's cookie of the upstream's beside it must not save it.
    sent = await ask(gateway, bearer(forge(alice, bob)), (b"cookie", b"_token=of-alice"))

    assert sent.status == 401
    assert upstream.take() == []
    assert others_asked == []


@pytest.mark.parametrize("forge", [*FORGERIES.values(), *ODD_FORGERIES.values()], ids=[*FORGERIES, *ODD_FORGERIES])
async def test_a_password_that_begins_like_a_token_and_is_none_is_nobodys_password(
    gateway: Gateway,
    settings: Settings,
    upstream: Recorder,
    others_asked: list[Credential],
    forge: Callable[[str, str], str],
) -> None:
    alice, bob = make_token(settings).text, make_token(settings, owner="bob").text

    sent = await ask(gateway, basic("alice", forge(alice, bob)))

    assert sent.status == 401
    assert upstream.take() == []
    assert others_asked == []


@pytest.mark.parametrize("name", ["forged checksum", "cut by one", "one more", "two in one", "the prefix alone"])
async def test_what_cannot_be_a_token_costs_no_query(
    gateway: Gateway, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    alice, bob = make_token(settings).text, make_token(settings, owner="bob").text
    asked: list[str] = []
    monkeypatch.setattr(PersonalTokenRows, "find", lambda _rows, token_id: asked.append(token_id))

    sent = await ask(gateway, bearer(FORGERIES[name](alice, bob)))

    assert (sent.status, asked) == (401, [])


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(lambda text: [basic("bob", text)], id="password of another"),
        pytest.param(lambda text: [basic("ALICE", text)], id="another case"),
        pytest.param(lambda text: [basic("", text)], id="of nobody"),
        pytest.param(lambda text: [basic(text, "")], id="user name"),
        pytest.param(lambda text: [basic(text, "x-oauth-basic")], id="user name and a word"),
        pytest.param(lambda text: [basic(text, "wonder")], id="user name and alice's password"),
        pytest.param(lambda text: [(b"authorization", base64.b64encode(text.encode()))], id="no scheme"),
        pytest.param(lambda text: [(b"authorization", f"Token {text}".encode())], id="scheme Token"),
        pytest.param(lambda text: [(b"authorization", f"Negotiate {text}".encode())], id="scheme Negotiate"),
        pytest.param(lambda text: [(b"authorization", f"Bearer Bearer {text}".encode())], id="scheme twice"),
        pytest.param(lambda text: [(b"authorization", f"Bearer x,{text}".encode())], id="second of two"),
        pytest.param(lambda text: [(b"x-token", text.encode())], id="another header"),
        pytest.param(lambda text: [(b"proxy-authorization", f"Bearer {text}".encode())], id="for a proxy"),
        pytest.param(lambda text: [(b"x-authorization", f"Bearer {text}".encode())], id="almost the header"),
        pytest.param(lambda text: [(b"cookie", f"token={text}; access_token={text}".encode())], id="cookie"),
        pytest.param(lambda text: [bearer(text + "\x00")], id="NUL after it"),
        pytest.param(lambda text: [bearer(text), bearer(text)], id="twice"),
        pytest.param(lambda text: [bearer(text), basic("alice", "wonder")], id="beside a password"),
    ],
)
async def test_a_token_that_works_does_so_in_its_own_place_alone(
    gateway: Gateway, settings: Settings, upstream: Recorder, headers: Callable[[str], RawHeaders]
) -> None:
    text = make_token(settings).text
    assert (await ask(gateway, bearer(text))).status == 200
    assert (await ask(gateway, basic("alice", text))).status == 200
    upstream.take()

    sent = await ask(gateway, *headers(text))

    assert sent.status in (400, 401)
    assert upstream.take() == []


@pytest.mark.parametrize("name", ["access_token", "token", "bearer", "authorization", "api_key"])
@pytest.mark.parametrize("in_body", [False, True])
async def test_a_token_in_the_query_or_the_body_opens_nothing(
    gateway: Gateway, settings: Settings, upstream: Recorder, name: str, in_body: bool
) -> None:
    pair = f"{name}={make_token(settings).text}".encode()
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    query, body = (b"", pair) if in_body else (pair, b"")

    sent = await call(gateway, http_scope(DAGS, form, method="POST", query=query), body)

    assert sent.status == 401
    assert upstream.take() == []


# What a token with the one scope `GET /api/v2/dags` reaches. None: it does not get that far.
REACHED: dict[tuple[str, bytes], bytes | int] = {
    ("GET", b"/api/v2/dags"): b"/api/v2/dags",
    ("HEAD", b"/api/v2/dags"): b"/api/v2/dags",
    ("GET", b"/api/v2/dags/"): b"/api/v2/dags/",
    ("GET", b"/api/v2/%64ags"): b"/api/v2/dags",
    ("POST", b"/api/v2/dags"): 403,
    ("OPTIONS", b"/api/v2/dags"): 403,
    ("get", b"/api/v2/dags"): 403,
    ("GET\tPOST", b"/api/v2/dags"): 403,
    ("HEAD", b"/api/v2/pools"): 403,
    ("GET", b"/api/v2/dags/x"): 403,
    ("GET", b"/api/v2/dagsx"): 403,
    ("GET", b"/api/v2/DAGS"): 403,
    ("GET", b"/API/v2/dags"): 403,
    ("GET", b"/api/v2/dags%2F"): 403,
    ("GET", b"/api/v2/dags%2Fx"): 403,
    ("GET", b"/api/v2/dags%3Fx"): 403,
    ("GET", b"/api/v2/dags%23"): 403,
    ("GET", b"/api/v2/dags;x"): 403,
    ("GET", b"/api/v2%2Fdags"): 403,
    ("GET", b"/api/v2"): 403,
    ("GET", b"/api/v1/dags"): 403,
    ("GET", b"//api/v2/dags"): 308,
    ("GET", b"/api/v2//dags"): 308,
    ("GET", b"/api/v2/dags//"): 308,
    ("GET", b"/api/v2/dags/../pools"): 400,
    ("GET", b"/api/v2/dags/%2e%2e/pools"): 400,
    ("GET", b"/api/v2/dags%2F..%2Fpools"): 400,
    ("GET", b"/api/v2/dags/..;/pools"): 400,
    ("GET", b"/api/v2/dags/%252e%252e/pools"): 400,
    ("GET", b"/api/v2/dags\\..\\pools"): 400,
    ("GET", b"/api/v2/dags%5C..%5Cpools"): 400,
    ("GET", b"/api/v2/dags%00"): 400,
    ("GET", b"http://gateway.example/api/v2/dags"): 400,
    ("TRACE", b"/api/v2/dags"): 501,
}


@pytest.mark.parametrize(("asked", "expected"), REACHED.items(), ids=[f"{m} {p.decode()}" for m, p in REACHED])
async def test_no_spelling_leads_out_of_a_scope(
    gateway: Gateway, settings: Settings, upstream: Recorder, asked: tuple[str, bytes], expected: bytes | int
) -> None:
    text = make_token(settings, "GET /api/v2/dags").text
    method, path = asked

    cold = await ask(gateway, bearer(text), path=path, method=method)
    await ask(gateway, bearer(text))
    warm = await ask(gateway, bearer(text), path=path, method=method)

    if expected == 403:
        assert b"insufficient_scope" in cold.values(b"www-authenticate")[0]
    if isinstance(expected, int):
        assert (cold.status, warm.status) == (expected, expected)
        assert [arrived.target for arrived in upstream.take()] == [DAGS]
    else:
        assert (cold.status, warm.status) == (200, 200)
        assert [arrived.target for arrived in upstream.take()] == [expected, DAGS, expected]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_am_i_is_open_to_a_token_that_may_do_nothing_else(
    gateway: Gateway, settings: Settings, method: str
) -> None:
    text = make_token(settings, "DELETE /nothing").text

    sent = await ask(gateway, bearer(text), path=b"/compat-auth/whoami", method=method)
    beside = await ask(gateway, bearer(text), path=b"/compat-auth/whoami/x", method=method)

    assert (sent.status, beside.status) == (200, 404)


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        (b"x-http-method-override", [200, 403, 200]),
        (b"x-http-method", [200, 403, 200]),
        (b"x-method-override", [200, 403, 200]),
        # What some servers take for the same name is refused.
        (b"x_method_override", [400, 400, 400]),
        (b"x-http.method", [400, 400, 400]),
    ],
)
async def test_no_header_overrides_the_method_that_a_scope_was_checked_for(
    gateway: Gateway, settings: Settings, upstream: Recorder, name: bytes, statuses: list[int]
) -> None:
    reader, writer = (
        make_token(settings, "GET /api/v2/dags").text,
        make_token(settings, "POST /api/v2/dags", name="w").text,
    )

    overridden = await ask(gateway, bearer(reader), (name, b"DELETE"))
    disguised = await ask(gateway, bearer(reader), (name, b"GET"), method="DELETE")
    other = await ask(gateway, bearer(writer), (name, b"DELETE"), method="POST")

    assert [overridden.status, disguised.status, other.status] == statuses
    for arrived in upstream.take():
        assert b"DELETE" not in arrived.head


@pytest.mark.parametrize(
    ("scope", "path", "expected"),
    [
        ("GET /api/v2/dags", b"/api/v1/dags", []),
        ("GET /api/v2/", b"/api/v1/dags", []),
        ("GET /api/v1/dags", b"/api/v2/dags", []),
        ("GET /api/v1/", b"/api/v2/dags", []),
        ("GET /api/v1/dags", b"/api/v1/pools", []),
        ("GET /api/v1/dags", b"/api/v1/dags/x", []),
        ("GET /api/v1/dags/{dag_id}", b"/api/v1/dags/x%2FdagRuns", []),
        ("GET /api/v1/dags/{dag_id}", b"/api/v1/dags/x%2F..%2F..%2Fpools", []),
        ("GET /api/v1/dags/", b"/api/v1/dags/../pools", []),
        ("GET /api/v1/dags/", b"/api/v1/pools", []),
        ("GET /api/v1/dags/{dag_id}", b"/api/v1/dags/a%3Flimit=1", [b"/api/v2/dags/a%3Flimit=1"]),
        ("GET /api/v1/dags/", b"/api/v1/dags/x%2Fy", [b"/api/v2/dags/x%2Fy"]),
        ("GET /api/v1/pools", b"/api/v1/pools", [b"/api/v2/pools"]),
    ],
)
async def test_a_scope_for_one_api_opens_nothing_of_the_other(
    tmp_path: Path, upstream: Recorder, scope: str, path: bytes, expected: list[bytes]
) -> None:
    at = {"url": f"http://127.0.0.1:{upstream.port}", "profile": "airflow-simple"}
    settings = settings_with_tokens(tmp_path, upstream.port, upstream=at)
    text = make_token(settings, scope).text
    async with opened(settings) as gateway:
        sent = await ask(gateway, bearer(text), path=path)

    is_refused = sent.status == 400 or any(b"insufficient_scope" in value for value in sent.values(b"www-authenticate"))
    assert is_refused is (expected == [])
    assert [arrived.target.partition(b"?")[0] for arrived in upstream.take()] == expected


async def test_what_may_read_everything_below_one_path_gets_no_token_that_may_more(
    gateway: Gateway, settings: Settings
) -> None:
    text = make_token(settings, "GET /", "POST /").text
    body = json.dumps({"name": "child", "scopes": ["all"]}).encode()
    headers = [bearer(text), (b"content-type", b"application/json")]

    made = await call(gateway, http_scope(b"/compat-auth/api/personal-tokens", headers, method="POST"), body)
    exchanged = [
        await ask(gateway, bearer(text), path=path, method="POST") for path in (b"/auth/token", b"/auth/token/cli")
    ]

    assert made.status == 403
    assert [sent.status for sent in exchanged] == [403, 403]
    assert len(PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream).list()) == 1


async def test_a_row_that_was_written_past_us_does_not_work(gateway: Gateway, settings: Settings) -> None:
    forged, made = make_text(), make_token(settings)
    rows = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream).rows
    with rows.database.write() as connection:
        connection.execute(sql("UPDATE compat_auth_personal_tokens SET id = :id"), {"id": forged.id})

    statuses = [(await ask(gateway, bearer(text))).status for text in (forged.value, made.text)]

    assert statuses == [401, 401]


async def test_whether_there_is_such_an_id_changes_neither_the_answer_nor_the_work(
    gateway: Gateway, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_token(settings)
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    refreshed = tokens.refresh(make_token(settings, name="refreshed").token, overlap_s=60)
    tokens.revoke((dead := make_token(settings, name="dead")).token)
    work: list[str] = []
    real = Peppers.digest

    def digest(peppers: Peppers, pepper_id: str, value: str) -> bytes:
        work.append("digest")
        return real(peppers, pepper_id, value)

    def compare(one: bytes, other: bytes) -> bool:
        work.append("compare")
        return compared(one, other)

    compared = hmac.compare_digest
    monkeypatch.setattr(Peppers, "digest", digest)
    monkeypatch.setattr(hmac, "compare_digest", compare)
    await ask(gateway, bearer(make_text().value))
    engine = (
        gateway._core.personal_tokens.rows.database._engine_of_process()
        if gateway._core.personal_tokens is not None
        else None
    )
    event.listen(engine, "before_cursor_execute", lambda *arguments: work.append(str(arguments[2])))
    found: list[tuple[int, bytes, list[str]]] = []

    for token_id in (make_text().id, made.token.id, refreshed.token.id, dead.token.id):
        del work[:]
        sent = await ask(gateway, bearer(make_text(token_id).value))
        found.append((sent.status, sent.body, list(work)))

    assert found[0][0] == 401
    assert (found[0][2].count("digest"), found[0][2].count("compare")) == (2, 2)
    assert found[1:] == [found[0]] * 3


@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param(lambda text: ([bearer(text)], DAGS, b""), id="bearer"),
        pytest.param(lambda text: ([basic("alice", text)], DAGS, b""), id="password"),
        pytest.param(lambda text: ([basic("bob", text)], DAGS, b""), id="password of another"),
        pytest.param(lambda text: ([basic(text, "x")], DAGS, b""), id="user name"),
        pytest.param(lambda text: ([basic(f"{text}@example.org", "x")], DAGS, b""), id="within a user name"),
        pytest.param(lambda text: ([bearer(text[:-1] + "!")], DAGS, b""), id="malformed"),
        pytest.param(lambda text: ([bearer(text[:-1])], DAGS, b""), id="cut"),
        pytest.param(lambda text: ([basic("alice", "wonder")], b"/api/v2/dags/" + text.encode(), b""), id="path"),
        pytest.param(lambda text: ([basic("alice", "x")], DAGS, b"token=" + text.encode()), id="query"),
        pytest.param(lambda text: ([(b"cookie", b"a=" + text.encode())], DAGS, b""), id="cookie"),
        pytest.param(lambda text: ([bearer(text), bearer(text)], DAGS, b""), id="twice"),
        pytest.param(lambda text: ([(b"authorization", text.encode())], DAGS, b""), id="no scheme"),
        pytest.param(lambda text: ([bearer(text)], b"/compat-auth/nothing", b""), id="no page"),
    ],
)
async def test_wherever_a_token_is_put_its_secret_is_in_no_log_and_in_no_refusal(
    gateway: Gateway,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    request_of: Callable[[str], tuple[RawHeaders, bytes, bytes]],
) -> None:
    made: NewToken = make_token(settings)
    headers, path, query = request_of(made.text)
    caplog.set_level(logging.DEBUG)

    sent = await call(gateway, http_scope(path, headers, query=query))

    secret = made.text[20:44]
    assert secret not in caplog.text
    if path == DAGS:
        assert secret.encode() not in sent.body
        assert not any(secret.encode() in value for _, value in sent.headers)


async def test_the_store_holds_a_digest_that_needs_the_pepper(
    gateway: Gateway, settings: Settings, tmp_path: Path
) -> None:
    text = make_token(settings).text
    assert (await ask(gateway, bearer(text))).status == 200

    (tmp_path / "store.db.pepper").write_text("another-pepper-of-more-than-32-bytes-0123456789\n")
    async with opened(settings) as elsewhere:
        sent = await ask(elsewhere, bearer(text))

    assert sent.status == 401
    assert PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream).get(text[8:20])
