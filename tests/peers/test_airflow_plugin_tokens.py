"""Tokens and our own pages inside live Airflow 3.3, with either auth manager."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
import pytest
import requests

from support.peers import seed
from support.peers.airflows import Airflow3
from support.peers.fab import log_in_to_ui
from support.peers.gateway import COMMAND, call, curl
from support.peers.plugin import StartPlugged

pytestmark = pytest.mark.peer

ADMIN = ("admin", "admin")
VIEWER = ("viewer", "viewer")
SETTINGS = {
    "AIRFLOW__COMPAT_AUTH__AUTH_BACKENDS": "session,basic_auth,personal_token",
    "AIRFLOW__COMPAT_AUTH__SESSION__SECRET": "secret-of-the-sessions-at-least-32-bytes",
}
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:x-compat-auth:token-type:personal-token",
}
SEEN_S = 1.0
# 3.1 has no page that names its caller.
OWN_PAGE = "/ui/auth/menus" if seed.AIRFLOW3 == "airflow31" else "/ui/auth/me"
# Before these, Airflow keeps no list of revoked tokens, and its logout revokes no Bearer.
HAS_REVOKED_TOKENS = seed.AIRFLOW3 != "airflow31"
LOGOUT_REVOKES = seed.AIRFLOW3 not in ("airflow31", "airflow32")
OURS = ("compat_auth_session", "_token")


class Made(NamedTuple):
    """A personal token."""

    value: str
    id: str


@pytest.fixture(scope="module")
def fab(plugged_airflow: StartPlugged) -> Airflow3:
    """FAB's Airflow behind a path, with two workers."""
    base_url = "http://localhost/team/airflow"
    return plugged_airflow(seed.FAB, AIRFLOW__API__BASE_URL=base_url, AIRFLOW__API__WORKERS="2", **SETTINGS)


@pytest.fixture(scope="module")
def simple(plugged_airflow: StartPlugged) -> Airflow3:
    return plugged_airflow(seed.SIMPLE, **SETTINGS)


@pytest.fixture(params=["simple", "fab"])
def url(request: pytest.FixtureRequest) -> str:
    """Where Airflow is: at the root, or below a path."""
    airflow: Airflow3 = request.getfixturevalue(request.param)
    return airflow.url if request.param == "simple" else f"{airflow.url}/team/airflow"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make(url: str, *scopes: str, who: tuple[str, str] = ADMIN) -> Made:
    body = {"name": uuid4().hex, "scopes": scopes}
    answer = call("POST", f"{url}/compat-auth/api/personal-tokens", auth=who, json=body)
    assert answer.status_code == 201, answer.text
    return Made(answer.json()["token"], answer.json()["id"])


def get_jwt(url: str, **credential: Any) -> str:
    answer = call("POST", f"{url}/auth/token", **credential)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["access_token"])


def statuses(url: str, path: str, token: str, *, connections: int = 8) -> set[int]:
    """Return what new connections are answered, so that every worker is asked."""
    return {call("GET", url + path, headers=bearer(token)).status_code for _ in range(connections)}


def is_for(answer: requests.Response, name: str) -> bool:
    """Tell whether one of Airflow's own pages was answered, to this user where it names one."""
    return answer.status_code == 200 and answer.json().get("username", name) == name


def revoke(url: str, token: str) -> None:
    assert call("POST", f"{url}/compat-auth/revoke", data={"token": token}).status_code == 200


