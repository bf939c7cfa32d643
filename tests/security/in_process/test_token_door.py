"""`/auth/token` under attack: limited credentials, confused kinds of tokens, forged requests, guesses, odd bodies."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from compat_auth.api.oauth.token_endpoint import PATHS, Issue, TokenEndpoint
from compat_auth.api.oauth.token_request import ACCESS_TOKEN, EXCHANGE_GRANT, ID_TOKEN, JWT, PERSONAL_TOKEN, SPNEGO
from compat_auth.composition.gate import GateParts
from compat_auth.credentials import Absent, Bearer, Credential, Negotiate
from compat_auth.errors import BackendUnavailable, NotPermitted
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.http.asgi import RawHeaders
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Reject, Skip
from compat_auth.scopes import parse_scope
from compat_auth.web.throttling import TokenAttempts
from support.stand_ins import Behind, Pages, Sent, basic, call, http_scope, make_decider, make_gate, scripted

FORM: RawHeaders = [(b"content-type", b"application/x-www-form-urlencoded")]
JSON: RawHeaders = [(b"content-type", b"application/json")]
BEARERS = {
    "of-oidc": Identity("alice", "oidc"),
    "of-google": Identity("alice", "google_openid"),
    "personal": Identity("alice", "personal_token"),
    "limited": Identity("alice", "personal_token", scopes=(parse_scope("GET /api/"),)),
    "nothing": Identity("alice", "personal_token", scopes=()),
    "whole": Identity("robot", "personal_token", scopes=(parse_scope("all"),), role_account=True),
}


def token_pages(
    issue: Issue, attempts: TokenAttempts, *, incomplete_status: int = 400, words_of_airflow: bool = False
) -> Pages:
    """Return the two pages, for a gate."""

    def pages(parts: GateParts) -> dict[str, Page]:
        endpoint = TokenEndpoint(
            parts.endpoint(), issue, attempts, "apache-airflow", incomplete_status, words_of_airflow=words_of_airflow
        )
        return dict.fromkeys(PATHS, endpoint)

    return pages


class World:
    """A gate with doors, over backends that know alice's password, some bearers, and a session cookie."""

    def __init__(self, **limits: int) -> None:
        self.issued: list[tuple[Identity, Credential, str]] = []
        self.behind = Behind()
        passwords = scripted("basic_auth", self._judge_password, invites=('Basic realm="Airflow"',))
        bearers = scripted("tokens", self._judge_bearer, takes=frozenset({Bearer}), invites=("Bearer",))
        tickets = scripted("kerberos", Accept(Identity("alice", "kerberos")), takes=frozenset({Negotiate}), alike=False)
        session = scripted("session", Accept(Identity("alice", "session")), takes=frozenset({Absent}), alike=False)
        decider = make_decider(passwords, bearers, tickets, session)
        attempts = TokenAttempts(limits.get("failures", 20), limits.get("tokens", 100))
        self.decider = decider
        self.gate: Gate = make_gate(self.behind, decider, pages=token_pages(self._issue, attempts))

    def _judge_password(self, credential: Credential) -> Accept | Reject:
        if getattr(credential, "password", "") == "wonder":
            return Accept(Identity(getattr(credential, "username", ""), "basic_auth"), reusable_s=60)
        return Reject("wrong")

    def _judge_bearer(self, credential: Credential) -> Accept | Skip:
        found = BEARERS.get(getattr(credential, "token", ""))
        return Accept(found) if found else Skip()

    def _issue(self, identity: Identity, credential: Credential, kind: Any) -> Token:
        self.issued.append((identity, credential, kind))
        return Token(f"jwt-{len(self.issued)}", 4_000_000_000)

    async def ask(
        self,
        body: bytes = b"",
        headers: RawHeaders | None = None,
        *,
        path: bytes = b"/auth/token",
        method: str = "POST",
        client: str = "192.0.2.1",
    ) -> Sent:
        return await call(self.gate, http_scope(path, headers, method=method, client=client), body)

    async def log_in(self, username: str = "alice", password: str = "wonder", client: str = "192.0.2.1") -> Sent:
        body = json.dumps({"username": username, "password": password}).encode()
        return await self.ask(body, JSON, client=client)

    async def exchange(self, subject: str, kind: str = ACCESS_TOKEN, **more: str) -> Sent:
        form = {"grant_type": EXCHANGE_GRANT, "subject_token": subject, "subject_token_type": kind, **more}
        return await self.ask(urlencode(form).encode(), FORM)


@pytest.fixture
def world() -> World:
    return World()


def bearer(token: str) -> RawHeaders:
    return [(b"authorization", b"Bearer " + token.encode())]


def content(sent: Sent) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent.body)
    return found


async def test_a_login_gets_airflows_answer_and_nothing_may_keep_it(world: World) -> None:
    sent = await world.log_in()

    assert sent.status == 201
    assert content(sent) == {"access_token": "jwt-1"}
    assert sent.values(b"cache-control") == [b"no-store"]
    assert sent.values(b"content-type") == [b"application/json"]


