from collections.abc import Iterable

import pytest

from soak.account import (
    ALL,
    CALM,
    INTERNAL_ERROR,
    KEPT,
    NO_ANSWER,
    UNAVAILABLE_IN_CALM,
    UNEXPECTED,
    WRONG_GRANT,
    WRONG_IDENTITY,
    WRONGLY_REFUSED,
    Account,
    Answer,
)

TARGET = "/api/v2/whose?n=1"
REFUSED = frozenset((401,))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def account(clock: Clock) -> Account:
    return Account(clock)


def answer(status: int, user: str = "", target: str = TARGET, *, began: float = 100, ended: float = 101) -> Answer:
    return Answer("ticket", began, ended, status, user, target)


def judge(account: Account, seen: Answer, *, expected: Iterable[int] = (200,)) -> dict[str, int]:
    account.add(seen, user="alice", target=TARGET, expected=frozenset(expected))
    return dict(account.broken)


def test_the_right_answer_breaks_no_rule(account: Account) -> None:
    assert judge(account, answer(200, "alice")) == {}
    assert account.statuses[CALM, 200] == account.kinds["ticket", 200] == account.requests == 1


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        pytest.param(answer(200, "bob"), WRONG_IDENTITY, id="another-user"),
        pytest.param(answer(200, ""), WRONG_IDENTITY, id="no-user"),
        pytest.param(answer(200, "alice", "/api/v2/whose?n=2"), WRONG_IDENTITY, id="the-answer-to-another-request"),
        pytest.param(answer(500), INTERNAL_ERROR, id="an-internal-error"),
        pytest.param(answer(NO_ANSWER), UNAVAILABLE_IN_CALM, id="no-answer"),
        pytest.param(answer(502), UNAVAILABLE_IN_CALM, id="bad-gateway"),
        pytest.param(answer(503), UNAVAILABLE_IN_CALM, id="unavailable"),
        pytest.param(answer(504), UNAVAILABLE_IN_CALM, id="timeout"),
        pytest.param(answer(401), WRONGLY_REFUSED, id="refused"),
        pytest.param(answer(403), WRONGLY_REFUSED, id="forbidden"),
        pytest.param(answer(429), UNEXPECTED, id="another-status"),
    ],
)
def test_a_wrong_answer_breaks_its_rule(account: Account, seen: Answer, rule: str) -> None:
    assert judge(account, seen) == {rule: 1}
    assert [one.rule for one in account.violations] == [rule]


def test_a_bad_credential_that_is_let_in_breaks_a_rule(account: Account) -> None:
    assert judge(account, answer(401), expected=REFUSED) == {}
    assert judge(account, answer(200, "alice"), expected=REFUSED) == {WRONG_GRANT: 1}


@pytest.mark.parametrize("status", [NO_ANSWER, 502, 503, 504])
def test_a_fault_excuses_what_is_unavailable(account: Account, status: int) -> None:
    with account.fault("slapd is stopped"):
        found = judge(account, answer(status))

    assert found == {}


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        pytest.param(answer(200, "bob"), WRONG_IDENTITY, id="another-user"),
        pytest.param(answer(500), INTERNAL_ERROR, id="an-internal-error"),
        pytest.param(answer(401), WRONGLY_REFUSED, id="refused"),
        pytest.param(answer(429), UNEXPECTED, id="another-status"),
    ],
)
def test_a_fault_excuses_nothing_else(account: Account, seen: Answer, rule: str) -> None:
    with account.fault("slapd is stopped", refuses=["opaque token"]):
        found = judge(account, seen)

    assert found == {rule: 1}


@pytest.mark.parametrize("refuses", [frozenset(("ticket",)), ALL], ids=["this-kind", "every-kind"])
def test_a_fault_may_let_a_good_credential_be_refused(account: Account, refuses: frozenset[str]) -> None:
    with account.fault("the clock is moved", refuses=refuses):
        found = judge(account, answer(401))

    assert found == {}


def test_the_grace_ends(account: Account, clock: Clock) -> None:
    account.grace_s = 10
    with account.fault("Redis is stopped"):
        clock.now = 105

    assert judge(account, answer(503, began=114, ended=114.9)) == {}
    assert judge(account, answer(503, began=115.1, ended=116)) == {UNAVAILABLE_IN_CALM: 1}


def test_a_request_that_began_in_a_fault_is_excused_however_long_it_takes(account: Account, clock: Clock) -> None:
    account.grace_s = 0
    with account.fault("the database is frozen"):
        clock.now = 105

    assert judge(account, answer(503, began=104, ended=140)) == {}


def test_a_flood_of_violations_is_counted_and_not_kept(account: Account) -> None:
    for _ in range(KEPT + 5):
        judge(account, answer(500))

    assert (account.broken[INTERNAL_ERROR], len(account.violations)) == (KEPT + 5, KEPT)