def test_curl_works_with_a_personal_token_as_bearer_and_as_password(url: str) -> None:
    made = make(url, "all")

    as_bearer = curl("--header", f"Authorization: Bearer {made.value}", f"{url}/api/v2/dags")
    as_password = curl("--user", f"admin:{made.value}", f"{url}/api/v2/dags")

    for answer in (as_bearer, as_password):
        assert answer.status == 200
        assert {dag["dag_id"] for dag in answer.json()["dags"]} == {"tiny", "tiny_daily"}


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [
        (
            "GET /api/v2/dags",
            [("GET", "/api/v2/dags"), ("HEAD", "/api/v2/dags")],
            [
                ("GET", "/api/v2/dags/tiny"),
                ("GET", "/api/v2/pools"),
                ("PATCH", "/api/v2/dags"),
                ("GET", "/api/v1/dags"),
            ],
        ),
        (
            "GET /api/v1/dags/",
            [("GET", "/api/v1/dags/tiny"), ("GET", "/api/v1/dags/tiny/dagRuns")],
            [("PATCH", "/api/v1/dags/tiny"), ("GET", "/api/v1/pools"), ("GET", "/api/v2/dags/tiny")],
        ),
    ],
)
def test_a_scope_allows_exactly_what_it_says(
    url: str, scope: str, allowed: list[tuple[str, str]], refused: list[tuple[str, str]]
) -> None:
    token = make(url, scope).value

    let_in = {call(method, url + path, headers=bearer(token)).status_code for method, path in allowed}
    kept_out = {call(method, url + path, headers=bearer(token)).status_code for method, path in refused}
    who = call("GET", f"{url}/compat-auth/whoami", headers=bearer(token)).json()

    # Airflow has no HEAD of its own.
    assert let_in <= {200, 405}
    assert 200 in let_in
    assert kept_out == {403}
    assert (who["username"], who["scopes"]) == ("admin", [scope])


def test_a_personal_token_says_nothing_to_airflow_s_own_pages(url: str) -> None:
    token = make(url, "all").value

    assert call("GET", url + OWN_PAGE, headers=bearer(token)).status_code in (401, 403)


def test_a_revoked_personal_token_is_refused_by_every_worker_within_a_second(url: str) -> None:
    made = make(url, "all")
    before = statuses(url, "/api/v2/dags", made.value)

    revoked = call("DELETE", f"{url}/compat-auth/api/personal-tokens/{made.id}", auth=ADMIN)
    time.sleep(SEEN_S)

    assert before == {200}
    assert revoked.status_code == 204
    assert statuses(url, "/api/v2/dags", made.value) == {401}


def test_an_operator_lists_and_revokes_tokens_at_the_command_line(simple: Airflow3) -> None:
    made = make(simple.url, "all")
    database_url = f"sqlite:///{simple.home}/compat_auth.db"
    variables = {"COMPAT_AUTH_DATABASE_URL": database_url, "COMPAT_AUTH_UPSTREAM__URL": simple.url}
    command = [COMMAND, "tokens"]
    options: Any = {"env": {**os.environ, **variables}, "capture_output": True, "text": True}

    listed = subprocess.run([*command, "list"], check=True, **options)
    subprocess.run([*command, "revoke", made.id], check=True, **options)
    time.sleep(SEEN_S)

    assert made.id in listed.stdout
    assert statuses(simple.url, "/api/v2/dags", made.value) == {401}


def test_the_door_for_tokens_takes_a_password_in_a_header_and_a_personal_token(url: str) -> None:
    personal = make(url, "all", who=VIEWER).value
    found = [
        get_jwt(url, auth=VIEWER),
        get_jwt(url, headers=bearer(personal)),
        call("POST", f"{url}/auth/token/cli", auth=VIEWER).json()["access_token"],
        call("POST", f"{url}/auth/token", data={**EXCHANGE, "subject_token": personal}).json()["access_token"],
    ]

    for token in found:
        allowed = call("GET", f"{url}/api/v2/dags", headers=bearer(token))
        me = call("GET", url + OWN_PAGE, headers=bearer(token))

        assert allowed.status_code == 200, allowed.text
        assert is_for(me, "viewer")
    assert len(set(found)) == len(found)


def test_airflow_s_own_login_answers_as_before(url: str) -> None:
    pair = {"username": "viewer", "password": "viewer"}

    good = call("POST", f"{url}/auth/token", json=pair)
    cli = call("POST", f"{url}/auth/token/cli", json=pair)
    bad = call("POST", f"{url}/auth/token", json={**pair, "password": "wrong"})
    empty = call("POST", f"{url}/auth/token", json={})

    assert (good.status_code, cli.status_code) == (201, 201)
    assert call("GET", f"{url}/api/v2/dags", headers=bearer(good.json()["access_token"])).status_code == 200
    # As in the gateway: Airflow's own word, in a problem document.
    assert (bad.status_code, bad.json()["detail"]) == (401, "Invalid credentials")
    assert empty.status_code in (400, 422)
    assert "title" not in empty.json()


