"""Personal tokens in a header of their own, and rules that only a gate applies, in apps of every framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compat_auth.errors import ConfigError
from support.async_apps import Site
from support.issuing_sites import ALICE, EVERY_KIND, FlaskSite, issuing_site

PERSONAL = "/compat-auth/api/personal-tokens"
AnySite = Site | FlaskSite


@pytest.fixture(params=EVERY_KIND)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> AnySite:
    backends = ["session", "personal_token", "token_handler", "basic_auth"]
    return issuing_site(request.param, tmp_path, auth_backends=backends, personal_tokens={"header": "X-API-Key"})


def new_token(site: AnySite, *scopes: str) -> str:
    made = site.ask(PERSONAL, "POST", headers=ALICE, json={"name": "etl", "scopes": list(scopes or ("all",))})
    text: str = made.json()["token"]
    return text


def test_a_personal_token_lets_in_from_its_own_header(site: AnySite) -> None:
    key = new_token(site)

    answers = [
        site.ask("/mint", headers={"X-API-Key": key}),
        site.ask("/mint", headers={"x-api-key": f" {key} "}),
        site.ask("/compat-auth/whoami", headers={"X-API-Key": key}),
        site.ask("/auth/token", headers={"X-API-Key": key}),
        site.ask("/auth/token", "POST", headers={"X-API-Key": key}),
        site.bearer(key, "/mint"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 201, 201, 200]
    assert answers[2].json()["username"] == "alice"


def test_a_limited_personal_token_is_as_limited_in_its_own_header(site: AnySite) -> None:
    key = new_token(site, "GET /compat-auth/whoami")

    answers = [site.ask(path, headers={"X-API-Key": key}) for path in ("/mint", "/auth/token", "/compat-auth/whoami")]

    assert [answer.status_code for answer in answers] == [403, 403, 200]


def test_no_request_with_two_credentials_lets_anybody_in(site: AnySite) -> None:
    key, other = new_token(site), "Bearer whole"

    answers = [
        site.ask("/mint", headers=[("X-API-Key", key), ("X-API-Key", key)]),
        site.ask("/mint", headers=[("X-API-Key", key), ("Authorization", other)]),
        site.ask("/mint", headers=[("X-API-Key", key), *ALICE.items()]),
        site.ask("/mint", headers={"X-API-Key": f"{key},{key}"}),
        site.ask("/mint", headers={"X-API-Key": f"{key}, x"}),
        site.ask("/auth/token", "POST", headers={"X-API-Key": key}, json={"username": "alice", "password": "wonder"}),
    ]

    assert {answer.status_code for answer in answers} == {400}


@pytest.mark.parametrize("name", ["X-API-Key-2", "X.API.Key", "Api-Key"])
def test_no_other_header_has_a_key(site: AnySite, name: str) -> None:
    assert site.ask("/mint", headers={name: new_token(site)}).status_code in (400, 401)


def test_no_header_with_underscores_has_a_key_where_the_server_shows_its_name(site: AnySite) -> None:
    key = new_token(site)
    # WSGI has one name for both, and servers leave out the one with underscores.
    answer = site.ask("/mint", headers={"X_API_Key": key}) if site.kind != "flask" else site.ask("/mint")

    assert answer.status_code == 401


def test_a_wrong_key_is_no_reason_to_take_a_cookie(site: AnySite) -> None:
    site.ask("/become/alice", "POST")
    key = new_token(site)

    wrong = site.ask("/mint", headers={"X-API-Key": key[:-1] + ("x" if key[-1] != "x" else "y")})

    assert site.ask("/mint").status_code == 200
    assert wrong.status_code == 401


def test_without_the_setting_there_is_no_such_header(tmp_path: Path) -> None:
    for kind in EVERY_KIND:
        (tmp_path / kind).mkdir()
        site = issuing_site(
            kind, tmp_path / kind, auth_backends=["personal_token", "basic_auth"], personal_tokens={"header": ""}
        )

        assert site.ask("/mint", headers={"X-API-Key": new_token(site)}).status_code == 401


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(
    ("rules", "advice"),
    [
        ({"do_as": [{"callers": ["robot"], "users": ["alice"]}]}, r"\[\[do_as\]\].*gateway"),
        ({"require": [{"path": "/mint", "any_of": ["role:Admin"]}]}, r"\[\[require\]\].*@require"),
    ],
    ids=["do-as", "require"],
)
def test_an_app_does_not_start_with_rules_that_it_would_ignore(
    kind: str, rules: dict[str, Any], advice: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=advice):
        issuing_site(kind, tmp_path, **rules)


def test_a_caller_who_wants_to_act_for_another_stays_who_it_is(site: AnySite) -> None:
    answer = site.ask(
        "/compat-auth/whoami", headers={**ALICE, "X-Do-As": "root", "doAs": "root"}, params={"doAs": "root"}
    )

    assert answer.json()["username"] == "alice"
