"""The pages on Keycloak and Entra ID: their own settings, before an issuer of ours that has the documented claims."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_auth.config import parse_settings
from compat_auth.credentials import Bearer
from compat_auth.outcome import Accept, Outcome, Reject
from compat_auth_backends.oidc import OidcBackend
from support.stub_issuer import StubIssuer, running_issuer, sign

PAGES = Path(__file__).parents[3] / "docs" / "how-to"
TENANT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubIssuer]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users.toml").write_text("".join(f'[[user]]\nusername = "{name}"\n' for name in ("alice", "etl")))
    (tmp_path / "users.toml").chmod(0o600)
    with running_issuer() as stub:
        yield stub


def judge(page: str, issuer: StubIssuer, claims: dict[str, Any]) -> Outcome:
    """Return what the backend with the page's own settings says; only issuer and directory are ours."""
    found = re.search(r"^```toml\n(.*?)^```", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    content = tomllib.loads(found[1])
    content["oidc"]["issuers"][0]["issuer"] = issuer.url
    content |= {"lookup": {"directories": ["mapping"]}, "mapping": {"file": "users.toml"}}
    del content["airflow_db"]
    now = int(time.time())
    token = sign({"iss": issuer.url, "iat": now, "nbf": now, "exp": now + 300, **claims}, typ="JWT")
    return OidcBackend.from_settings(parse_settings(content, origin=page)).authenticate(Bearer(token))


KEYCLOAK = {
    "aud": ["airflow", "account"],
    "sub": "5f1c2a34-6f0e-4f0e-9c59-0b1f6a2f8a11",
    "typ": "Bearer",
    "azp": "nightly-export",
    "preferred_username": "service-account-nightly-export",
    "scope": "email profile",
}
ENTRA = {
    "aud": "99999999-8888-7777-6666-555555555555",
    "azp": "12341234-8888-7777-6666-555555555555",
    "oid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "tid": TENANT,
    "idtyp": "app",
    "ver": "2.0",
}


@pytest.mark.parametrize(
    ("page", "claims", "username"),
    [
        pytest.param("keycloak.md", KEYCLOAK, "etl", id="keycloak-service"),
        pytest.param(
            "keycloak.md",
            {**KEYCLOAK, "sub": "another-uuid", "preferred_username": "alice"},
            "alice",
            id="keycloak-person",
        ),
        pytest.param("entra-id.md", ENTRA, "etl", id="entra-service"),
        pytest.param(
            "entra-id.md",
            {**ENTRA, "sub": "pairwise", "preferred_username": "alice", "scp": "x"},
            "alice",
            id="entra-person",
        ),
    ],
)
def test_the_tokens_that_a_page_describes_come_in(
    issuer: StubIssuer, page: str, claims: dict[str, Any], username: str
) -> None:
    outcome = judge(page, issuer, claims)

    assert isinstance(outcome, Accept)
    assert outcome.identity.username == username


@pytest.mark.parametrize(
    ("page", "claims"),
    [
        pytest.param("keycloak.md", {**KEYCLOAK, "aud": "account"}, id="keycloak-without-the-mapper"),
        pytest.param("keycloak.md", {**KEYCLOAK, "at_hash": "x"}, id="keycloak-id-token"),
        pytest.param("keycloak.md", {**KEYCLOAK, "sub": "another-client"}, id="keycloak-another-service"),
        pytest.param("entra-id.md", {**ENTRA, "aud": "https://graph.microsoft.com"}, id="entra-graph"),
        pytest.param("entra-id.md", {**ENTRA, "sub": "another-principal"}, id="entra-another-service"),
        pytest.param("entra-id.md", {**ENTRA, "iss": "https://sts.windows.net/" + TENANT}, id="entra-version-1"),
    ],
)
def test_the_tokens_that_a_page_warns_of_do_not(issuer: StubIssuer, page: str, claims: dict[str, Any]) -> None:
    outcome = judge(page, issuer, claims)

    assert not isinstance(outcome, Accept)
    assert isinstance(outcome, Reject) or "iss" in claims