@pytest.mark.parametrize("own", [False, True], ids=["ours", "airflow-s"])
def test_a_revoked_jwt_is_refused_everywhere_and_by_every_worker_within_a_second(url: str, own: bool) -> None:
    credential = {"json": {"username": "admin", "password": "admin"}} if own else {"auth": ADMIN}
    token = get_jwt(url, **credential)
    other = get_jwt(url, **credential)
    before = statuses(url, OWN_PAGE, token)

    revoke(url, token)
    time.sleep(SEEN_S)
    after = {path: statuses(url, path, token) for path in ("/api/v2/dags", "/api/v1/dags", OWN_PAGE)}
    as_cookie = {call("GET", url + path, cookies={"_token": token}).status_code for path in ("/api/v2/dags", OWN_PAGE)}

    assert before == {200}
    assert after == {key: {401} for key in after}
    assert as_cookie == {401}
    assert call("GET", url + OWN_PAGE, headers=bearer(other)).status_code == 200


def test_what_a_revoked_personal_token_has_made_is_in_airflow_s_own_list(simple: Airflow3) -> None:
    made = make(simple.url, "all")
    token = get_jwt(simple.url, headers=bearer(made.value))
    name = jwt.decode(token, options={"verify_signature": False})["jti"]

    call("DELETE", f"{simple.url}/compat-auth/api/personal-tokens/{made.id}", auth=ADMIN)

    with closing(sqlite3.connect(simple.home / "airflow.db")) as database:
        assert not HAS_REVOKED_TOKENS or database.execute(
            "SELECT count(*) FROM revoked_token WHERE jti = ?", (name,)
        ).fetchone() == (1,)
    assert call("GET", simple.url + OWN_PAGE, headers=bearer(token)).status_code == 401


def test_introspection_knows_airflow_s_tokens_and_their_end(url: str) -> None:
    token = get_jwt(url, json={"username": "admin", "password": "admin"})
    ask = {"auth": ADMIN, "data": {"token": token}}

    good = call("POST", f"{url}/compat-auth/introspect", **ask).json()
    of_another = call("POST", f"{url}/compat-auth/introspect", **{**ask, "auth": VIEWER}).json()
    # Airflow's own logout, which writes into its own table.
    call("GET", f"{url}/api/v2/auth/logout", headers=bearer(token), allow_redirects=False)
    after = call("POST", f"{url}/compat-auth/introspect", **ask).json()

    assert (good["active"], good["aud"]) == (True, "apache-airflow")
    assert of_another == {"active": False}
    assert after["active"] is not LOGOUT_REVOKES


def test_the_metadata_name_addresses_that_answer(url: str) -> None:
    server = call("GET", f"{url}/.well-known/oauth-authorization-server").json()
    resource = call("GET", f"{url}/.well-known/oauth-protected-resource").json()

    assert resource["authorization_servers"] == [server["issuer"]] == [url]
    assert call("POST", server["token_endpoint"], auth=VIEWER).status_code == 201
    assert call("POST", server["introspection_endpoint"], auth=VIEWER, data={"token": "x"}).json() == {"active": False}
    assert call("POST", server["revocation_endpoint"], data={"token": "x"}).status_code == 200


@pytest.mark.parametrize("page", ["login", "logout", "docs"])
def test_a_page_answers_with_a_policy_that_lets_it_load_nothing_of_airflow_s(url: str, page: str) -> None:
    answer = call("GET", f"{url}/compat-auth/{page}")

    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.fixture
def browser(url: str) -> Iterator[requests.Session]:
    """Somebody who has logged in on our page as viewer."""
    with requests.Session() as session:
        form = session.get(f"{url}/compat-auth/login")
        body = {"username": "viewer", "password": "viewer", "next": "/", "token": token_in(form.text)}
        own = {"Sec-Fetch-Site": "same-origin"}
        arrived = session.post(f"{url}/compat-auth/login", data=body, headers=own, allow_redirects=False)
        assert arrived.status_code == 303, arrived.text
        yield session


def token_in(page: str) -> str:
    return page.partition('name="token" value="')[2].partition('"')[0]


