"""Asynchronous apps: a personal token in X-API-Key, a certificate that a named proxy forwards, and both."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from compat_auth.asgi import current_identity, require
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.client_certificates import thumbprint_of
from compat_auth.config import parse_settings
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from support.async_apps import KINDS, Site, settings_in
from support.certificates import Authority
from support.stand_ins import basic

CA = Authority()
OF_BOB, OTHERS = CA.issue("CN=bob,OU=People,O=Example"), CA.issue("CN=mallory,O=Example")
PROXY, OTHER_PROXY, CLIENT = "10.0.0.5", "10.0.0.9", "192.0.2.1"
SHOWN = {"X-SSL-Client-Cert": OF_BOB.escaped}
THUMBPRINT = thumbprint_of(OF_BOB.der)


def settings_of(folder: Path) -> dict[str, Any]:
    (folder / "users.toml").write_text("".join(f'[[user]]\nusername = "{name}"\n' for name in ("alice", "bob")))
    (folder / "users.toml").chmod(0o600)
    return settings_in(
        folder,
        auth_backends=["client_certificate", "remote_user", "personal_token", "basic_auth"],
        lookup={"directories": ["mapping"]},
        mapping={"file": str(folder / "users.toml")},
        trusted_proxies=["10.0.0.0/8"],
        remote_user={"proxies": [f"{PROXY}/32"], "header": "Caller-Name"},
        client_certificate={
            "ca_file": str(CA.write(folder / "ca.pem")),
            "accounts": [{"subject": "CN=*,OU=People,O=Example", "user": "{1}"}],
            "proxies": [f"{PROXY}/32"],
            "forwarded": "nginx",
        },
    )


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    site = Site(request.param, settings_of(tmp_path))

    async def name() -> dict[str, Any]:
        return {"name": current_identity.username}

    site.route("/closed", name, require)
    return site


def make_token(folder: Path, certificate: str = "") -> str:
    settings = parse_settings(settings_of(folder), origin="test")
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    made = tokens.create("alice", PersonalTokenRequest("script", certificate=certificate), by="alice").text
    tokens.rows.database.close()
    return made


def who(site: Site, headers: Mapping[str, str], client: str = PROXY) -> str | int:
    """Return the name of the caller, or the status of the refusal."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=site.app, raise_app_exceptions=False, client=(client, 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://site.example") as caller:
            return await caller.get("/closed", headers=headers)

    answer = asyncio.run(ask())
    return str(answer.json()["name"]) if answer.status_code == 200 else answer.status_code


def test_a_token_in_its_header_is_a_credential_and_two_are_none(site: Site, tmp_path: Path) -> None:
    token = make_token(tmp_path)

    found = [
        who(site, {"X-API-Key": token}, CLIENT),
        who(site, {"X-API-Key": f"{token}0"}, CLIENT),
        who(site, {"X-API-Key": token, "Authorization": basic("alice", "wonder")}, CLIENT),
        who(site, {"X-API-Key": "of-the-application", "Authorization": basic("alice", "wonder")}, CLIENT),
    ]

    assert found == ["alice", 401, 400, "alice"]


@pytest.mark.parametrize(("client", "name"), [(PROXY, "bob"), (OTHER_PROXY, 401), (CLIENT, 401)])
@pytest.mark.parametrize("headers", [SHOWN, {"Caller-Name": "bob"}], ids=["certificate", "name"])
def test_a_named_proxy_says_who_the_caller_is_and_nobody_else(
    site: Site, headers: Mapping[str, str], client: str, name: str | int
) -> None:
    assert who(site, headers, client) == name


def test_an_address_that_the_server_has_read_off_a_header_is_nobodys(site: Site) -> None:
    assert who(site, {**SHOWN, "X-Forwarded-For": PROXY}) == 401


@pytest.mark.parametrize("name", ["X_SSL_Client_Cert", "Caller_Name", "Caller.Name"])
def test_another_spelling_of_a_named_header_is_refused(site: Site, name: str) -> None:
    assert who(site, {name: "bob"}) == 400


def test_a_bound_token_works_beside_its_certificate_alone(site: Site, tmp_path: Path) -> None:
    token = make_token(tmp_path, THUMBPRINT)
    key = {"X-API-Key": token}
    others = {"X-SSL-Client-Cert": OTHERS.escaped}

    found = [
        who(site, {**key, **SHOWN}),
        who(site, key),
        who(site, {**key, **others}),
        who(site, {**key, **SHOWN}, CLIENT),
        who(site, {**key, **SHOWN}, OTHER_PROXY),
        who(site, {**key, **SHOWN}),
    ]

    assert found == ["alice", 401, 401, 401, 401, "alice"]


def test_a_certificate_and_a_name_of_two_people_let_nobody_in(site: Site) -> None:
    found = [who(site, {**SHOWN, "Caller-Name": name}) for name in ("bob", "alice")]

    assert found == ["bob", 401]
