"""asfquart's names in each asynchronous framework: requirements, refusals by hand, and what a written session is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flask
import pytest

from compat_auth.asgi import auth, current_identity, require, session
from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable, ConfigError, NoActiveKey, NoSuchUser, NotPermitted
from compat_auth.extension import CompatAuth
from support.async_apps import KINDS, Site, settings_in
from support.stand_ins import basic

ALICE = {"Authorization": basic("alice", "wonder")}
BROWSER = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Origin": "http://site.example"}
R = auth.Requirements


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request.param, settings_in(tmp_path))


async def who() -> dict[str, Any]:
    return {"name": current_identity.username, "roles": list(current_identity.roles)}


async def refuse() -> dict[str, Any]:
    raise auth.AuthenticationFailed("Not <b>here</b>")


def become(site: Site, content: dict[str, Any]) -> None:
    async def write() -> dict[str, Any]:
        await session.write(content)
        return {}

    site.route("/become", write, method="POST")
    assert site.ask("/become", "POST").status_code == 200


@pytest.mark.parametrize("given", [R.committer, {R.committer}, [R.roleacct], (R.pmc_member, R.roleacct)])
def test_a_requirement_of_asfquarts_name_is_met_alone_or_in_any_collection(site: Site, given: Any) -> None:
    site.route("/closed", who, auth.require(given))

    assert site.bearer("words", "/closed").status_code == 200


@pytest.mark.parametrize("given", [R.member, R.chair, R.root, R.mfa_enabled, {R.committer, R.member}])
def test_a_requirement_of_asfquarts_name_keeps_others_out(site: Site, given: Any) -> None:
    site.route("/closed", who, auth.require(given))

    assert site.bearer("words", "/closed").status_code == 403
    assert site.ask("/closed").status_code == 401


def test_somebody_known_is_required_like_any_other_and_never_nobody(site: Site) -> None:
    site.route("/any", who, require(any_of=["known", "role:nobody"]))
    site.route("/all", who, require(all_of=["known", "role:nobody"]))

    assert [site.ask(path).status_code for path in ("/any", "/all")] == [401, 401]
    assert [site.bearer("words", path).status_code for path in ("/any", "/all")] == [200, 403]


@pytest.mark.parametrize("guard", [lambda view: view, require], ids=["open", "guarded"])
def test_a_refusal_by_hand_says_its_words_and_no_markup(site: Site, guard: Any) -> None:
    site.route("/closed", refuse, guard)

    answer = site.bearer("words", "/closed")

    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "application/problem+json")
    assert answer.json()["detail"] == "Not <b>here</b>"


def test_a_refusal_by_hand_with_401_has_challenges(site: Site) -> None:
    async def view() -> dict[str, Any]:
        raise auth.AuthenticationFailed("Log in", 401)

    site.route("/open", view)

    answer = site.ask("/open")

    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_a_refusal_by_hand_leads_a_browser_to_the_login_only_if_nobody_is_logged_in(site: Site) -> None:
    site.route("/open", refuse)

    nobody = site.ask("/open", headers=BROWSER)
    program = site.ask("/open")
    become(site, {"uid": "carol"})
    carol = site.ask("/open", headers=BROWSER)

    assert (nobody.status_code, nobody.headers["Location"]) == (302, "/compat-auth/login?next=/open")
    assert (program.status_code, carol.status_code) == (403, 403)


def test_a_refusal_by_hand_drops_no_session_that_was_written(site: Site) -> None:
    async def view() -> dict[str, Any]:
        session.clear()
        raise auth.AuthenticationFailed

    site.route("/out", view)
    site.route("/closed", who, require)
    become(site, {"uid": "carol"})

    refused = site.ask("/out")

    assert refused.status_code == 403
    assert site.ask("/closed").status_code == 401


@pytest.mark.parametrize("status", [0, 200, 302, 399, 600])
def test_a_refusal_by_hand_is_never_a_success(status: int) -> None:
    with pytest.raises(ConfigError, match="errorcode"):
        auth.AuthenticationFailed("x", status)


def test_what_the_app_writes_of_a_user_counts_as_what_a_token_handler_says(site: Site) -> None:
    become(
        site, {"uid": "carol", "isMember": True, "pmcs": ["httpd"], "projects": ["x"], "mfa": True, "roleaccount": True}
    )
    site.route("/closed", who, auth.require(all_of={R.member, R.pmc_member, R.mfa_enabled, R.roleacct, "group:httpd"}))

    assert site.ask("/closed").json() == {"name": "carol", "roles": ["member", "pmc_member"]}


@pytest.mark.parametrize(
    "content",
    [
        {"isMember": "True", "isRoot": 1, "pmcs": "httpd", "mfa": "yes", "roleaccount": 1},
        {"isMember": [True], "pmcs": [], "committees": [7], "projects": ["httpd"], "mfa": [True]},
        {"roles": ["member", "root"], "role": "root", "metadata": {"isRoot": True}},
    ],
    ids=["texts", "lists", "elsewhere"],
)
def test_what_is_not_exactly_true_gives_a_session_no_role(site: Site, content: dict[str, Any]) -> None:
    become(site, {"uid": "carol", **content})
    site.route("/any", who, auth.require(any_of={R.member, R.chair, R.root, R.pmc_member, R.mfa_enabled, R.roleacct}))

    assert site.ask("/any").status_code == 403


def test_a_session_of_our_login_page_has_the_roles_of_the_directory_whatever_the_app_writes_into_it(site: Site) -> None:
    site.route("/closed", who, require)
    site.route("/members", who, require(R.member))
    form = site.ask("/compat-auth/login")
    token = form.text.partition('name="token" value="')[2].partition('"')[0]
    fields = {"username": "alice", "password": "wonder", "token": token, "next": "/"}
    assert site.ask("/compat-auth/login", "POST", data=fields, headers=BROWSER).status_code == 303

    become(site, {"uid": "alice", "isMember": True, "mfa": True})

    assert site.ask("/closed").json() == {"name": "alice", "roles": []}
    assert site.ask("/members").status_code == 403


@pytest.mark.parametrize("kind", ["quart", "starlette"])
def test_a_handler_of_the_apps_own_stays(kind: str, tmp_path: Path) -> None:
    site = Site(kind, settings_in(tmp_path))

    async def teapot(*_: Any) -> Any:
        return "tea", 418

    async def answer(*_: Any) -> Any:
        from starlette.responses import PlainTextResponse  # noqa: PLC0415  # beside its use

        return PlainTextResponse("tea", 418)

    async def view() -> dict[str, Any]:
        raise NotPermitted

    if kind == "quart":
        site.app.register_error_handler(NotPermitted, teapot)
    else:
        site.app.add_exception_handler(NotPermitted, answer)
    site.route("/open", view)

    assert site.ask("/open").status_code == 418


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendUnavailable("the store is away"), 503),
        (NoActiveKey("no key may sign"), 503),
        (NoSuchUser("mallory is unknown"), 403),
    ],
    ids=["away", "keyless", "unknown"],
)
def test_an_error_of_ours_that_a_view_lets_pass_has_its_status(
    site: Site, error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def view() -> dict[str, Any]:
        raise error

    site.route("/open", view)

    answer = site.ask("/open")

    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert str(error) not in answer.text
    assert (f"a view got no answer: {error}" in caplog.text) == (status == 503)


def test_a_flask_app_answers_a_refusal_of_its_views_unless_it_has_a_handler(tmp_path: Path) -> None:
    def answers(app: flask.Flask) -> int:
        CompatAuth(app, parse_settings(settings_in(tmp_path), origin="test"))

        def view() -> str:
            raise NotPermitted

        app.add_url_rule("/", "view", view)
        return app.test_client().get("/").status_code

    plain, own = flask.Flask("plain"), flask.Flask("own")
    own.register_error_handler(NotPermitted, lambda _error: ("tea", 418))

    assert [answers(plain), answers(own)] == [403, 418]