def test_whoever_logs_in_on_our_page_is_logged_in_at_airflow_s_and_a_logout_ends_both(
    url: str, browser: requests.Session
) -> None:
    me = browser.get(url + OWN_PAGE)
    kept = browser.cookies["_token"]
    pages = {page: browser.get(f"{url}/compat-auth/{page}").status_code for page in ("tokens", "sessions")}

    form = {"token": token_in(browser.get(f"{url}/compat-auth/logout").text)}
    out = browser.post(f"{url}/compat-auth/logout", data=form, headers={"Sec-Fetch-Site": "same-origin"})

    assert is_for(me, "viewer")
    assert pages == {"tokens": 200, "sessions": 200}
    assert out.status_code == 200
    assert "_token" not in browser.cookies
    time.sleep(SEEN_S)
    assert statuses(url, OWN_PAGE, kept) == {401}


def test_airflow_s_own_logout_ends_our_session_too_and_another_site_s_does_not(
    url: str, browser: requests.Session
) -> None:
    copies = {name: value for name, value in browser.cookies.items() if name in OURS}
    logout, dags = f"{url}/api/v2/auth/logout", f"{url}/api/v2/dags"

    call("GET", logout, cookies=copies, headers={"Sec-Fetch-Site": "cross-site"})
    before = call("GET", dags, cookies={OURS[0]: copies[OURS[0]]}).status_code
    left = browser.get(logout, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False)
    time.sleep(SEEN_S)
    after = {name: {call("GET", dags, cookies={name: copies[name]}).status_code for _ in range(8)} for name in OURS}

    assert before == 200
    assert left.status_code in (302, 303, 307)
    assert after == {name: {401} for name in OURS}
    assert set(OURS).isdisjoint(browser.cookies.keys())


def test_with_our_login_airflow_s_pages_lead_to_it_and_renew_their_cookie(plugged_airflow: StartPlugged) -> None:
    airflow = plugged_airflow(seed.SIMPLE, AIRFLOW__COMPAT_AUTH__SESSION__LOGIN="ours", **SETTINGS)
    url, navigate = airflow.url, {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
    led = call("GET", f"{url}/api/v2/auth/login?next={url}/dags", headers=navigate)
    refused = call("GET", f"{url}/api/v2/dags", headers=navigate)
    with requests.Session() as browser:
        browser.trust_env = False
        form = {
            "token": token_in(browser.get(f"{url}/compat-auth/login").text),
            "username": "admin",
            "password": "admin",
        }
        browser.post(f"{url}/compat-auth/login", data=form, allow_redirects=False)
        browser.cookies.pop("_token")

        me = browser.get(url + OWN_PAGE)

        assert (led.status_code, led.headers["Location"]) == (302, "/compat-auth/login?next=/dags")
        assert (refused.status_code, refused.headers["Location"]) == (302, "/compat-auth/login?next=/api/v2/dags")
        assert is_for(me, "admin")
        assert "_token" in browser.cookies
    assert call("GET", f"{url}/api/v2/dags").status_code == 401


def test_a_token_made_on_the_page_works(url: str, browser: requests.Session) -> None:
    page = browser.get(f"{url}/compat-auth/tokens")
    until = page.text.partition('name="until"')[2].partition('value="')[2].partition('"')[0]
    wish = {"name": uuid4().hex, "limit": "listed", "scopes": "GET /api/v2/dags", "until": until}
    form = {"token": token_in(page.text), **wish}

    made = browser.post(f"{url}/compat-auth/tokens", data=form, headers={"Sec-Fetch-Site": "same-origin"})

    assert made.status_code in (200, 201), made.text
    value = "cat_pat_" + made.text.partition("cat_pat_")[2].partition("<")[0].partition('"')[0]
    assert call("GET", f"{url}/api/v2/dags", headers=bearer(value)).status_code == 200


def test_airflow_s_own_pages_and_login_work_as_before(fab: Airflow3) -> None:
    url = f"{fab.url}/team/airflow"
    cookies = log_in_to_ui(f"{url}/auth/login/", "viewer", "viewer")

    assert is_for(call("GET", url + OWN_PAGE, cookies=cookies), "viewer")
    assert "<html" in call("GET", f"{url}/").text


def test_what_must_outlive_the_process_is_in_airflow_s_folder(fab: Airflow3, simple: Airflow3) -> None:
    for airflow in (fab, simple):
        call("POST", f"{airflow.url}/auth/token", auth=ADMIN)

        assert (airflow.home / "compat_auth.db").is_file()
        assert not (airflow.home / "compat_auth.db").stat().st_mode & 0o077
