from collections import Counter

from soak.account import RULES, Account, Answer
from soak.leaks import Held
from soak.report import Outcome, markdown, percentile


def outcome(account: Account) -> Outcome:
    held = [Held(3, 200.0, 30, 70)] * 3
    revocations = {("session", "remembered"): 4}
    return Outcome(
        7, 3600.0, 60.0, account, {"Redis is frozen": 2}, revocations, held, held, held, 10, "2026-11-30 12:00"
    )


def test_the_report_names_seed_requests_faults_and_every_rule() -> None:
    account = Account()
    account.add(Answer("LDAP", 0, 0.02, 200, "bob", "/x"), user="bob", target="/x")

    text = markdown(outcome(account))

    assert "Seed 7, 2026-11-30 12:00 UTC: 1 requests in 60 minutes, 2 faults, 4 revocations" in text
    assert all(f"| {rule} | 0 |" in text for rule in RULES)
    assert "| LDAP | 1 | 200: 1 |" in text


def test_the_report_shows_each_violation_with_its_faults() -> None:
    account = Account()
    with account.fault("Redis is frozen"):
        now = account.clock()
        account.add(Answer("LDAP", now, now, 500), user="bob", target="/x")

    found = outcome(account)

    assert not found.is_clean
    assert "an answer is an internal error: LDAP: 500" in markdown(found)
    assert "(Redis is frozen)" in markdown(found)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile(Counter({1: 98, 50: 1, 900: 1}), 0.5) == 1
    assert percentile(Counter({1: 98, 50: 1, 900: 1}), 0.99) == 50
    assert percentile(Counter(), 0.99) == 0
