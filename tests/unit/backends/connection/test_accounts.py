"""Which certificate acts as whom: patterns match whole names, and never more than they seem to."""

from __future__ import annotations

from typing import Any

import pytest

from compat_auth.client_certificates import Names
from compat_auth.config import CertificateAccountSettings
from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.scopes import parse_scope
from compat_auth_backends.connection.accounts import Accounts

SPIFFE = "spiffe://example.org/ns/etl/sa/airflow"


def accounts(*tables: dict[str, Any]) -> Accounts:
    return Accounts([CertificateAccountSettings.model_validate(table) for table in tables])


@pytest.mark.parametrize(
    ("table", "names", "user"),
    [
        ({"subject": "CN=etl,O=Example", "user": "robot"}, Names("CN=etl,O=Example"), "robot"),
        ({"subject": "CN=*,OU=People,O=Example", "user": "{1}"}, Names("CN=alice,OU=People,O=Example"), "alice"),
        ({"email": "*@example.org", "user": "{1}"}, Names(email=("alice@example.org",)), "alice"),
        ({"dns": "*.Jobs.example.org", "user": "job-{1}"}, Names(dns=("a1.jobs.example.org",)), "job-a1"),
        ({"uri": SPIFFE, "user": "etl"}, Names(uri=(SPIFFE,)), "etl"),
        ({"uri": "spiffe://example.org/ns/*/sa/airflow", "user": "{1}"}, Names(uri=(SPIFFE,)), "etl"),
        ({"uri": "spiffe://example.org/ns/**", "user": "x"}, Names(uri=(SPIFFE,)), "x"),
        ({"uri": SPIFFE, "dns": "a.example", "user": "x"}, Names(uri=(SPIFFE,), dns=("b.example", "a.example")), "x"),
    ],
)
def test_a_rule_gives_its_account(table: dict[str, Any], names: Names, user: str) -> None:
    assert accounts(table).find(names) == (user, None)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ({"subject": "CN=etl,O=Example", "user": "x"}, Names("CN=etl,O=Example,C=DE")),
        ({"subject": "CN=etl,O=Example", "user": "x"}, Names("CN=a,CN=etl,O=Example")),
        ({"subject": "CN=etl,O=Example", "user": "x"}, Names("cn=ETL,O=Example")),
        ({"subject": "CN=*,O=Example", "user": "x"}, Names("CN=a,OU=b,O=Example")),
        ({"subject": "CN=*,O=Example", "user": "x"}, Names(r"CN=a\,O\=Example,O=Other")),
        ({"subject": "CN=*,O=Example", "user": "x"}, Names(r"CN=a\,OU\=b,O=Example")),
        ({"subject": "CN=*,O=Example", "user": "x"}, Names("CN=,O=Example")),
        ({"subject": "CN=*,O=Example", "user": "x"}, Names("CN=a+UID=b,O=Example")),
        ({"subject": "CN=*,O=Example", "user": "{1}"}, Names("CN=\u0430lice,O=Example")),
        ({"subject": "CN=etl,O=Example", "user": "x"}, Names("CN=etl,O=Example\n")),
        ({"dns": "*.example.org", "user": "x"}, Names(dns=("a.b.example.org",))),
        ({"dns": "a.example.org", "user": "x"}, Names(dns=("axexample.org", "a.example.org.evil.example"))),
        ({"email": "*@example.org", "user": "x"}, Names(email=("a@evil.example@example.org",))),
        ({"uri": "spiffe://example.org/ns/*/sa/a", "user": "x"}, Names(uri=("spiffe://example.org/ns/a/b/sa/a",))),
        ({"uri": "spiffe://example.org/ns/**", "user": "x"}, Names(uri=("spiffe://example.org.evil.example/ns/a",))),
        ({"uri": "spiffe://example.org/ns/**", "user": "x"}, Names(uri=("spiffe://example.org/ns/a?b",))),
        ({"uri": SPIFFE, "dns": "a.example", "user": "x"}, Names(uri=(SPIFFE,))),
        ({"uri": SPIFFE, "user": "x"}, Names(subject=SPIFFE, dns=(SPIFFE,), email=(SPIFFE,))),
    ],
)
def test_what_only_looks_like_it_has_no_account(table: dict[str, Any], names: Names) -> None:
    with pytest.raises(InvalidToken, match="no rule"):
        accounts(table).find(names)


def test_a_certificate_for_two_accounts_is_refused() -> None:
    rules = accounts({"uri": SPIFFE, "user": "etl"}, {"uri": "spiffe://example.org/admin", "user": "admin"})

    with pytest.raises(InvalidToken, match="two accounts"):
        rules.find(Names(uri=(SPIFFE, "spiffe://example.org/admin")))


def test_the_first_rule_that_matches_limits_the_account() -> None:
    rules = accounts({"uri": SPIFFE, "user": "etl", "scopes": ["GET /api/v2/dags"]}, {"uri": SPIFFE, "user": "etl"})

    assert rules.find(Names(uri=(SPIFFE,))) == ("etl", (parse_scope("GET /api/v2/dags"),))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"user": "x"}, "matches every certificate"),
        ({"subject": "*", "user": "x"}, "matches every certificate"),
        ({"subject": "CN=*", "user": "x"}, "matches every certificate"),
        ({"subject": "CN=*,O=*", "user": "x"}, "matches every certificate"),
        ({"uri": "**", "user": "x"}, "matches every certificate"),
        ({"uri": "spiffe://**", "user": "x"}, "trust domain"),
        ({"uri": "spiffe://*.org/a", "user": "x"}, "trust domain"),
        ({"email": "*@*", "user": "x"}, "matches every certificate"),
        ({"dns": "**.example.org", "user": "x"}, "only for uri"),
        ({"subject": "etl", "user": "x"}, "no '=' in it"),
        ({"subject": "CN=a,O=b", "user": "{1}"}, r"needs a '\*'"),
        ({"subject": "CN=a,O=b", "user": "{cn}"}, r"only \{1\} is filled in"),
        ({"subject": "CN=a,O=b", "user": "x", "scopes": ["get /x"]}, r"accounts\[0\].scopes: .*GET /x"),
    ],
)
def test_a_rule_that_says_more_than_it_seems_to_stops_the_start(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        accounts(table)


def test_without_a_rule_nobody_could_come_in() -> None:
    with pytest.raises(ConfigError, match="accounts: empty"):
        accounts()