async def test_two_logins_get_two_tokens_so_that_one_can_be_revoked_alone(world: World) -> None:
    first, second = await world.log_in(), await world.log_in()

    assert content(first) != content(second)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"authorization", basic("alice", "wonder").encode())], id="basic"),
        pytest.param(bearer("of-oidc"), id="bearer"),
        pytest.param([(b"authorization", b"Negotiate YWJj")], id="negotiate"),
        pytest.param([(b"cookie", b"ours=1; _token=theirs")], id="session-beside-the-upstreams-cookie"),
    ],
)
async def test_every_backend_opens_both_doors(world: World, headers: RawHeaders) -> None:
    answers = [await world.ask(headers=headers, path=path) for path in (b"/auth/token", b"/auth/token/cli")]

    assert [sent.status for sent in answers] == [201, 201]
    assert [kind for _, _, kind in world.issued] == ["token", "cli"]


async def test_get_is_ours_with_an_explicit_credential_and_the_upstreams_without(world: World) -> None:
    explicit = await world.ask(method="GET", headers=bearer("of-oidc"))
    by_cookie = await world.ask(method="GET", headers=[(b"cookie", b"ours=1")])

    assert explicit.status == 201
    assert by_cookie.status == 200
    assert [scope["method"] for scope in world.behind.scopes] == ["GET"]
    assert len(world.issued) == 1


@pytest.mark.parametrize("token", ["limited", "nothing"])
async def test_a_limited_credential_becomes_no_unlimited_token(world: World, token: str) -> None:
    direct = await world.ask(headers=bearer(token))
    exchanged = await world.exchange(token)

    assert direct.status == 403
    assert exchanged.status == 400
    assert content(exchanged)["error"] == "invalid_scope"
    assert world.issued == []


async def test_a_scripts_account_that_is_not_limited_gets_a_token(world: World) -> None:
    sent = await world.ask(headers=bearer("whole"))

    assert sent.status == 201


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("of-google", ACCESS_TOKEN),
        ("of-oidc", ID_TOKEN),
        ("personal", ID_TOKEN),
        ("of-oidc", PERSONAL_TOKEN),
        ("of-google", PERSONAL_TOKEN),
        ("of-oidc", JWT),
    ],
)
async def test_a_token_shown_as_another_kind_is_refused(world: World, subject: str, kind: str) -> None:
    sent = await world.exchange(subject, kind)

    assert sent.status == 400
    assert content(sent)["error"] == "invalid_request"
    assert world.issued == []


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("of-oidc", ACCESS_TOKEN),
        ("of-google", ID_TOKEN),
        ("personal", PERSONAL_TOKEN),
        ("personal", ACCESS_TOKEN),
        ("YWJj", SPNEGO),
    ],
)
async def test_an_exchange_answers_as_rfc_8693_says(world: World, subject: str, kind: str) -> None:
    sent = await world.exchange(subject, kind, audience="apache-airflow", scope="all")

    found = content(sent)
    assert sent.status == 200
    assert found.pop("expires_in") > 0
    assert found == {
        "access_token": "jwt-1",
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "scope": "all",
    }


@pytest.mark.parametrize(
    ("more", "code"),
    [
        pytest.param({"audience": "urn:airflow.apache.org:task"}, "invalid_target", id="task-api"),
        pytest.param({"resource": "https://elsewhere"}, "invalid_target", id="resource"),
        pytest.param({"scope": "GET /api/"}, "invalid_scope", id="narrower-than-the-upstream-knows"),
        pytest.param({"scope": "all admin"}, "invalid_scope", id="wider"),
    ],
)
async def test_audience_and_scope_cannot_be_chosen(world: World, more: dict[str, str], code: str) -> None:
    sent = await world.exchange("of-oidc", **more)

    assert sent.status == 400
    assert content(sent)["error"] == code
    assert world.issued == []


@pytest.mark.parametrize("subject", ["unknown", "a.b.c"])
async def test_a_bad_subject_is_an_invalid_request_and_not_more(world: World, subject: str) -> None:
    sent = await world.exchange(subject)

    assert sent.status == 400
    assert content(sent)["error"] == "invalid_request"


async def test_two_credentials_in_one_request_are_none(world: World) -> None:
    body = b'{"username":"alice","password":"wonder"}'

    sent = await world.ask(body, [*JSON, *bearer("of-oidc")])

    assert sent.status == 400
    assert world.issued == []


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"", b"CROSS-SITE"])
async def test_another_site_gets_no_token_made(world: World, site: bytes) -> None:
    where = (b"sec-fetch-site", site)

    answers = [
        await world.ask(headers=[where, (b"authorization", b"Negotiate YWJj")]),
        await world.ask(headers=[where, (b"authorization", b"Negotiate YWJj")], method="GET"),
        await world.ask(headers=[where, (b"cookie", b"ours=1")]),
    ]

    assert [sent.status for sent in answers] == [403, 403, 403]
    assert world.issued == []


