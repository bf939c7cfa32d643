"""For how long a plain app believes what its chain has accepted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

import flask
import pytest

from compat_auth.authn.chain import Chain
from compat_auth.authn.judgement import Judgement
from compat_auth.authn.revocation_events import UNHEARD_S, RevocationEvent, RevocationEvents
from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Absent, Basic, Credential
from compat_auth.errors import BackendUnavailable
from compat_auth.guard import request_credential
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject
from support.stand_ins import basic

ALICE = Identity("alice", "scripted")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Scripted(Backend):
    name = "scripted"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset((Absent, Basic))

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.asked = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def authenticate(self, credential: Credential) -> Outcome:
        self.asked += 1
        self.meanwhile()
        return self.outcome


class Channel:
    """To other processes, none of which is heard."""

    is_connected = False

    def listen(self, heard: Callable[[bytes | None], None]) -> None:
        self.heard = heard

    def send(self, message: bytes) -> None:
        pass


class Place:
    """A judgement over one scripted backend, and requests to it."""

    def __init__(self, outcome: Outcome, *, entries: int = 10) -> None:
        self.clock = Clock()
        self.backend = Scripted(outcome)
        self.channel = Channel()
        self.revocations = RevocationEvents(self.channel)
        self.judgement = Judgement(Chain((self.backend,)), self.revocations, entries=entries, monotonic=self.clock)
        self._app = flask.Flask("plain")

    def ask(self, username: str = "alice", *, cookie: str = "") -> Outcome:
        headers = {"Cookie": cookie} if cookie else {"Authorization": basic(username, "wonder")}
        with self._app.test_request_context(headers=headers):
            return self.judgement.judge(request_credential())


def test_an_accepted_credential_is_believed_for_as_long_as_its_backend_says() -> None:
    place = Place(Accept(ALICE, reusable_s=60))
    place.ask()
    place.clock.time += 59
    believed = place.ask()
    asked_before = place.backend.asked

    place.clock.time += 1.1
    place.ask()

    assert isinstance(believed, Accept)
    assert (asked_before, place.backend.asked) == (1, 2)


@pytest.mark.parametrize("outcome", [Accept(ALICE), Reject("wrong")], ids=["not-reusable", "refused"])
def test_what_its_backend_does_not_vouch_for_any_longer_is_asked_for_each_time(outcome: Outcome) -> None:
    place = Place(outcome)

    for _ in range(3):
        place.ask()

    assert place.backend.asked == 3


def test_what_a_cookie_says_is_asked_for_each_time() -> None:
    place = Place(Accept(ALICE, reusable_s=60))

    for _ in range(3):
        place.ask(cookie="session=x")

    assert place.backend.asked == 3


def test_a_credential_that_is_revoked_by_itself_is_believed_for_a_second_where_revocations_are_not_heard() -> None:
    place = Place(Accept(Identity("alice", "scripted", credential_id="token:1"), reusable_s=60))

    def take_time() -> None:
        place.clock.time += 0.4

    place.backend.meanwhile = take_time
    place.ask()
    place.clock.time += UNHEARD_S - 0.41
    place.ask()
    asked_before = place.backend.asked

    place.clock.time += 0.02
    place.ask()

    assert (asked_before, place.backend.asked) == (1, 2)


def test_nothing_is_believed_beyond_the_end_of_the_credential() -> None:
    ended = Identity("alice", "scripted", expires_at=int(time.time()) - 1)
    place = Place(Accept(ended, reusable_s=60))

    for _ in range(2):
        place.ask()

    assert place.backend.asked == 2


@pytest.mark.parametrize(
    ("revocation", "asked"),
    [
        (RevocationEvent("alice"), 2),
        (RevocationEvent(credential_id="token:1"), 2),
        (None, 2),
        (RevocationEvent("bob"), 1),
        (RevocationEvent(credential_id="token:2"), 1),
    ],
)
def test_a_revocation_forgets_what_it_concerns(revocation: RevocationEvent | None, asked: int) -> None:
    place = Place(Accept(Identity("alice", "scripted", credential_id="token:1"), reusable_s=60))
    place.ask()

    if revocation is None:
        # The channel may have missed something.
        place.channel.heard(None)
    else:
        place.revocations.announce(revocation)
    place.ask()

    assert place.backend.asked == asked


@pytest.mark.parametrize("header", [("X-A", "1\r\nX-B: 2"), ("X-A\n", "1"), ("X Ä", "1"), ("X-Ä", "1"), ("", "1")])
def test_a_response_header_that_would_be_another_is_a_backend_that_cannot_be_asked(header: tuple[str, str]) -> None:
    place = Place(Accept(ALICE, (header,)))

    with pytest.raises(BackendUnavailable, match="cannot be sent"):
        place.ask()


def test_a_response_header_is_given_with_the_letters_that_one_may_have() -> None:
    place = Place(Accept(ALICE, (("X-Name", "zoë €"),)))

    outcome = place.ask()

    assert isinstance(outcome, Accept)
    assert outcome.headers == (("X-Name", "zoë ?"),)


def test_many_credentials_do_not_fill_the_memory() -> None:
    place = Place(Accept(ALICE, reusable_s=60), entries=2)

    for username in ("a", "b", "c", "a"):
        place.ask(username)

    assert place.backend.asked == 4
