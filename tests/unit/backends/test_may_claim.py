"""Which Bearers the native backends leave to the upstream without being asked."""

from __future__ import annotations

import base64
import json
from typing import Any

import flask
import pytest

from compat_auth.backend import Backend, Bearer, Skip
from compat_auth.config import parse_settings
from compat_auth_backends.google_openid import GoogleOpenIdBackend
from compat_auth_backends.oidc import OidcBackend
from compat_auth_backends.personal_token import PersonalTokenBackend
from compat_auth_backends.workloads.backend import WorkloadBackend

ISSUER, PLATFORM = "https://id.example.org", "https://ci.example.org"
WORKLOAD = {
    "name": "ci",
    "issuer": PLATFORM,
    "audience": ["airflow"],
    "claims": {"repository": "acme/etl"},
    "account": "robot",
    "scopes": ["read"],
}
SETTINGS = parse_settings(
    {
        "oidc": {
            "issuers": [
                {"issuer": ISSUER, "audience": "airflow"},
                {
                    "issuer": "https://opaque.example.org",
                    "audience": "airflow",
                    "introspection": True,
                    "opaque_prefix": "opq_",
                    "client_id": "gateway",
                    "client_secret": "secret",
                },
            ]
        },
        "google_openid": {"audience": ["app"], "hosted_domains": ["example.org"]},
        "workloads": [WORKLOAD],
        "lookup": {"directories": ["airflow_db"]},
        "airflow_db": {"url": "sqlite:////nowhere/airflow.db"},
        "personal_tokens": {"pepper": "0123456789abcdef0123456789abcdef"},
    },
    origin="test",
)
BACKENDS = (PersonalTokenBackend, OidcBackend, GoogleOpenIdBackend, WorkloadBackend)


def jwt_of(**claims: Any) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS512"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2ln"])


FOREIGN = {
    "airflow": jwt_of(sub="1", iss="airflow", aud="apache-airflow"),
    "without-an-issuer": jwt_of(sub="1"),
    "issuer-of-another-type": jwt_of(iss=[ISSUER]),
    "issuer-with-a-slash": jwt_of(iss=ISSUER + "/"),
    "issuer-in-capitals": jwt_of(iss=ISSUER.upper()),
    "broken": "e30.e30.e30",
    "opaque": "0123456789abcdef",
    "begins-with-another-case": "OPQ_1",
}


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("token", [pytest.param(token, id=name) for name, token in FOREIGN.items()])
def test_a_foreign_bearer_is_not_claimed_and_would_be_skipped(kind: type[Backend], token: str) -> None:
    backend, app = kind.from_settings(SETTINGS), flask.Flask("test")

    with app.test_request_context("/"):
        claimed, answer = backend.may_claim(Bearer(token)), backend.authenticate(Bearer(token))

    assert not claimed
    assert answer == Skip()


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        pytest.param(PersonalTokenBackend, "cat_pat_", id="a-prefix-alone"),
        pytest.param(PersonalTokenBackend, "cat_pat_0123456789abWRONG", id="a-broken-personal-token"),
        pytest.param(OidcBackend, jwt_of(iss=ISSUER), id="an-issuer"),
        pytest.param(OidcBackend, "opq_1", id="an-opaque-token"),
        pytest.param(GoogleOpenIdBackend, jwt_of(iss="https://accounts.google.com"), id="google"),
        pytest.param(GoogleOpenIdBackend, jwt_of(iss="accounts.google.com"), id="google-without-a-scheme"),
        pytest.param(WorkloadBackend, jwt_of(iss=PLATFORM), id="a-platform"),
    ],
)
def test_what_a_backend_would_judge_is_claimed(kind: type[Backend], token: str) -> None:
    assert kind.from_settings(SETTINGS).may_claim(Bearer(token))