async def test_our_own_page_may_ask(world: World) -> None:
    sent = await world.ask(headers=[(b"sec-fetch-site", b"same-origin"), (b"cookie", b"ours=1")])

    assert sent.status == 201


async def test_a_guesser_has_to_wait_and_nobody_else_has(world: World) -> None:
    world = World(failures=3)
    guesses = [await world.log_in(password=f"guess{number}", client="198.51.100.9") for number in range(5)]
    right = await world.log_in(client="198.51.100.9")
    elsewhere = await world.log_in()

    assert [sent.status for sent in guesses] == [401, 401, 401, 429, 429]
    assert int(guesses[3].values(b"retry-after")[0]) > 0
    assert right.status == 429
    assert elsewhere.status == 201


async def test_who_was_let_in_a_moment_ago_need_not_wait_for_a_guesser_at_the_same_address() -> None:
    world = World(failures=2)
    before = await world.log_in()
    for number in range(4):
        await world.log_in(password=f"guess{number}")

    after = await world.log_in()

    assert (before.status, after.status) == (201, 201)


async def test_a_user_gets_only_so_many_tokens_a_minute_and_others_theirs() -> None:
    world = World(tokens=2)

    mine = [(await world.log_in()).status for _ in range(3)]
    theirs = await world.log_in("bob")

    assert mine == [201, 201, 429]
    assert theirs.status == 201


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b'{"username":"alice"}', JSON, 400, id="half"),
        pytest.param(b"{}", JSON, 201, id="empty-object-with-a-session"),
        pytest.param(b'{"username":"alice","password":7}', JSON, 400, id="number"),
        pytest.param(b'{"username":"a:b","password":"c"}', JSON, 401, id="colon"),
        pytest.param(b'{"username":"a\\u0000","password":"c"}', JSON, 401, id="nul"),
        pytest.param(b'{"username":"alice","password":"wonder"}', [(b"content-type", b"text/plain")], 415, id="plain"),
        pytest.param(b'{"username":"alice","password":"wonder"}', [*JSON, *JSON], 415, id="two-content-types"),
        pytest.param(b"x" * 70_000, JSON, 413, id="huge"),
        pytest.param(b'{"a":' * 3000, JSON, 400, id="deep"),
    ],
)
async def test_no_body_is_a_server_error(world: World, body: bytes, headers: RawHeaders, status: int) -> None:
    sent = await world.ask(body, [*headers, (b"cookie", b"ours=1")])

    assert sent.status == status


async def test_a_refusal_speaks_airflows_language_inside_a_problem(world: World) -> None:
    sent = await world.log_in(password="wrong")

    assert sent.status == 401
    assert content(sent) == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "Invalid credentials",
    }
    assert sent.values(b"www-authenticate") == [b'Basic realm="Airflow"', b"Bearer"]
    assert b"wrong" not in sent.body


@pytest.mark.parametrize(
    ("error", "result"),
    [
        pytest.param(BackendUnavailable("upstream: answered 500 to a login"), "unavailable", id="source-down"),
        pytest.param(NotPermitted("came by a ticket"), "reject", id="not-for-tickets"),
    ],
)
async def test_why_an_accepted_caller_got_no_token_is_in_the_audit_log(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, result: str
) -> None:
    def fail(*_: object) -> Token:
        raise error

    caplog.set_level(logging.INFO, logger="compat_auth.audit")
    gate = make_gate(world.behind, world.decider, pages=token_pages(fail, TokenAttempts(20, 20)))

    await call(gate, http_scope(b"/auth/token", JSON, method="POST"), b'{"username":"alice","password":"wonder"}')

    line = json.loads(caplog.records[-1].getMessage())
    assert (line["result"], line["username"], line["reason"]) == (result, "alice", f"no token: {error}")


async def test_the_upstreams_own_jwt_is_no_credential_here(world: World) -> None:
    own = jwt.encode({"sub": "1"}, "s" * 64, algorithm="HS512")

    sent = await world.ask(headers=bearer(own))

    assert sent.status == 401
    assert world.behind.scopes == []


async def test_in_airflows_mode_a_refusal_is_airflows_to_the_letter() -> None:
    world = World()
    to_the_letter = token_pages(world._issue, TokenAttempts(20, 20), incomplete_status=422, words_of_airflow=True)
    gate = make_gate(world.behind, world.decider, pages=to_the_letter)

    wrong = await call(gate, http_scope(b"/auth/token", JSON, method="POST"), b'{"username":"a","password":"b"}')
    half = await call(gate, http_scope(b"/auth/token", JSON, method="POST"), b'{"username":"a"}')

    assert (wrong.status, content(wrong)) == (401, {"detail": "Invalid credentials"})
    assert (half.status, content(half)) == (422, {"detail": "Username and password must be provided"})
    assert wrong.values(b"content-type") == [b"application/json"]
