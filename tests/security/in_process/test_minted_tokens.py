"""JWTs of an app's own: nobody gets more of one than of the credential that it was made for."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compat_auth.errors import ConfigError, InsufficientScope, NoSuchUser, NotAuthenticated
from compat_auth.identity import Identity
from compat_auth.scopes import parse_scope
from compat_auth.tokens.jose.jwt import read_unverified
from support.async_apps import Site
from support.issuing_sites import ALICE, EVERY_KIND, FlaskSite, issuing_site, mint_for

PERSONAL = "/compat-auth/api/personal-tokens"
FOREIGN = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
OWN = {"Origin": "http://site.example", "Sec-Fetch-Site": "same-origin"}
AnySite = Site | FlaskSite


@pytest.fixture(params=EVERY_KIND)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> AnySite:
    backends = ["session", "personal_token", "token_handler", "basic_auth"]
    return issuing_site(
        request.param,
        tmp_path,
        auth_backends=backends,
        lookup={"directories": ["htpasswd"]},
        token_endpoint={"ttl_s": 600},
    )


def personal_token(site: AnySite, *scopes: str) -> dict[str, Any]:
    made = site.ask(
        PERSONAL, "POST", headers=ALICE, json={"name": f"etl{len(scopes)}", "scopes": list(scopes or ("all",))}
    )
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def asked(site: AnySite, headers: dict[str, str]) -> dict[str, int]:
    """Return the statuses of every way to a JWT."""
    return {
        "mint": site.ask("/mint", headers=headers).status_code,
        "get": site.ask("/auth/token", headers=headers).status_code,
        "post": site.ask("/auth/token", "POST", headers=headers).status_code,
    }


REFUSED = {"mint": 403, "get": 403, "post": 403}


@pytest.mark.parametrize(
    "scopes",
    [
        ["GET /mint", "GET /auth/token", "POST /auth/token"],
        ["GET /", "POST /"],
        ["GET /mint"],
        [],
        ["scopeA"],
        ["scopeA", "GET /mint"],
    ],
    ids=str,
)
def test_no_limited_token_of_a_handler_becomes_a_jwt(site: AnySite, scopes: list[str]) -> None:
    site.app.token_handler = lambda _token: {"uid": "alice", "metadata": {"scope": scopes}}  # type: ignore[union-attr]

    found = asked(site, {"Authorization": "Bearer x"})

    assert found == REFUSED


def test_no_limited_personal_token_becomes_a_jwt(site: AnySite) -> None:
    text = personal_token(site, "GET /mint", "GET /auth/token", "POST /auth/token")["token"]

    found = asked(site, {"Authorization": f"Bearer {text}"})

    assert found == REFUSED


def test_a_limited_personal_token_is_no_password_for_a_jwt(site: AnySite) -> None:
    text = personal_token(site, "GET /mint", "POST /auth/token")["token"]

    answer = site.ask("/auth/token", "POST", json={"username": "alice", "password": text})

    assert answer.status_code in (401, 403)


def test_a_jwt_ends_with_the_personal_token_and_says_nothing_of_its_secret(site: AnySite) -> None:
    made = personal_token(site)

    answer = site.bearer(made["token"], "/auth/token")

    assert answer.status_code == 201
    claims = read_unverified(answer.json()["access_token"])
    assert claims["sub"] == "alice"
    assert claims["exp"] <= int(time.time()) + 600
    assert made["token"] not in answer.text


def test_a_revoked_personal_token_gets_no_jwt_although_it_was_good_a_moment_ago(site: AnySite) -> None:
    made = personal_token(site)
    headers = {"Authorization": f"Bearer {made['token']}"}
    before = asked(site, headers)

    site.ask(f"{PERSONAL}/{made['id']}", "DELETE", headers=ALICE)

    assert (before["mint"], before["get"]) == (200, 201)
    assert set(asked(site, headers).values()) == {401}


def test_a_session_that_was_left_gets_no_jwt(site: AnySite) -> None:
    site.ask("/become/alice", "POST")
    cookies = dict(site.cookies)
    form = site.ask("/compat-auth/logout")
    token = form.text.partition('name="token" value="')[2].partition('"')[0]
    before = site.ask("/mint")

    site.ask("/compat-auth/logout", "POST", data={"token": token}, headers=OWN)
    site.cookies.update(cookies)

    assert before.status_code == 200
    assert site.ask("/mint").status_code == 401
    assert site.ask("/auth/token", "POST", headers=OWN).status_code == 401


def test_no_foreign_page_gets_a_jwt_by_a_cookie_or_a_password_of_the_browser(site: AnySite) -> None:
    site.ask("/become/alice", "POST")

    by_cookie = [site.ask("/auth/token", "POST", headers=FOREIGN), site.ask("/auth/token")]
    by_password = site.ask("/auth/token", "POST", headers={**ALICE, **FOREIGN})
    own = site.ask("/auth/token", "POST", headers=OWN)

    assert [answer.status_code for answer in by_cookie] == [403, 405]
    assert by_password.status_code == 403
    assert own.status_code == 201


def test_an_identity_whose_credential_has_ended_gets_no_jwt(site: AnySite) -> None:
    ended = Identity("alice", "basic_auth", expires_at=int(time.time()))

    with pytest.raises(NotAuthenticated):
        mint_for(site, ended)()


def test_a_jwt_of_a_credential_that_ends_soon_ends_with_it(site: AnySite) -> None:
    ends = int(time.time()) + 30

    token = mint_for(site, Identity("alice", "basic_auth", expires_at=ends))()

    assert token.expires_at == read_unverified(token.value)["exp"] == ends


@pytest.mark.parametrize("scopes", [("GET /",), (), ("GET /", "POST /", "DELETE /")], ids=str)
def test_an_identity_that_is_limited_gets_no_jwt_wherever_it_was_kept(site: AnySite, scopes: tuple[str, ...]) -> None:
    limited = replace(Identity("alice", "basic_auth"), scopes=tuple(map(parse_scope, scopes)))

    with pytest.raises(InsufficientScope):
        mint_for(site, limited)()


def test_nobody_gets_no_jwt(site: AnySite) -> None:
    assert set(asked(site, {}).values()) <= {401, 405}
    assert set(asked(site, {"Authorization": "Bearer unknown"}).values()) == {401}


def test_a_user_whom_the_directory_does_not_know_gets_no_jwt(site: AnySite) -> None:
    with pytest.raises(NoSuchUser):
        mint_for(site, Identity("mallory", "session"))()


def test_a_jwt_of_the_app_is_no_credential_for_the_app_itself(site: AnySite) -> None:
    token = site.ask("/mint", headers=ALICE).json()["token"]

    assert set(asked(site, {"Authorization": f"Bearer {token}"}).values()) == {401}


def test_the_secret_of_hs512_is_never_published(site: AnySite) -> None:
    answer = site.ask("/.well-known/jwks.json")

    assert answer.json() == {"keys": []}


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    ("token", "advice"),
    [
        ({"strategy": "exchange"}, "signs no token"),
        ({"strategy": "shared_secret", "secret": "short"}, "secret"),
        ({"strategy": "key_pair"}, "key_file"),
        ({"strategy": "shared_secret", "secret": "k" * 64, "algorithm": "EdDSA"}, "algorithm"),
        ({"strategy": "shared_secret", "secret": "k" * 64, "audience": "urn:airflow.apache.org:task"}, "audience"),
    ],
    ids=["exchange", "short", "no-key", "other-algorithm", "airflows-own-tasks"],
)
def test_an_app_that_could_sign_no_good_token_does_not_start(
    kind: str, token: dict[str, Any], advice: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=advice):
        issuing_site(kind, tmp_path, token)


def test_each_jwt_leaves_one_line_in_the_audit_log_and_a_refused_one_none(
    site: AnySite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    site.app.token_handler = lambda _token: {"uid": "alice", "metadata": {"scope": ["GET /"]}}  # type: ignore[union-attr]

    token = site.ask("/mint", headers=ALICE).json()["token"]
    site.ask("/auth/token", "POST", headers=ALICE)
    asked(site, {"Authorization": "Bearer x"})
    mint_for(site, Identity("alice", "basic_auth"))()

    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "compat_auth.audit"]
    issued = [(line["username"], line["method"], line["path"]) for line in lines if line["result"] == "issue"]
    assert issued == [("alice", "GET", "/mint"), ("alice", "POST", "/auth/token"), ("alice", "", "")]
    assert token not in caplog.text
