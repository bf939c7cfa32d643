"""What `compat-auth check` says about the rules of `[[workloads]]`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from compat_auth.cli.diagnosis.finding import Finding
from compat_auth.cli.diagnosis.workload_rules import examine_workloads
from compat_auth.store.migration import open_store
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from support.workload_tokens import rule_for, settings_with


def test_a_rule_whose_account_is_there_is_right(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, rule_for("github", tmp_path, account="alice"), rule_for("aws", tmp_path))
    accounts = RoleAccountRows(open_store(settings.database_url.get_secret_value()))
    accounts.add(RoleAccount("etl-robot", "group:data", int(time.time())))

    findings = list(examine_workloads(settings))

    assert [(finding.problem, finding.warning) for finding in findings] == [("", ""), ("", "")]
    assert [finding.detail for finding in findings] == [
        "workloads[0]: acts as the user, known to mapping, alice",
        "workloads[1]: acts as the role account etl-robot",
    ]


def test_an_account_that_is_nobodys_is_a_problem_with_a_next_step(tmp_path: Path) -> None:
    (finding,) = examine_workloads(settings_with(tmp_path, rule_for("github", tmp_path, account="nobody")))

    said = finding.for_programs()
    assert (finding.exit_code, said["ok"], said["where"]) == (78, False, "workloads[0].account")
    assert "users add nobody --role-account" in str(said["next"])


def test_a_wide_rule_is_a_warning_and_no_problem(tmp_path: Path) -> None:
    rule = rule_for("github", tmp_path, claims={"repository_id": "74"})

    warning, _ = examine_workloads(settings_with(tmp_path, rule))

    said = warning.for_programs()
    assert (warning.problem, warning.exit_code, said["ok"], said["where"]) == ("", 0, True, "workloads[0].claims")
    assert said["next"] == "add environment, or ref"


@pytest.mark.parametrize(
    ("claims", "where", "following"),
    [
        pytest.param(
            {"kubernetes.io.serviceaccount.name": "nightly"},
            'workloads[0].claims."kubernetes.io.serviceaccount.name"',
            "where a member of an object is meant, write kubernetes.io.serviceaccount.name",
            id="a-path-in-quotes",
        ),
        pytest.param({"roles": "Dag.Trigger"}, "workloads[0].claims.roles", "write it in brackets", id="no-brackets"),
        pytest.param(
            {"resource_access": {"airflow": {"roles": "x"}}},
            "workloads[0].claims.resource_access.airflow.roles",
            "write it in brackets",
            id="no-brackets-in-a-member",
        ),
    ],
)
def test_a_condition_that_probably_matches_nothing_is_a_warning_with_the_right_spelling(
    tmp_path: Path, claims: dict[str, Any], where: str, following: str
) -> None:
    rule = rule_for("kubernetes", tmp_path, claims={"sub": "system:serviceaccount:etl:nightly", **claims})

    warning, _ = examine_workloads(settings_with(tmp_path, rule))

    said = warning.for_programs()
    assert (said["ok"], said["where"], said["next"]) == (True, where, following)


@pytest.mark.parametrize(
    "claims",
    [
        {"https://example.com/roles": ["x"]},
        {"kubernetes.io/serviceaccount/namespace": "etl"},
        {"kubernetes.io": {"pod": {"name": "x"}}},
        {"roles": ["x"]},
    ],
)
def test_a_name_that_has_dots_of_its_own_is_in_no_doubt(tmp_path: Path, claims: dict[str, Any]) -> None:
    rule = rule_for("kubernetes", tmp_path, claims={"sub": "system:serviceaccount:etl:nightly", **claims})

    (account,) = examine_workloads(settings_with(tmp_path, rule))

    assert account.warning == ""


def test_rules_that_nobody_looks_at_are_a_problem(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, rule_for("github", tmp_path), auth_backends=["basic_auth"])

    (finding,) = examine_workloads(settings)

    assert (finding.exit_code, finding.problem.partition(":")[0]) == (78, "auth_backends")


def test_without_rules_there_is_nothing_to_say(tmp_path: Path) -> None:
    nothing: list[Finding] = []

    assert list(examine_workloads(settings_with(tmp_path))) == nothing
