"""The chain: every rule in every order of the backends, in both modes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import pytest

from compat_auth.authn.chain import Chain, Mode
from compat_auth.backend import EVERY_KIND, Backend
from compat_auth.credentials import Absent, Basic, Bearer, Negotiate, Unrecognised
from compat_auth.errors import BackendUnavailable, ConfigError, NotPermitted, Overloaded
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Challenge, Reject, Skip
from support.stand_ins import BASIC_ONLY, Says, scripted

BASIC = Basic("alice", "pässwörd")
MODES: tuple[Mode, ...] = ("strict", "airflow2")
BASIC_CHALLENGE = 'Basic realm="Airflow", charset="UTF-8"'
COOKIES = frozenset({Absent})
TICKETS = frozenset({Negotiate})

both_modes = pytest.mark.parametrize("mode", MODES)


def every_order(*backends: Backend) -> Iterator[tuple[Backend, ...]]:
    return permutations(backends)


@both_modes
def test_rule_1_a_wrong_explicit_credential_is_refused_beside_a_valid_cookie(mode: Mode) -> None:
    cookie = scripted("session", Accept(Identity("alice", "session")), takes=COOKIES)
    password = scripted("basic_auth", Reject("wrong password"))
    for backends in every_order(cookie, password):
        answer = Chain(backends, mode).ask(BASIC)

        assert answer.outcome == Reject("wrong password")
        assert answer.backend == "basic_auth"
    assert cookie.asked == []


def test_rule_2_one_refusal_carries_every_usable_challenge() -> None:
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    tickets = scripted("kerberos", Skip(), takes=TICKETS, invites=("Negotiate",))
    cookie = scripted("session", Skip(), takes=COOKIES)
    for backends in every_order(password, tickets, cookie):
        answer = Chain(backends).ask(BASIC)

        assert set(answer.challenges) == {"Negotiate", BASIC_CHALLENGE}
        assert list(answer.challenges) == [value for backend in backends for value in backend.challenges()]


@both_modes
def test_rule_2_a_success_keeps_its_headers(mode: Mode) -> None:
    headers = (("WWW-Authenticate", "Negotiate oRQw"),)
    tickets = scripted("kerberos", Accept(Identity("zoë", "kerberos"), headers), takes=TICKETS)
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    for backends in every_order(tickets, password):
        answer = Chain(backends, mode).ask(Negotiate(b"\x60"))

        assert isinstance(answer.outcome, Accept)
        assert answer.outcome.headers == headers
        assert answer.challenges == ()


@both_modes
def test_rule_3_a_backend_is_only_asked_about_its_own_kind_of_credential(mode: Mode) -> None:
    password = scripted("basic_auth", Reject("not its kind"))
    tickets = scripted("kerberos", Accept(Identity("zoë", "kerberos")), takes=TICKETS)
    for backends in every_order(password, tickets):
        answer = Chain(backends, mode).ask(Negotiate(b"\x60"))

        assert answer.backend == "kerberos"
    assert password.asked == []


@both_modes
def test_rule_4_a_disabled_user_is_out_whatever_the_order(mode: Mode) -> None:
    disabled = scripted("first", Reject("user is disabled"))
    unknowing = scripted("second", Skip())
    for backends in every_order(disabled, unknowing):
        answer = Chain(backends, mode).ask(BASIC)

        assert answer.outcome == Reject("user is disabled")


@both_modes
@pytest.mark.parametrize("error", [ValueError("boom"), KeyError("x"), ConfigError("broken file"), AssertionError()])
def test_rule_5_a_backend_that_breaks_is_unavailable_and_no_other_lets_the_caller_in(
    mode: Mode, error: Exception
) -> None:
    broken = scripted("broken", error)
    unknowing = scripted("second", Skip())
    for backends in every_order(broken, unknowing):
        with pytest.raises(BackendUnavailable, match="broken"):
            Chain(backends, mode).ask(BASIC)


@both_modes
@pytest.mark.parametrize("error", [BackendUnavailable("ldap is down"), Overloaded("busy"), NotPermitted("no role")])
def test_rule_5_what_a_backend_raises_on_purpose_is_kept(mode: Mode, error: Exception) -> None:
    for backends in every_order(scripted("first", error), scripted("second", Skip())):
        with pytest.raises(type(error)) as caught:
            Chain(backends, mode).ask(BASIC)

        assert caught.value is error


@both_modes
def test_a_backend_is_asked_only_when_those_before_it_could_be(mode: Mode) -> None:
    for first_is_down in (True, False):
        down = scripted("down", BackendUnavailable("down"))
        other = scripted("other", Accept(Identity("alice", "other")))
        backends = (down, other) if first_is_down else (other, down)
        chain = Chain(backends, mode)

        if first_is_down:
            with pytest.raises(BackendUnavailable):
                chain.ask(BASIC)
        else:
            assert chain.ask(BASIC).backend == "other"
        assert backends[1].asked == []


def test_rule_6_airflow2_asks_on_after_a_refusal_and_strict_does_not() -> None:
    refusing = scripted("refusing", Reject("not mine", 403))
    accepting = scripted("accepting", Accept(Identity("alice", "accepting")))
    for backends in every_order(refusing, accepting):
        lenient = Chain(backends, "airflow2").ask(BASIC)
        strict = Chain(backends).ask(BASIC)

        assert lenient.backend == "accepting"
        assert strict.backend == backends[0].name


def test_rule_6_airflow2_sends_the_challenge_of_the_last_backend_alone_and_bare() -> None:
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    tickets = scripted("kerberos", Skip(), takes=TICKETS, invites=("Negotiate",))
    cookie = scripted("session", Skip(), takes=COOKIES)
    last = {"basic_auth": ("Basic",), "kerberos": ("Negotiate",), "session": ()}
    for backends in every_order(password, tickets, cookie):
        answer = Chain(backends, "airflow2").ask(BASIC)

        assert answer.challenges == last[backends[-1].name]


def test_rule_6_airflow2_appends_a_silent_session_to_a_list_without_one() -> None:
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    tickets = scripted("kerberos", Skip(), takes=TICKETS, invites=("Negotiate",))
    for backends in every_order(password, tickets):
        assert Chain(backends, "airflow2").ask(BASIC).challenges == ()


@pytest.mark.parametrize(("vouched", "status"), [(False, 401), (True, 403)])
def test_rule_6_airflow2_forgets_a_403_unless_the_credential_was_right(vouched: bool, status: int) -> None:
    refusing = scripted("refusing", Reject("no user", 403, vouched=vouched))
    for backends in every_order(refusing, scripted("other", Skip())):
        outcome = Chain(backends, "airflow2").ask(BASIC).outcome

        assert outcome == Reject("no user", status, vouched=vouched)


@both_modes
def test_the_first_refusal_decides_when_nobody_accepts(mode: Mode) -> None:
    for backends in every_order(scripted("first", Reject("one")), scripted("second", Reject("two", 403))):
        answer = Chain(backends, mode).ask(BASIC)

        assert answer.backend == backends[0].name


@both_modes
def test_the_first_that_accepts_decides(mode: Mode) -> None:
    one = scripted("one", Accept(Identity("alice", "one")))
    two = scripted("two", Accept(Identity("alice", "two")))
    for backends in every_order(one, two):
        answer = Chain(backends, mode).ask(BASIC)

        assert answer.backend == backends[0].name
        assert [step.backend for step in answer.steps] == [backends[0].name]


def test_a_further_leg_comes_before_every_other_challenge_of_its_scheme() -> None:
    tickets = scripted("kerberos", Challenge("Negotiate oRQw"), takes=TICKETS, invites=("Negotiate",))
    password = scripted("basic_auth", Reject("wrong"), invites=(BASIC_CHALLENGE,))
    for backends in every_order(tickets, password):
        answer = Chain(backends).ask(Negotiate(b"\x60"))

        assert answer.challenges == ("Negotiate oRQw", BASIC_CHALLENGE)


def test_challenges_learnt_while_asking_come_after_those_that_are_known() -> None:
    old = scripted("old", Skip(("Digest nonce=1", "basic")), takes=EVERY_KIND)
    password = scripted("basic_auth", Skip(), invites=(BASIC_CHALLENGE,))
    for backends in every_order(old, password):
        answer = Chain(backends).ask(BASIC)

        assert answer.outcome == Skip()
        assert answer.challenges == (BASIC_CHALLENGE, "Digest nonce=1")


@both_modes
def test_nobody_decides_on_a_credential_that_nobody_takes(mode: Mode) -> None:
    for backends in every_order(scripted("first", Reject("x")), scripted("second", Reject("y"))):
        answer = Chain(backends, mode).ask(Bearer("abc"))

        assert (answer.outcome, answer.backend, answer.steps) == (Skip(), "", ())


def test_a_chain_knows_which_kinds_it_takes() -> None:
    for backends in every_order(scripted("a", Skip()), scripted("b", Skip(), takes=TICKETS)):
        chain = Chain(backends)

        assert chain.takes(Basic)
        assert chain.takes(Negotiate)
        assert not chain.takes(Unrecognised)


def test_one_backend_that_looks_at_more_than_the_credential_spoils_its_kinds_for_all() -> None:
    looking = scripted("looking", Skip(), takes=frozenset({Basic}), alike=False)
    tickets = scripted("tickets", Skip(), takes=frozenset({Basic, Negotiate}))
    for backends in every_order(looking, tickets):
        chain = Chain(backends)

        assert not chain.answers_alike(Basic)
        assert chain.answers_alike(Negotiate)


def test_mode_airflow2_passes_on_the_challenge_of_a_third_partys_last_backend() -> None:
    session = scripted("session", Skip(), takes=frozenset({Absent}))
    third_party = scripted("their.module", Skip(('Custom realm="x"',)), takes=frozenset({Absent, Basic}))
    chain_with_it_last = Chain((session, third_party), "airflow2")
    chain_with_it_first = Chain((third_party, session), "airflow2")

    assert chain_with_it_last.ask(Absent()).challenges == ('Custom realm="x"',)
    assert chain_with_it_first.ask(Absent()).challenges == ()
    assert chain_with_it_first.ask(Basic("a", "b")).challenges == ()


# What a backend can do with a credential; "foreign" takes another kind.
BEHAVIOURS: dict[str, Says] = {
    "accepts": Accept(Identity("alice", "x")),
    "refuses": Reject("wrong"),
    "forbids": Reject("no user", 403, vouched=True),
    "asks on": Challenge("Basic again"),
    "skips": Skip(),
    "is down": BackendUnavailable("down"),
    "foreign": Accept(Identity("mallory", "x")),
}
REFUSALS = frozenset(("refuses", "forbids", "asks on"))
LONGEST = 4


def first_of(names: tuple[str, ...], wanted: frozenset[str]) -> int | None:
    return next((place for place, name in enumerate(names) if name in wanted), None)


@both_modes
@pytest.mark.parametrize("length", range(1, LONGEST + 1))
def test_every_mix_of_backends_in_every_order_is_decided_by_its_rule(mode: Mode, length: int) -> None:
    """Strict: the first that speaks. As Airflow 2: the first that accepts or is down, else the first that refuses."""
    speaking = frozenset(("accepts", "is down"))
    for names in product(BEHAVIOURS, repeat=length):
        backends = tuple(
            scripted(f"{place}", BEHAVIOURS[name], takes=TICKETS if name == "foreign" else BASIC_ONLY)
            for place, name in enumerate(names)
        )
        decides = first_of(names, speaking | REFUSALS if mode == "strict" else speaking)
        last_asked = length - 1 if decides is None else decides
        decides = first_of(names, REFUSALS) if decides is None else decides

        if decides is not None and names[decides] == "is down":
            with pytest.raises(BackendUnavailable):
                Chain(backends, mode).ask(BASIC)
        else:
            answer = Chain(backends, mode).ask(BASIC)
            assert answer.backend == ("" if decides is None else f"{decides}"), names
            expected = Skip() if decides is None else BEHAVIOURS[names[decides]]
            assert answer.outcome == expected, names
        asked = [place for place, backend in enumerate(backends) if backend.asked]
        assert asked == [place for place in range(last_asked + 1) if names[place] != "foreign"], names
