"""Which credentials could be no backend's: in doubt the backend is asked."""

from __future__ import annotations

from typing import ClassVar

import pytest

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.authn.grants.claimants import Claimants
from compat_auth.backend import Backend, Basic, Bearer, Credential, CredentialKind, Negotiate, Outcome, Skip
from support.stand_ins import Clock

FOREIGN = Bearer("a.b.c")


class OfPrefix(Backend):
    """Knows its tokens by a prefix."""

    name = "prefix"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic, Bearer})

    def authenticate(self, credential: Credential) -> Outcome:
        del credential
        return Skip()

    def may_claim(self, credential: Credential) -> bool:
        return not isinstance(credential, Bearer) or credential.token.startswith("prefix_")


class OfEverything(OfPrefix):
    """Looks at every Bearer, and was written before there was `may_claim`."""

    def authenticate(self, credential: Credential) -> Outcome:
        del credential
        return Skip()


class Failing(OfPrefix):
    """Cannot tell."""

    def may_claim(self, credential: Credential) -> bool:
        raise RuntimeError(repr(credential))


class Module:
    """A module of Airflow 2."""

    def init_app(self, app: object) -> None:
        del app

    def requires_authentication(self, function: object) -> object:
        return function


def test_a_bearer_without_the_prefix_of_any_backend_is_nobodys() -> None:
    claimants = Claimants([OfPrefix(), OfPrefix()], 10)

    found = (claimants.could_be(FOREIGN), claimants.could_be(Bearer("prefix_x")))

    assert found == (False, True)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(OfEverything(), id="a-subclass-that-does-not-say"),
        pytest.param(Failing(), id="one-that-fails"),
        pytest.param(LegacyBackend(Module(), "acme.auth"), id="a-module-of-airflow-2"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_a_backend_that_cannot_tell_is_always_asked(other: Backend, first: bool) -> None:
    claimants = Claimants([other, OfPrefix()] if first else [OfPrefix(), other], 10)

    assert claimants.could_be(FOREIGN)


def test_a_backend_that_takes_no_bearer_says_nothing_about_one() -> None:
    class OfTickets(Backend):
        kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Negotiate})

        def authenticate(self, credential: Credential) -> Outcome:
            del credential
            return Skip()

    assert not Claimants([OfTickets(), OfPrefix()], 10).could_be(FOREIGN)


def test_a_token_that_is_long_to_parse_is_not_parsed_on_the_event_loop() -> None:
    assert Claimants([OfPrefix()], 10).could_be(Bearer("a" * 8193))


def test_what_is_nobodys_is_remembered_for_a_minute() -> None:
    clock = Clock()
    claimants = Claimants([], 10, clock)
    claimants.remember(b"1")

    clock.time += 59.9
    before = claimants.knows_nobody(b"1")
    clock.time += 0.1

    assert (before, claimants.knows_nobody(b"1"), claimants.knows_nobody(b"2")) == (True, False, False)


def test_invented_tokens_do_not_push_out_the_one_in_use() -> None:
    claimants = Claimants([], 3)
    claimants.remember(b"in use")

    for number in range(1000):
        claimants.remember(b"%d" % number)
        assert claimants.knows_nobody(b"in use")

    assert len(claimants._unclaimed) == 3
