"""Tokens of workloads with the claims that each platform documents, signed by a key of ours.

GitHub: "OpenID Connect reference" (docs.github.com). GitLab: "ID token authentication" (docs.gitlab.com). Kubernetes:
"Managing Service Accounts", schema of service account private claims. AWS: "Understanding token claims" of outbound identity
federation. Google: "Payload of identity tokens of the metadata server". Entra: "Access token claims reference".
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compat_auth.backend import Settings
from compat_auth.config import parse_settings
from support.stub_issuer import RSA_KEY, jwk, sign

AUDIENCE = "airflow.example.com"
GITHUB = "https://token.actions.githubusercontent.com"
GITLAB = "https://gitlab.com"
KUBERNETES = "https://kubernetes.default.svc.cluster.local"
AWS = "https://abc12345-def4-5678-90ab-cdef12345678.tokens.sts.global.api.aws"
GOOGLE = "https://accounts.google.com"
TENANT = "11111111-2222-4333-8444-555555555555"
ENTRA = f"https://login.microsoftonline.com/{TENANT}/v2.0"
ENTRA_V1 = f"https://sts.windows.net/{TENANT}/"

CLAIMS: Mapping[str, Mapping[str, Any]] = {
    "github": {
        "iss": GITHUB,
        "sub": "repo:acme/etl:ref:refs/heads/main",
        "repository": "acme/etl",
        "repository_id": "74",
        "repository_owner": "acme",
        "repository_owner_id": "65",
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "sha": "5f0a1e8b3c6d",
        "event_name": "push",
        "actor": "octocat",
        "actor_id": "12",
        "workflow": "nightly",
        "workflow_ref": "acme/etl/.github/workflows/nightly.yml@refs/heads/main",
        "job_workflow_ref": "acme/etl/.github/workflows/nightly.yml@refs/heads/main",
        "run_id": "190",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "head_ref": "",
        "base_ref": "",
        "jti": "00000000-0000-4000-8000-000000000001",
    },
    "gitlab": {
        "iss": GITLAB,
        "sub": "project_path:acme/etl:ref_type:branch:ref:main",
        "project_path": "acme/etl",
        "project_id": "22",
        "namespace_path": "acme",
        "namespace_id": "72",
        "user_login": "octocat",
        "user_id": "1",
        "pipeline_source": "push",
        "pipeline_id": "574",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_environment": "gitlab-hosted",
        "jti": "00000000-0000-4000-8000-000000000002",
    },
    "kubernetes": {
        "iss": KUBERNETES,
        "sub": "system:serviceaccount:etl:nightly",
        "aud": [AUDIENCE],
        "kubernetes.io": {
            "namespace": "etl",
            "node": {"name": "node-1", "uid": "00000000-0000-4000-8000-000000000010"},
            "pod": {"name": "nightly-x", "uid": "00000000-0000-4000-8000-000000000011"},
            "serviceaccount": {"name": "nightly", "uid": "00000000-0000-4000-8000-000000000012"},
        },
        "jti": "00000000-0000-4000-8000-000000000003",
    },
    "aws": {
        "iss": AWS,
        "sub": "arn:aws:iam::123456789012:role/nightly",
        "https://sts.amazonaws.com/": {
            "aws_account": "123456789012",
            "source_region": "eu-west-1",
            "principal_id": "arn:aws:iam::123456789012:role/nightly",
        },
        "jti": "00000000-0000-4000-8000-000000000004",
    },
    "google": {
        "iss": GOOGLE,
        "sub": "112233445566778899001",
        "azp": "112233445566778899001",
        "email": "nightly@acme-etl.iam.gserviceaccount.com",
        "email_verified": True,
    },
    "entra": {
        "iss": ENTRA,
        "sub": "aaaaaaaa-0000-4000-8000-000000000001",
        "oid": "aaaaaaaa-0000-4000-8000-000000000001",
        "azp": "bbbbbbbb-0000-4000-8000-000000000002",
        "azpacr": "2",
        "tid": TENANT,
        "ver": "2.0",
        "uti": "x",
    },
    "entra-v1": {
        "iss": ENTRA_V1,
        "sub": "aaaaaaaa-0000-4000-8000-000000000001",
        "oid": "aaaaaaaa-0000-4000-8000-000000000001",
        "appid": "bbbbbbbb-0000-4000-8000-000000000002",
        "idp": ENTRA_V1,
        "tid": TENANT,
        "ver": "1.0",
    },
}
RULES: Mapping[str, Mapping[str, Any]] = {
    "github": {"repository_id": "74", "repository_owner_id": "65", "ref": "refs/heads/main"},
    "gitlab": {"project_id": "22", "project_path": "acme/etl", "ref": "main", "ref_protected": "true"},
    "kubernetes": {"sub": "system:serviceaccount:etl:nightly"},
    "aws": {"sub": "arn:aws:iam::123456789012:role/nightly"},
    "google": {"sub": "112233445566778899001", "email": "nightly@acme-etl.iam.gserviceaccount.com"},
    "entra": {"oid": "aaaaaaaa-0000-4000-8000-000000000001", "azp": "bbbbbbbb-0000-4000-8000-000000000002"},
    "entra-v1": {"oid": "aaaaaaaa-0000-4000-8000-000000000001", "appid": "bbbbbbbb-0000-4000-8000-000000000002"},
}


def claims_of(platform: str, **changed: Any) -> dict[str, Any]:
    """Return the claims of a token that was made just now; None takes one away."""
    now = int(time.time())
    good = {"aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300, **CLAIMS[platform]}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def token_of(platform: str, *, key: Any = RSA_KEY, header: Any = None, **changed: Any) -> str:
    """Return a token of a platform; None takes a claim away, and members of `header` are put into the header."""
    members: dict[str, Any] = {"typ": None if platform == "kubernetes" else "JWT", **(header or {})}
    return sign(claims_of(platform, **changed), key=key, **members)


def rule_for(platform: str, folder: Path, **changed: Any) -> dict[str, Any]:
    """Return a `[[workloads]]` table whose keys are in a file of the folder; None takes a setting away."""
    file = folder / "jwks.json"
    if not file.exists():
        file.write_text(json.dumps({"keys": [jwk(RSA_KEY.public_key(), "rsa")]}))
    good = {
        "issuer": CLAIMS[platform]["iss"],
        "audience": AUDIENCE,
        "claims": dict(RULES[platform]),
        "account": "etl-robot",
        "scopes": ["trigger"],
        "jwks": str(file),
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def settings_with(folder: Path, *rules: Mapping[str, Any], **more: Any) -> Settings:
    """Return settings with these rules; the users etl-robot, other-robot and (disabled) gone are in a mapping file."""
    users = folder / "users.toml"
    if not users.exists():
        names = "".join(
            f'[[user]]\nusername = "{name}"\nroles = ["Op"]\n' for name in ("etl-robot", "other-robot", "alice")
        )
        users.write_text(names + '[[user]]\nusername = "gone"\nactive = false\nroles = ["Op"]\n')
        users.chmod(0o600)
    content: dict[str, Any] = {
        "auth_backends": ["workload"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "lookup": {"directories": ["mapping"]},
        "mapping": {"file": str(users)},
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "t" * 64},
        "workloads": [dict(rule) for rule in rules],
        **more,
    }
    return parse_settings(content, origin="test")
