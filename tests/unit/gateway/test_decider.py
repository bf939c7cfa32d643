"""The whole flow: presented credential in, decision out."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import flask
import pytest

from compat_auth.authn.airflow2.backend import LegacyBackend, LegacyModule
from compat_auth.backend import EVERY_KIND
from compat_auth.credentials import Absent, Basic, Bearer, Credential, Negotiate
from compat_auth.errors import BackendUnavailable, MalformedCredentials, NoActiveKey, NoSuchUser, Overloaded
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Decision, Granted, Refused, Unclaimed
from compat_auth.http.request import Shown
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from support.stand_ins import (
    GOOD,
    Clock,
    ScriptedBackend,
    accepting,
    basic,
    make_decider,
    presented,
    scripted,
    token_for,
)

COOKIES = frozenset({Absent})
OTHER = basic("bob", "hunter2")


class Held:
    """An answer that waits until the test lets it go."""

    def __init__(self, answer: Outcome) -> None:
        self.answer = answer
        self.go = threading.Event()
        self.started = threading.Event()
        self.count = 0

    def __call__(self, _credential: Credential) -> Outcome:
        self.count += 1
        self.started.set()
        assert self.go.wait(5)
        return self.answer


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held(Accept(Identity("alice", "first"), reusable_s=60))
    yield held
    held.go.set()


class NumberedTokens:
    """Gives another token each time it is asked for a fresh one."""

    def __init__(self) -> None:
        self.number = 0
        self.asked: list[tuple[Token | None, bool]] = []

    def __call__(self, identity: Identity, _credential: Credential, yielded: Token | None, fresh: bool) -> Token:
        self.asked.append((yielded, fresh))
        self.number += fresh
        return token_for(identity, self.number)


async def started(held: Held) -> None:
    assert await asyncio.to_thread(held.started.wait, 5)


async def landed(decider: Decider) -> None:
    """Wait until no check is in flight."""
    while decider._flights:
        await asyncio.wait(list(decider._flights.values()))
        await asyncio.sleep(0)


async def granted_by(decider: Decider, authorization: str = GOOD) -> Granted:
    decision = await decider.decide(presented(authorization))
    assert isinstance(decision, Granted)
    return decision


def recalled(decider: Decider, authorization: str = GOOD) -> Granted | None:
    return decider.recall(Shown(authorization), lambda: presented(authorization))


async def test_a_right_credential_is_granted_with_a_token_and_headers_as_raw_bytes() -> None:
    accept = Accept(Identity("zoë", "kerberos"), (("WWW-Authenticate", "Negotiate oRQw"),))
    decider = make_decider(scripted("kerberos", accept))

    decision = await granted_by(decider)

    assert decision.identity.username == "zoë"
    assert decision.bearer == b"Bearer token-of-" + "zoë".encode().hex().encode() + b"-0"
    assert decision.headers == ((b"www-authenticate", b"Negotiate oRQw"),)


@pytest.mark.parametrize(
    ("says", "decision"),
    [
        (Reject("wrong"), Refused(401, ("Basic",))),
        (Reject("known", 403), Refused(403, ("Basic",))),
        (Challenge("Negotiate oRQw"), Refused(401, ("Negotiate oRQw", "Basic"))),
        (Skip(("Digest",)), Unclaimed(Basic("alice", "pässwörd"), ("Basic", "Digest"))),
    ],
)
async def test_every_other_answer_becomes_a_refusal_or_nobodys(says: Outcome, decision: Decision) -> None:
    decider = make_decider(scripted("first", says, invites=("Basic",)))

    assert await decider.decide(presented()) == decision


async def test_a_malformed_credential_reaches_no_backend() -> None:
    backend = accepting()

    with pytest.raises(MalformedCredentials):
        await make_decider(backend).decide(presented("Basic !!!"))

    assert backend.asked == []


async def test_a_kind_that_no_backend_takes_never_starts_a_thread() -> None:
    decider = make_decider(accepting())

    decision = await decider.decide(presented("Bearer abc"))

    assert decision == Unclaimed(Bearer("abc"), ())
    assert decider.lanes.chain.pool._threads == set()


@pytest.mark.parametrize("takes", [COOKIES, frozenset({Basic})])
async def test_no_credential_and_no_cookie_never_start_a_thread(takes: frozenset[type[Absent | Basic]]) -> None:
    decider = make_decider(scripted("session", Reject("x"), takes=frozenset(takes), alike=False))

    decision = await decider.decide(presented(None))

    assert isinstance(decision, Unclaimed)
    assert decider.lanes.chain.pool._threads == set()


async def test_a_cookie_alone_is_shown_to_the_backends() -> None:
    seen: list[str | None] = []

    def look(_credential: Credential) -> Outcome:
        seen.append(flask.request.headers.get("Cookie"))
        return Reject("x")

    decider = make_decider(scripted("session", look, takes=COOKIES, alike=False))

    await decider.decide(presented(None, cookie="session=1"))

    assert seen == ["session=1"]


async def test_beside_an_explicit_credential_backends_do_not_even_see_the_cookies() -> None:
    seen: list[str | None] = []

    def look(_credential: Credential) -> Outcome:
        seen.append(flask.request.headers.get("Cookie"))
        return Reject("x")

    decider = make_decider(scripted("basic_auth", look))

    await decider.decide(presented(cookie="session=1"))

    assert seen == [None]


@pytest.mark.parametrize("alike", [True, False])
async def test_a_backend_that_judges_every_kind_is_asked_even_about_nothing(alike: bool) -> None:
    decider = make_decider(scripted("deny_all", Reject("deny_all", 403), takes=EVERY_KIND, alike=alike))

    assert await decider.decide(presented(None)) == Refused(403, ())


async def test_fifty_first_uses_at_once_are_one_check(held: Held) -> None:
    decider = make_decider(scripted("first", held))
    requests = [asyncio.ensure_future(decider.decide(presented())) for _ in range(50)]
    await started(held)
    held.go.set()

    decisions = await asyncio.gather(*requests)

    assert held.count == 1
    assert len({id(decision) for decision in decisions}) == 1


async def test_two_credentials_at_once_are_two_checks() -> None:
    backend = scripted("first", lambda c: Accept(Identity(c.username if isinstance(c, Basic) else "", "first")))
    decider = make_decider(backend)

    one, other = await asyncio.gather(granted_by(decider), granted_by(decider, OTHER))

    assert (one.identity.username, other.identity.username) == ("alice", "bob")


async def test_a_warm_credential_is_recalled_without_a_check() -> None:
    backend = accepting()
    decider = make_decider(backend)
    first = await granted_by(decider)

    assert recalled(decider) == first
    assert recalled(decider, OTHER) is None
    assert len(backend.asked) == 1


async def test_a_grant_that_is_not_reusable_is_not_remembered() -> None:
    decider = make_decider(accepting(reusable_s=0))
    await granted_by(decider)

    assert recalled(decider) is None


async def test_a_grant_is_not_remembered_longer_than_its_token_lives() -> None:
    clock = Clock()

    def short(identity: Identity, *_rest: object) -> Token:
        token = token_for(identity)
        return replace(token, expires_at=token.expires_at - 580)

    decider = make_decider(accepting(), obtain=short, monotonic=clock)
    await granted_by(decider)

    clock.time += 10.1

    assert recalled(decider) is None


async def test_a_refusal_is_never_remembered() -> None:
    backend = scripted("first", Reject("wrong"))
    decider = make_decider(backend)
    await decider.decide(presented())

    await decider.decide(presented())

    assert len(backend.asked) == 2
    assert recalled(decider) is None


async def test_a_hot_credential_is_checked_again_in_the_background_before_its_end() -> None:
    clock, backend = Clock(), accepting()
    decider = make_decider(backend, monotonic=clock)
    await granted_by(decider)
    clock.time += 50

    hits = [recalled(decider) for _ in range(5)]
    await landed(decider)
    clock.time += 50

    assert all(hits)
    assert len(backend.asked) == 2
    assert recalled(decider) is not None


async def test_a_refused_refresh_forgets_at_once() -> None:
    clock, backend = Clock(), accepting()
    decider = make_decider(backend, monotonic=clock)
    await granted_by(decider)
    clock.time += 50
    backend.says = Reject("user is disabled")

    recalled(decider)
    await landed(decider)

    assert recalled(decider) is None


@pytest.mark.parametrize("error", [NoSuchUser("gone from the upstream"), MalformedCredentials("no")])
async def test_a_refresh_that_ends_in_a_refusal_by_error_forgets_at_once(error: Exception) -> None:
    clock = Clock()
    tokens: list[Exception] = []

    def obtain(identity: Identity, *_rest: object) -> Token:
        if tokens:
            raise tokens[0]
        return token_for(identity)

    decider = make_decider(accepting(), obtain=obtain, monotonic=clock)
    await granted_by(decider)
    clock.time += 50
    tokens.append(error)

    recalled(decider)
    await landed(decider)

    assert recalled(decider) is None


@pytest.mark.parametrize("error", [BackendUnavailable("ldap is down"), Overloaded("busy"), NoActiveKey("none")])
async def test_a_refresh_that_cannot_ask_keeps_the_grant_until_its_end(error: Exception) -> None:
    clock, backend = Clock(), accepting()
    decider = make_decider(backend, monotonic=clock)
    await granted_by(decider)
    clock.time += 50
    backend.says = error

    recalled(decider)
    await landed(decider)
    before = recalled(decider)
    await landed(decider)
    clock.time += 10

    assert before is not None
    assert recalled(decider) is None


async def test_a_waiter_who_goes_does_not_take_the_check_from_the_others(held: Held) -> None:
    decider = make_decider(scripted("first", held))
    goes = asyncio.ensure_future(decider.decide(presented()))
    stays = asyncio.ensure_future(decider.decide(presented()))
    await started(held)

    goes.cancel()
    await asyncio.wait([goes])
    held.go.set()

    assert isinstance(await stays, Granted)
    assert goes.cancelled()
    assert held.count == 1


async def test_a_check_that_is_cancelled_itself_leaves_nothing_behind(held: Held) -> None:
    decider = make_decider(scripted("first", held))
    waiting = asyncio.ensure_future(decider.decide(presented()))
    await started(held)

    (flight,) = decider._flights.values()
    flight.cancel()
    await asyncio.wait([waiting])

    assert decider._flights == {}
    assert decider.lanes.chain.turns.present == 0


async def test_beyond_the_bound_a_request_is_overloaded_at_once(held: Held) -> None:
    decider = make_decider(scripted("first", held), threads=1, max_waiting=1)
    waiting = [asyncio.ensure_future(decider.decide(presented(basic("u", str(n))))) for n in range(2)]
    await started(held)

    with pytest.raises(Overloaded):
        await decider.decide(presented(OTHER))

    held.go.set()
    assert all(isinstance(decision, Granted) for decision in await asyncio.gather(*waiting))
    assert isinstance(await decider.decide(presented(OTHER)), Granted)


async def test_a_chain_that_does_not_answer_in_time_is_unavailable(held: Held) -> None:
    decider = make_decider(scripted("first", held), timeout_s=0.05)

    with pytest.raises(BackendUnavailable, match=r"within 0\.05 s"):
        await decider.decide(presented())


async def test_what_a_request_leaves_in_context_variables_is_never_seen_by_another() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    variable.set("of the caller's task")
    seen: list[str] = []

    def leave(credential: Credential) -> Outcome:
        seen.append(variable.get())
        variable.set(repr(credential))
        return Reject("x")

    decider = make_decider(scripted("first", leave), threads=1)

    for number in range(5):
        await decider.decide(presented(basic("u", str(number))))

    assert seen == ["nobody"] * 5


async def test_what_a_request_leaves_in_flasks_g_is_never_seen_by_another() -> None:
    seen: list[object] = []

    def leave(_credential: Credential) -> Outcome:
        seen.append(flask.g.get("user"))
        flask.g.user = "alice"
        return Reject("x")

    decider = make_decider(scripted("first", leave), threads=1)
    await decider.decide(presented())

    await decider.decide(presented(OTHER))

    assert seen == [None, None]


class NoOpinion:
    @staticmethod
    def init_app(app: flask.Flask) -> None: ...

    @staticmethod
    def requires_authentication(_function: object) -> object:
        return lambda: flask.Response("no", 401)


async def test_a_legacy_module_in_the_chain_makes_nothing_reusable() -> None:
    native = accepting()
    decider = make_decider(LegacyBackend(cast("LegacyModule", NoOpinion()), "old.module"), native)
    grant = await granted_by(decider)

    assert grant.digest == b""
    assert recalled(decider) is None
    await granted_by(decider)
    assert len(native.asked) == 2


async def test_a_ticket_that_is_good_once_is_not_shown_to_its_backend_again_for_another_token() -> None:
    tickets = scripted("kerberos", Accept(Identity("alice", "kerberos")), takes=frozenset({Negotiate}), alike=False)
    decider = make_decider(tickets, obtain=NumberedTokens())
    ticket = presented("Negotiate dG9rZW4=")
    refused = await decider.decide(ticket)
    assert isinstance(refused, Granted)
    tickets.says = Reject("Request is a replay")

    renewed = await decider.renew(ticket, refused)

    assert renewed is not None
    assert renewed.bearer != refused.bearer
    assert len(tickets.asked) == 1


async def test_the_token_that_the_check_yielded_is_offered_to_the_strategy() -> None:
    tokens = NumberedTokens()
    yielded = Token("from-upstream", 99)
    decider = make_decider(scripted("first", Accept(Identity("a", "first"), token=yielded)), obtain=tokens)

    await granted_by(decider)

    assert tokens.asked == [(yielded, False)]


async def test_a_renewed_grant_has_another_token_and_is_the_one_remembered() -> None:
    decider = make_decider(accepting(), obtain=NumberedTokens())
    refused = await granted_by(decider)

    renewed = await decider.renew(presented(), refused)

    assert renewed is not None
    assert renewed.bearer != refused.bearer
    assert recalled(decider) == renewed


async def test_a_request_that_comes_late_gets_the_token_that_another_has_renewed() -> None:
    tokens = NumberedTokens()
    decider = make_decider(accepting(), obtain=tokens)
    refused = await granted_by(decider)
    first = await decider.renew(presented(), refused)

    second = await decider.renew(presented(), refused)

    assert first == second
    assert [fresh for _, fresh in tokens.asked] == [False, True]


async def test_an_upstream_that_refuses_every_token_is_asked_for_one_every_two_seconds_at_most() -> None:
    clock, tokens = Clock(), NumberedTokens()
    decider = make_decider(accepting(), obtain=tokens, monotonic=clock)
    first = await granted_by(decider)
    second = await decider.renew(presented(), first)
    assert second is not None

    at_once = await decider.renew(presented(), second)
    clock.time += 2
    later = await decider.renew(presented(), second)

    assert at_once is None
    assert later is not None


async def test_a_refused_token_is_used_for_none_of_its_owners_credentials() -> None:
    tokens = NumberedTokens()
    decider = make_decider(accepting(), obtain=tokens)
    refused = await granted_by(decider)
    other = await granted_by(decider, OTHER)

    decider.forget_token(refused)

    assert other.bearer == refused.bearer
    assert (recalled(decider), recalled(decider, OTHER)) == (None, None)
    assert {(await granted_by(decider)).bearer, (await granted_by(decider, OTHER)).bearer}.isdisjoint({refused.bearer})


async def test_a_credential_that_is_never_remembered_gets_another_token_after_a_refusal() -> None:
    tokens = NumberedTokens()
    session = scripted("session", Accept(Identity("alice", "session")), takes=COOKIES, alike=False)
    decider = make_decider(session, obtain=tokens)
    by_cookie = replace(presented(None), cookies=True)
    refused = await decider.decide(by_cookie)
    assert isinstance(refused, Granted)

    decider.forget_token(refused)
    after = await decider.decide(by_cookie)

    assert isinstance(after, Granted)
    assert after.bearer != refused.bearer


async def test_an_upstream_that_refuses_all_streams_costs_a_token_every_two_seconds_at_most() -> None:
    tokens, clock = NumberedTokens(), Clock()
    decider = make_decider(accepting(), obtain=tokens, monotonic=clock)
    for _ in range(10):
        clock.time += 1
        decider.forget_token(recalled(decider) or await granted_by(decider))

    made = sum(fresh for _, fresh in tokens.asked)

    assert made == 5


async def test_many_refused_at_once_renew_once(held: Held) -> None:
    tokens = NumberedTokens()
    backend: ScriptedBackend = accepting()
    decider = make_decider(backend, obtain=tokens)
    refused = await granted_by(decider)
    backend.says = held
    renewals = [asyncio.ensure_future(decider.renew(presented(), refused)) for _ in range(20)]
    await started(held)
    held.go.set()

    renewed = await asyncio.gather(*renewals)

    assert held.count == 1
    assert len({grant.bearer for grant in renewed if grant}) == 1
    assert all(renewed)


async def test_there_is_nothing_to_renew_when_the_strategy_gives_the_same_token() -> None:
    decider = make_decider(accepting())
    refused = await granted_by(decider)

    assert await decider.renew(presented(), refused) is None


async def test_there_is_nothing_to_renew_when_the_credential_is_no_longer_right() -> None:
    backend = accepting()
    decider = make_decider(backend)
    refused = await granted_by(decider)
    backend.says = Reject("disabled meanwhile")

    assert await decider.renew(presented(), refused) is None
    assert recalled(decider) is None


async def test_a_grant_that_was_not_remembered_gets_another_token_without_showing_its_credential_again() -> None:
    backend = LegacyBackend(cast("LegacyModule", NoOpinion()), "old.module")
    native = accepting()
    decider = make_decider(backend, native, obtain=NumberedTokens())
    refused = await granted_by(decider)

    renewed = await decider.renew(presented(), refused)

    assert renewed is not None
    assert renewed.bearer != refused.bearer
    assert len(native.asked) == 1


async def test_a_native_backend_before_a_legacy_module_is_remembered() -> None:
    native = accepting()
    decider = make_decider(native, LegacyBackend(cast("LegacyModule", NoOpinion()), "old.module"))

    await granted_by(decider)
    again = recalled(decider)

    assert again is not None
    assert len(native.asked) == 1


async def test_a_closed_decider_starts_nothing_new() -> None:
    decider = make_decider(accepting())
    decider.close()

    with pytest.raises(RuntimeError):
        await decider.decide(presented())


@pytest.mark.parametrize(
    ("says", "result", "backend"),
    [
        (Accept(Identity("zoë", "first")), "accept", "first"),
        (Reject("wrong password"), "reject", "first"),
        (Challenge("Negotiate x"), "challenge", "first"),
        (Skip(), "skip", ""),
        (BackendUnavailable("ldap is down"), "unavailable", ""),
        (NoSuchUser("gone"), "reject", ""),
        (NoActiveKey("none"), "unavailable", ""),
    ],
)
async def test_every_verdict_is_one_event_without_the_password(
    says: Outcome | Exception, result: str, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    decider = make_decider(scripted("first", says))

    await asyncio.gather(decider.decide(presented()), return_exceptions=True)

    (line,) = caplog.messages
    event = json.loads(line)
    assert (event["result"], event["backend"], event["client"]) == (result, backend, "192.0.2.1")
    assert "pässwörd" not in line
    assert "p\\u00e4ss" not in line


def test_neither_a_grant_nor_what_was_presented_shows_a_secret() -> None:
    grant = Granted(Identity("a", "b"), b"Bearer hunter2")
    given = presented("Bearer hunter2")

    assert "hunter2" not in repr(grant) + repr(given)


async def test_a_ticket_goes_its_own_way_beside_a_legacy_module() -> None:
    decider = make_decider(accepting(takes=frozenset({Negotiate})))

    decision = await decider.decide(presented("Negotiate YII="))

    assert isinstance(decision, Granted)


@pytest.mark.parametrize(
    "header", [("X-Evil", "a\r\nSet-Cookie: x=1"), ("X-Evil\r\n", "a"), ("", "a"), ("X-Ünknown", "a"), ("X-Nul", "\0")]
)
async def test_a_backends_header_that_would_be_another_is_503_and_never_sent(header: tuple[str, str]) -> None:
    decider = make_decider(scripted("first", Accept(Identity("alice", "first"), (header,))))

    with pytest.raises(BackendUnavailable, match="a response header that cannot be sent"):
        await decider.decide(presented())


async def test_a_malformed_credential_is_in_the_audit_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="compat_auth.audit")

    with pytest.raises(MalformedCredentials):
        await make_decider(accepting()).decide(presented("Basic !!!"))

    assert '"result": "reject"' in caplog.text
    assert "not base64" in caplog.text


async def test_every_spelling_of_a_credential_is_the_same_warm_credential() -> None:
    backend = accepting(takes=frozenset({Bearer}))
    decider = make_decider(backend)
    await decider.decide(presented("Bearer token"))

    for number in range(1, 50):
        for scheme in ("bearer", "BEARER", "bEaReR"):
            value = f"{scheme}{' ' * number}token"
            assert decider.recall(Shown(value), presented) is not None
            await decider.decide(presented(value))

    assert len(decider._verified) == 1


async def test_what_cannot_be_parsed_is_recalled_as_nothing() -> None:
    decider = make_decider(accepting())
    await decider.decide(presented(GOOD))

    recalled = [decider.recall(Shown(value), presented) for value in ("Basic", GOOD + ", Basic YTpi", "Bäsic YTpi", "")]

    assert recalled == [None] * 4


async def test_one_user_with_many_credentials_pushes_nobody_out() -> None:
    def says(credential: Credential) -> Outcome:
        assert isinstance(credential, Basic)
        return Accept(Identity(credential.username, "first"), reusable_s=60)

    decider = make_decider(scripted("first", says), cache_entries=10)
    anna = basic("anna", "hunter2")
    await decider.decide(presented(anna))

    for number in range(50):
        await decider.decide(presented(basic("mallory", f"password {number}")))

    assert decider.recall(Shown(anna), presented) is not None
