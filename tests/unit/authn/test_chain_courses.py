"""The chain beside its six rules: the order of the backends, bodies, peers, and what may be remembered."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from compat_auth.authn.chain import BodyWanted, Chain, Course, Mode, OfferedSignIn, Step
from compat_auth.backend import CredentialKind
from compat_auth.credentials import Absent, Basic, Bearer, Credential, Negotiate, Unrecognised
from compat_auth.errors import BackendUnavailable
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Challenge, Outcome, Reject, Skip
from compat_auth.sign_in import CredentialSignIn
from support.stand_ins import BASIC_ONLY, Says, ScriptedBackend

BASIC = Basic("alice", "pässwörd")
ALICE, BOB = Accept(Identity("alice", "one")), Accept(Identity("bob", "two"))
COOKIES: frozenset[CredentialKind] = frozenset((Absent,))
both_modes = pytest.mark.parametrize("mode", ["strict", "airflow2"])


def backend(name: str, says: Says, **flags: Any) -> ScriptedBackend:
    """Return a backend of a class of its own: some flags count only there."""
    invites = flags.pop("invites", ())
    kind = type("Flagged", (ScriptedBackend,), {"kinds": BASIC_ONLY, **flags})
    made = kind(name, says, invites)
    assert isinstance(made, ScriptedBackend)
    return made


def peer(name: str, says: Says, **flags: Any) -> ScriptedBackend:
    return backend(name, says, **{"kinds": COOKIES, "reads_peer": True, **flags})


@both_modes
def test_a_backend_that_decides_alone_is_asked_first_and_its_refusal_is_final(mode: Mode) -> None:
    other, alone = backend("other", ALICE), backend("alone", Reject("revoked"), decides_alone=True)

    answer = Chain((other, alone), mode).ask(BASIC)

    assert (answer.outcome, answer.backend) == (Reject("revoked"), "alone")
    assert other.asked == []


@both_modes
def test_a_backend_that_decides_alone_leaves_other_credentials_to_the_others(mode: Mode) -> None:
    other, alone = backend("other", ALICE), backend("alone", Skip(), decides_alone=True)

    assert [step.backend for step in Chain((other, alone), mode).ask(BASIC).steps] == ["alone", "other"]


@both_modes
def test_what_the_connection_says_is_asked_before_a_cookie_and_its_refusal_is_final(mode: Mode) -> None:
    cookie, certificate = backend("cookie", ALICE, kinds=COOKIES), peer("certificate", Reject("expired"))

    answer = Chain((cookie, certificate), mode).ask(Absent())

    assert (answer.outcome, answer.backend) == (Reject("expired"), "certificate")
    assert cookie.asked == []


def test_beside_an_explicit_credential_what_the_connection_says_has_no_precedence() -> None:
    password = backend("password", ALICE)
    certificate = peer("certificate", BOB, kinds=frozenset((Absent, Basic)))

    answer = Chain((password, certificate)).ask(BASIC)

    assert answer.backend == "password"
    assert certificate.asked == []


def test_an_explicit_credential_is_not_agreed_about() -> None:
    first = peer("first", ALICE, kinds=BASIC_ONLY)
    second = peer("second", BOB, kinds=frozenset((Absent, Basic)))

    assert Chain((first, second)).ask(BASIC).outcome == ALICE
    assert second.asked == []


def test_a_refusal_beside_an_explicit_credential_is_not_final_for_airflow2() -> None:
    first, second = peer("first", Reject("no"), kinds=BASIC_ONLY), backend("second", ALICE)

    assert Chain((first, second), "airflow2").ask(BASIC).outcome == ALICE


def test_two_sources_that_name_one_user_agree() -> None:
    one, two = peer("one", ALICE), peer("two", Accept(Identity("alice", "two")))

    answer = Chain((one, two)).ask(Absent())

    assert (answer.outcome, answer.backend, answer.challenges, answer.reusable) == (ALICE, "one", (), False)
    assert [step.backend for step in answer.steps] == ["one", "two"]


def test_two_sources_that_name_two_users_are_refused_with_both_names_of_the_sources() -> None:
    one, two = peer("one", ALICE), peer("two", BOB, invites=("Negotiate",))

    answer = Chain((one, two)).ask(Absent())

    assert isinstance(answer.outcome, Reject)
    assert (answer.backend, answer.challenges) == ("two", ("Negotiate",))
    assert "one" in answer.outcome.reason
    assert "two" in answer.outcome.reason


def test_a_source_that_refuses_is_not_outvoted_by_one_that_accepts() -> None:
    one, two = peer("one", ALICE), peer("two", Reject("expired", 403, ("Mutual",)))

    answer = Chain((one, two)).ask(Absent())

    assert (answer.outcome, answer.backend) == (Reject("expired", 403, ("Mutual",)), "two")
    assert answer.challenges == ("Mutual",)


@pytest.mark.parametrize("says", [Skip(), Skip(("Negotiate",)), Challenge("Negotiate")])
def test_a_source_that_names_nobody_contradicts_nobody(says: Outcome) -> None:
    third = peer("three", Accept(Identity("alice", "three")))

    answer = Chain((peer("one", ALICE), peer("two", says), third)).ask(Absent())

    assert answer.outcome == ALICE
    assert third.asked == [Absent()]


def test_a_source_behind_others_is_asked_for_its_agreement_too() -> None:
    cookie = backend("cookie", BOB, kinds=COOKIES)
    tickets = peer("tickets", BOB, kinds=frozenset((Negotiate,)))

    answer = Chain((peer("one", ALICE), cookie, tickets, peer("two", BOB))).ask(Absent())

    assert isinstance(answer.outcome, Reject)
    assert (cookie.asked, tickets.asked) == ([], [])


def test_no_backend_may_verify_a_name_that_is_reserved() -> None:
    chain = Chain((backend("one", ALICE),), reserves=lambda identity: identity.username == "alice")

    outcome = chain.ask(BASIC).outcome

    assert isinstance(outcome, Reject)
    assert "'alice' is a role account" in outcome.reason
    assert not chain.may_verify(ALICE.identity)
    assert chain.may_verify(BOB.identity)
    assert Chain(()).may_verify(ALICE.identity)


def test_a_reserved_name_may_not_be_verified_by_a_connection_either() -> None:
    chain = Chain((peer("one", BOB), peer("two", ALICE)), reserves=lambda identity: identity.username == "alice")

    assert isinstance(chain.ask(Absent()).outcome, Reject)


def test_a_body_that_a_backend_may_read_is_waited_for_and_the_chain_goes_on_from_there() -> None:
    before, reading = backend("before", Skip(("Digest",))), backend("reading", ALICE, reads_body=True)
    chain = Chain((before, reading))

    with pytest.raises(BodyWanted, match="reading") as wanted:
        chain.ask(BASIC, body_at_hand=False)
    answer = chain.ask(BASIC, wanted.value.course)

    assert wanted.value.backend == "reading"
    assert (answer.outcome, answer.backend) == (ALICE, "reading")
    assert [step.backend for step in answer.steps] == ["before", "reading"]
    assert len(before.asked) == len(reading.asked) == 1


def test_what_was_learnt_before_a_body_is_not_forgotten() -> None:
    before = backend("before", Reject("wrong", challenges=("Digest",)))
    reading = backend("reading", Skip(), reads_body=True)
    chain = Chain((before, reading), "airflow2")

    with pytest.raises(BodyWanted) as wanted:
        chain.ask(BASIC, body_at_hand=False)
    answer = chain.ask(BASIC, wanted.value.course)

    assert (answer.outcome, answer.backend) == (Reject("wrong", challenges=("Digest",)), "before")


def test_a_body_that_no_backend_would_read_is_not_waited_for() -> None:
    chain = Chain((backend("one", ALICE), backend("reading", BOB, reads_body=True)))
    foreign = Chain((backend("reading", BOB, reads_body=True, kinds=frozenset((Bearer,))), backend("one", ALICE)))

    assert chain.ask(BASIC, body_at_hand=False).outcome == ALICE
    assert foreign.ask(BASIC, body_at_hand=False).outcome == ALICE
    assert chain.reads_bodies()
    assert not Chain((backend("one", ALICE),)).reads_bodies()


def test_a_course_begins_with_nothing() -> None:
    assert (Course().at, Course().steps, Course().received, Course().refusal, Course().reusable) == (
        0,
        [],
        [],
        None,
        True,
    )


@pytest.mark.parametrize(
    ("first", "second", "reusable"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_an_answer_is_reusable_if_all_who_were_asked_look_at_the_credential_alone(
    first: bool, second: bool, reusable: bool
) -> None:
    one = backend("one", Skip(), depends_on_credential_only=first)
    two = backend("two", ALICE, depends_on_credential_only=second)
    never = backend("never", ALICE, depends_on_credential_only=False)

    assert Chain((one, two, never)).ask(BASIC).reusable is reusable


def test_a_refusal_is_not_reusable() -> None:
    assert not Chain((backend("one", Reject("wrong")),)).ask(BASIC).reusable
    assert not Chain((backend("one", Skip()),)).ask(BASIC).reusable


@pytest.mark.parametrize(
    ("skips_silent", "cookies_only", "reusable"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_an_answer_about_cookies_is_reusable_if_every_class_says_so(
    skips_silent: bool, cookies_only: bool, reusable: bool
) -> None:
    silent = peer("silent", Skip(), skips_silent_peers=skips_silent)
    cookie = backend("cookie", ALICE, kinds=COOKIES, depends_on_cookies_only=cookies_only)

    assert Chain((silent, cookie)).ask(Absent()).reusable is reusable


def test_a_flag_of_a_class_says_nothing_about_what_inherits_it() -> None:
    parent = type(backend("cookie", ALICE, kinds=COOKIES, depends_on_cookies_only=True))
    child = type("Child", (parent,), {})("child", ALICE, ())

    assert not Chain((child,)).ask(Absent()).reusable


@pytest.mark.parametrize(
    ("mode", "flags", "kind", "waits"),
    [
        pytest.param("strict", [{"one_at_a_time": True}], Basic, True, id="alone"),
        pytest.param("strict", [{"one_at_a_time": True}], Bearer, False, id="another-kind"),
        pytest.param("strict", [{}, {"one_at_a_time": True}], Basic, False, id="behind-one-that-always-decides"),
        pytest.param("airflow2", [{}, {"one_at_a_time": True}], Basic, True, id="airflow2-asks-on"),
        pytest.param(
            "strict",
            [{"kinds": frozenset((Basic, Bearer))}, {"one_at_a_time": True}],
            Basic,
            True,
            id="behind-one-for-two-kinds",
        ),
        pytest.param(
            "strict",
            [{"kinds": frozenset((Bearer,))}, {"kinds": frozenset((Bearer,)), "one_at_a_time": True}],
            Bearer,
            True,
            id="a-kind-of-many",
        ),
        pytest.param(
            "strict",
            [{"kinds": COOKIES}, {"kinds": COOKIES, "one_at_a_time": True}],
            Absent,
            True,
            id="no-credential",
        ),
        pytest.param(
            "strict",
            [{"kinds": frozenset((Unrecognised,))}, {"kinds": frozenset((Unrecognised,)), "one_at_a_time": True}],
            Unrecognised,
            True,
            id="another-scheme",
        ),
        pytest.param("strict", [{}], Basic, False, id="nobody"),
    ],
)
def test_a_chain_knows_whether_a_kind_may_have_to_wait_for_its_turn(
    mode: Mode, flags: list[dict[str, Any]], kind: CredentialKind, waits: bool
) -> None:
    chain = Chain(tuple(backend(f"{at}", Skip(), **some) for at, some in enumerate(flags)), mode)

    assert chain.waits_for_one(kind) is waits


def test_the_ways_to_log_in_are_those_of_the_backends_in_their_order() -> None:
    class Offering(ScriptedBackend):
        kinds = BASIC_ONLY

        def sign_ins(self) -> tuple[CredentialSignIn, ...]:
            return (way,)

    way = CredentialSignIn("ticket", "Log in with a ticket", "Negotiate")
    one, two = Offering("one", Skip(), ()), Offering("two", Skip(), ())

    assert Chain((one, backend("none", Skip()), two)).sign_ins() == (OfferedSignIn(one, way), OfferedSignIn(two, way))


def test_the_challenges_of_a_chain_are_one_for_each_scheme_in_any_case() -> None:
    chain = Chain((backend("a", Skip(), invites=("Basic x", "Negotiate")), backend("b", Skip(), invites=("basic y",))))

    assert chain.challenges() == ("Basic x", "Negotiate")


def test_a_refusal_that_reports_a_bad_token_comes_before_a_challenge_that_names_the_scheme() -> None:
    bad = 'Bearer realm="x", error="invalid_token"'
    tokens = backend("tokens", Reject("expired", challenges=(bad, "Digest")), invites=("Bearer", "Basic"))

    assert Chain((tokens,)).ask(BASIC).challenges == (bad, "Basic", "Digest")


def test_airflow2_sends_no_error_of_a_bad_token_unless_its_last_backend_does() -> None:
    tokens = backend("session", Reject("expired", challenges=('Bearer error="invalid_token"',)))

    assert Chain((tokens, backend("other", Skip())), "airflow2").ask(BASIC).challenges == ()


def test_airflow2_sends_no_challenge_of_a_last_backend_that_was_not_asked() -> None:
    first = backend("first", Reject("no", challenges=("Digest",)))
    session = backend("session", Skip(), kinds=COOKIES)

    assert Chain((session, first), "airflow2").ask(BASIC).challenges == ("Digest",)
    assert Chain((first, session), "airflow2").ask(BASIC).challenges == ()
    assert Chain((first, session), "airflow2").challenges() == ()


@pytest.mark.parametrize("name", ["session", "airflow.api.auth.backend.session"])
def test_airflow2_finds_session_by_either_of_its_names(name: str) -> None:
    password = backend("basic_auth", Reject("wrong"), invites=('Basic realm="x"',))
    session = backend("session", Skip(), kinds=COOKIES)
    session.configured_as = name

    assert Chain((session, password), "airflow2").ask(BASIC).challenges == ("Basic",)


def test_the_steps_say_who_was_asked_where_nobody_decides() -> None:
    assert Chain((backend("one", Skip()), backend("two", Skip()))).ask(BASIC).steps == (
        Step("one", Skip()),
        Step("two", Skip()),
    )


def test_the_steps_say_who_refused() -> None:
    steps = Chain((backend("one", Skip()), backend("two", Reject("wrong")))).ask(BASIC).steps

    assert steps == (Step("one", Skip()), Step("two", Reject("wrong")))


def test_the_steps_say_who_answered_what() -> None:
    one, two = backend("one", Skip()), backend("two", ALICE)

    steps = Chain((one, two)).ask(BASIC).steps

    assert steps == (Step("one", Skip()), Step("two", ALICE))
    assert one.asked == two.asked == [BASIC]


def test_an_exception_of_a_backend_is_in_the_log_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    broken = backend("broken", ValueError("pässwörd"))

    with caplog.at_level(logging.ERROR), pytest.raises(BackendUnavailable, match="backend broken: raised ValueError"):
        Chain((broken,)).ask(BASIC)

    assert "backend broken raised" in caplog.text
    assert "pässwörd" not in caplog.text


@pytest.mark.parametrize("error", [SystemExit("pässwörd"), GeneratorExit("pässwörd")], ids=["exit", "generator"])
def test_a_backend_cannot_end_the_worker(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    class Ending(ScriptedBackend):
        kinds = BASIC_ONLY

        def authenticate(self, credential: Credential) -> Outcome:
            raise error

    with pytest.raises(BackendUnavailable, match=f"backend ending: raised {type(error).__name__}"):
        Chain((Ending("ending", Skip(), ()),)).ask(BASIC)

    assert "pässwörd" not in caplog.text


def test_a_chain_without_a_backend_of_that_kind_answers_alike() -> None:
    chain = Chain((backend("one", ALICE, depends_on_credential_only=False),))

    assert chain.answers_alike(Bearer)
    assert not chain.answers_alike(Basic)
