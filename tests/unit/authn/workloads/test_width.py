"""Rules that are wider than they look."""

from __future__ import annotations

from typing import Any

import pytest

from compat_auth.authn.workloads.rules import WorkloadRule
from compat_auth.authn.workloads.width import widths_of
from compat_auth.config import WorkloadSettings
from support.workload_tokens import AUDIENCE, CLAIMS, KUBERNETES, RULES


def widths(platform: str, claims: dict[str, Any] | None = None, audience: str = AUDIENCE) -> list[str]:
    table = WorkloadSettings.model_validate(
        {
            "issuer": CLAIMS[platform]["iss"] if platform else "https://ci.example.com",
            "audience": audience,
            "claims": claims or RULES[platform],
            "account": "etl-robot",
            "scopes": ["trigger"],
        }
    )
    return list(widths_of(WorkloadRule.from_settings(table, "workloads[0]")))


@pytest.mark.parametrize("platform", sorted(RULES))
def test_a_rule_for_one_workload_gets_no_warning(platform: str) -> None:
    assert widths(platform) == []


@pytest.mark.parametrize(
    ("platform", "claims", "said"),
    [
        ("github", {"repository_owner_id": "65", "ref": "refs/heads/main"}, "every repository"),
        ("github", {"repository": "acme/*", "ref": "refs/heads/main"}, "every repository"),
        ("github", {"sub": "repo:acme/*:ref:refs/heads/main"}, "every repository"),
        ("github", {"sub": "repo:acme/etl:ref:refs/heads/main"}, "renamed"),
        ("github", {"repository": "acme/etl", "environment": "production"}, "renamed"),
        ("github", {"repository_id": "74"}, "every branch"),
        ("github", {"repository_id": "74", "ref": "refs/heads/*"}, "every branch"),
        ("github", {"repository_id": "74", "ref": "**"}, "every branch"),
        ("github", {"repository_id": "74", "environment": "*"}, "every branch"),
        ("github", {"repository_id": "74", "sub": "repo:acme/etl:**"}, "every branch"),
        ("github", {"repository_id": "74", "sub": "repo:acme/etl:ref:refs/heads/**"}, "every branch"),
        ("github", {"repository_id": "74", "job_workflow_ref": "acme/etl/.github/workflows/x.yml@**"}, "every branch"),
        ("gitlab", {"namespace_id": "72", "ref_protected": "true"}, "every project"),
        ("gitlab", {"project_path": "acme/**", "ref_protected": "true"}, "every project"),
        ("gitlab", {"project_path": "acme/etl", "ref_protected": "true"}, "renamed"),
        ("gitlab", {"project_id": "22"}, "every branch"),
        ("gitlab", {"project_id": "22", "sub": "project_path:acme/etl:ref_type:branch:ref:*"}, "every branch"),
        ("gitlab", {"project_id": "22", "ref": "main"}, "may make a branch"),
        ("kubernetes", {"sub": "system:serviceaccount:etl:*"}, "wildcard"),
        ("aws", {"sub": "arn:aws:iam::123456789012:role/*"}, "wildcard"),
        ("google", {"email": "*@acme-etl.iam.gserviceaccount.com"}, "every service account"),
        ("google", {"email": "nightly@acme-etl.iam.gserviceaccount.com"}, "deleted"),
        ("kubernetes", {"kubernetes.io": {"namespace": "etl"}}, '"kubernetes.io".serviceaccount.name'),
        ("aws", {"https://sts.amazonaws.com/": {"aws_account": "123456789012"}}, "name one"),
        ("google", {"google": {"compute_engine": {"project_id": "acme-etl"}}}, "every service account"),
        ("entra", {"roles": ["Dag.Trigger"]}, "every application that has the role"),
        ("", {"environment": "production"}, "neither sub nor an id"),
        ("", {"realm_access": {"roles": ["dag-runner"]}}, "neither sub nor an id"),
        ("", {"groups": ["etl-*"], "team": {"id": "*-etl"}}, "wildcard"),
        ("", {"sub": "pipeline:etl:*"}, "wildcard"),
    ],
)
def test_a_rule_that_leaves_something_open_gets_a_warning_with_a_next_step(
    platform: str, claims: dict[str, Any], said: str
) -> None:
    found = widths(platform, claims)

    assert [said in text for text in found].count(True) == 1
    assert all("; " in text and ": " in text for text in found)


@pytest.mark.parametrize(
    ("platform", "claims"),
    [
        ("kubernetes", {"kubernetes.io": {"namespace": "etl", "serviceaccount": {"name": "nightly"}}}),
        ("kubernetes", {"kubernetes.io": {"serviceaccount": {"uid": "00000000-0000-4000-8000-000000000012"}}}),
        ("aws", {"https://sts.amazonaws.com/": {"aws_account": "1", "principal_id": "arn:aws:iam::1:role/nightly"}}),
        ("entra", {"azp": "bbbbbbbb-0000-4000-8000-000000000002", "roles": ["Dag.Trigger"]}),
        ("", {"sub": "5f1c2a34", "resource_access": {"airflow": {"roles": ["dag-runner"]}}}),
        ("", {"team": {"id": "etl"}}),
    ],
)
def test_a_rule_that_names_one_workload_by_members_gets_no_warning(platform: str, claims: dict[str, Any]) -> None:
    assert widths(platform, claims) == []


@pytest.mark.parametrize(
    "audience", ["https://github.com/acme", "sts.amazonaws.com", "api://AzureADTokenExchange", KUBERNETES, "sigstore"]
)
def test_an_audience_that_others_take_too_gets_a_warning(audience: str) -> None:
    found = widths("kubernetes", audience=audience)

    assert [text.startswith(f"audience {audience}") for text in found] == [True]
