"""A Bearer that no backend can claim, such as Airflow's own JWT, costs no chain, no thread and no Flask context."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from compat_auth.backend import Backend, CredentialKind
from compat_auth.credentials import Absent, Basic, Bearer, Credential
from compat_auth.errors import NotPermitted
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted, Unclaimed
from compat_auth.http.request import Presented, Shown
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from support.stand_ins import Clock, accepting, make_decider, presented, scripted

JWT = "Bearer eyJhbGciOiJIUzUxMiJ9.e30.c2ln"


class Prefixed(Backend):
    """Knows its Bearers by their prefix."""

    name = configured_as = "prefixed"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Bearer})

    def __init__(self) -> None:
        self.asked: list[Credential] = []
        self.claims_asked = 0

    def authenticate(self, credential: Credential) -> Outcome:
        self.asked.append(credential)
        if isinstance(credential, Bearer) and credential.token.startswith("own_"):
            return Accept(Identity("alice", self.name), reusable_s=60)
        return Skip()

    def may_claim(self, credential: Credential) -> bool:
        self.claims_asked += 1
        return isinstance(credential, Bearer) and credential.token.startswith("own_")

    def challenges(self) -> tuple[str, ...]:
        return ('Bearer realm="here"',)


def known(decider: Decider, authorization: str) -> Granted | Unclaimed | None:
    return decider.known(Shown(authorization), lambda: presented(authorization))


def test_nobodys_bearer_starts_no_thread_and_is_unclaimed_as_the_chain_would_say() -> None:
    backend = Prefixed()
    decider = make_decider(backend, accepting("password"))

    decision = asyncio.run(decider.decide(presented(JWT)))

    assert decision == Unclaimed(Bearer(JWT.partition(" ")[2]), ('Bearer realm="here"',))
    assert backend.asked == []
    assert decider.lanes.chain.pool._threads == set()


async def test_it_is_remembered_without_a_question_to_any_backend() -> None:
    backend = Prefixed()
    decider = make_decider(backend)
    before = known(decider, JWT)
    await decider.decide(presented(JWT))

    remembered = [known(decider, spelling) for spelling in (JWT, JWT.replace("Bearer ", "bearer  "))]

    assert before is None
    assert all(isinstance(one, Unclaimed) for one in remembered)
    assert backend.claims_asked == 1


async def test_it_is_no_grant_for_those_who_ask_for_one() -> None:
    decider = make_decider(Prefixed())
    await decider.decide(presented(JWT))

    assert decider.recall(Shown(JWT), lambda: presented(JWT)) is None


async def test_it_is_looked_at_again_after_a_minute() -> None:
    backend, clock = Prefixed(), Clock()
    decider = make_decider(backend, monotonic=clock)
    await decider.decide(presented(JWT))

    clock.time += 61

    assert known(decider, JWT) is None


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
async def test_a_token_that_another_backend_would_judge_reaches_it(first: bool) -> None:
    judge = scripted("judge", Reject("stolen"), takes=frozenset({Bearer}))
    decider = make_decider(*([judge, Prefixed()] if first else [Prefixed(), judge]))

    decision = await decider.decide(presented(JWT))
    again = known(decider, JWT)

    assert not isinstance(decision, Unclaimed)
    assert again is None
    assert len(judge.asked) == 1


async def test_a_token_of_the_backend_is_granted_and_remembered_as_a_grant() -> None:
    decider = make_decider(Prefixed())

    decision = await decider.decide(presented("Bearer own_1"))

    assert isinstance(decision, Granted)
    assert known(decider, "Bearer own_1") == decision


async def test_who_acts_for_a_user_needs_a_credential_that_a_backend_takes() -> None:
    decider = make_decider(Prefixed())
    await decider.decide(presented(JWT))
    shown = Shown(JWT, acts_for="bob")
    asks = presented(JWT)
    acting = Presented(shown, asks.cookies, asks.method, asks.path, asks.client, asks.environ)

    with pytest.raises(NotPermitted):
        await decider.decide(acting)

    assert decider.known(shown, lambda: acting) is None


async def test_the_pages_of_the_gate_do_not_ask_the_chain_about_it_either() -> None:
    backend = Prefixed()
    decider = make_decider(backend)

    decision = await decider.identify(presented(JWT))

    assert isinstance(decision, Unclaimed)
    assert backend.asked == []


@pytest.mark.parametrize("kind", [Basic, Absent])
async def test_another_kind_of_credential_is_still_shown_to_the_backend(kind: type[Basic | Absent]) -> None:
    class Silent(Prefixed):
        kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Basic, Absent})

        def may_claim(self, credential: Credential) -> bool:
            del credential
            return False

    backend = Silent()
    decider = make_decider(backend)

    await decider.decide(presented() if kind is Basic else presented(None, cookie="a=b"))

    assert [type(credential) for credential in backend.asked] == [kind]
