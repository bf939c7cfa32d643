"""Personal tokens over HTTP: each caller does what is the caller's to do, and nothing is an accident."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from compat_auth.app import create_app
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.crypto.personal_token_format import parse_text
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from support.stand_ins import call, http_scope

PATH = "/compat-auth/api/personal-tokens"
HASH = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()
HANDLER = """
def find(token):
    scopes = {"limited": ["GET /api/", "POST /compat-auth/api/personal-tokens"]}.get(token)
    if token in ("ops", "limited"):
        session = {"uid": "alice", "projects": ["ops"]}
        return session | ({"metadata": {"scope": scopes}} if scopes else {})
    return {"uid": "robot", "roleaccount": True} if token == "robot" else None
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    users = tmp_path / "users"
    users.write_text("".join(f"{name}:{HASH}\n" for name in ("alice", "bob", "root", "robot")))
    users.chmod(0o600)
    (tmp_path / "handler_of_token_api.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    content = {
        "auth_backends": ["session", "basic_auth", "token_handler", "personal_token"],
        "database_url": f"sqlite:///{tmp_path / 'store.db'}",
        "upstream": {"url": "http://127.0.0.1:9", "profile": "generic"},
        "token": {"strategy": "shared_secret", "secret": "s" * 64},
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(users)},
        "session": {"secret": "s" * 32},
        "token_handler": {"handler": "handler_of_token_api:find"},
        "personal_tokens": {"admins": ["user:root"], "per_user_limit": 5},
    }
    return parse_settings(content, origin="test")


@pytest.fixture
def app(settings: Settings) -> Iterator[flask.Flask]:
    app = create_flask_app(settings)
    yield app
    service_of(app).rows.database.close()


def service_of(app: flask.Flask) -> PersonalTokens:
    service = personal_tokens_of(app)
    assert service is not None
    return service


def as_user(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:wonderland".encode()).decode("ascii")}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(
    app: flask.Flask, method: str, headers: Mapping[str, str], path: str = "", body: object = None, raw: bytes = b""
) -> Any:
    more = {"Content-Type": "application/json"} if body is not None or raw else {}
    data = json.dumps(body).encode() if body is not None else raw
    return app.test_client(use_cookies=False).open(PATH + path, method=method, headers={**more, **headers}, data=data)


def made(app: flask.Flask, user: str = "alice", **body: object) -> Any:
    answer = ask(app, "POST", as_user(user), body={"name": "etl", **body})
    assert answer.status_code == 201, answer.text
    return answer.json


def test_a_token_is_made_shown_once_and_listed(app: flask.Flask) -> None:
    answer = ask(app, "POST", as_user("alice"), body={"name": "etl", "scopes": ["read"], "days": 7})
    listed = ask(app, "GET", as_user("alice")).json["personal_tokens"]

    content = answer.json
    token = content.pop("token")
    assert answer.status_code == 201
    assert parse_text(token) is not None
    assert answer.headers["Location"] == f"{PATH}/{token[8:20]}"
    assert listed == [content]
    assert (content["name"], content["scopes"], content["days_left"]) == ("etl", ["read"], 7)
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_last_day_may_be_a_date(app: flask.Flask) -> None:
    until = datetime.now(UTC).date() + timedelta(days=3)

    found = made(app, until=until.isoformat())

    assert found["expires_at"] == f"{until + timedelta(days=1)}T00:00:00Z"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({}, 422, id="no name"),
        pytest.param({"name": ""}, 422, id="empty name"),
        pytest.param({"name": "x" * 65}, 422, id="long name"),
        pytest.param({"name": 5}, 422, id="a number for a name"),
        pytest.param({"name": None}, 422, id="null for a name"),
        pytest.param({"name": "x", "extra": 1}, 422, id="unknown field"),
        pytest.param({"name": "x", "days": "7"}, 422, id="text for a number"),
        pytest.param({"name": "x", "days": True}, 422, id="truth for a number"),
        pytest.param({"name": "x", "days": 0}, 422, id="today"),
        pytest.param({"name": "x", "days": 367}, 422, id="too far ahead"),
        pytest.param({"name": "x", "days": 2**52}, 422, id="a number without sense"),
        pytest.param({"name": "x", "until": date(2020, 1, 1).isoformat()}, 422, id="past"),
        pytest.param({"name": "x", "until": "9999-12-31"}, 422, id="never"),
        pytest.param({"name": "x", "until": "tomorrow"}, 422, id="no date"),
        pytest.param({"name": "x", "until": "2027-01-01", "days": 1}, 422, id="two last days"),
        pytest.param({"name": "x", "scopes": []}, 422, id="no scopes"),
        pytest.param({"name": "x", "scopes": "all"}, 422, id="a text for scopes"),
        pytest.param({"name": "x", "scopes": ["get /a"]}, 422, id="lower case"),
        pytest.param({"name": "x", "username": "bob"}, 403, id="for somebody else"),
        pytest.param({"name": "x", "username": "nobody"}, 403, id="for nobody"),
        pytest.param([], 400, id="a list"),
        pytest.param({"name": "x" * 20000}, 413, id="too large"),
    ],
)
def test_what_makes_no_sense_is_refused_and_said_why(app: flask.Flask, body: object, status: int) -> None:
    answer = ask(app, "POST", as_user("alice"), body=body)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json["detail"]
    assert ask(app, "GET", as_user("alice")).json == {"personal_tokens": []}


@pytest.mark.parametrize(
    "raw", [b"{", b"\xff", b'{"name":"x","name":"y"}', b'{"days":NaN}', b"[" * 5000, b"null", b'{"name":"\\ud800"}']
)
def test_json_with_two_readings_is_refused(app: flask.Flask, raw: bytes) -> None:
    assert ask(app, "POST", as_user("alice"), raw=raw).status_code in {400, 422}


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=strategies.dictionaries(
        strategies.sampled_from(["name", "scopes", "days", "until", "username", "overlap_s", "x"]),
        strategies.recursive(
            strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=70),
            lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner),
            max_leaves=4,
        ),
    )
)
def test_no_body_is_an_accident(app: flask.Flask, body: object) -> None:
    assert ask(app, "POST", as_user("alice"), body=body).status_code < 500
    assert ask(app, "PATCH", as_user("alice"), "/nosuchtoken0", body=body).status_code == 404


def test_a_body_must_say_that_it_is_json(app: flask.Flask) -> None:
    headers = {**as_user("alice"), "Content-Type": "text/plain"}

    assert ask(app, "POST", headers, raw=b'{"name":"x"}').status_code == 400


def test_a_token_is_refreshed_under_its_id(app: flask.Flask) -> None:
    before = made(app)

    answer = ask(app, "PATCH", as_user("alice"), f"/{before['id']}", body={"days": 3, "overlap_s": 60})

    assert answer.status_code == 200
    assert answer.json["id"] == before["id"]
    assert answer.json["token"] != before["token"]
    assert answer.json["days_left"] == 3


def test_a_refresh_needs_no_body_and_keeps_the_days(app: flask.Flask) -> None:
    before = made(app, days=1)

    answer = ask(app, "PATCH", as_user("alice"), f"/{before['id']}")

    assert (answer.status_code, answer.json["days_left"]) == (200, 1)


def test_a_token_is_revoked(app: flask.Flask) -> None:
    found = made(app)

    answer = ask(app, "DELETE", as_user("alice"), f"/{found['id']}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert ask(app, "DELETE", as_user("alice"), f"/{found['id']}").status_code == 404
    assert ask(app, "GET", as_user("alice")).json == {"personal_tokens": []}


def test_a_name_that_is_taken_is_409(app: flask.Flask) -> None:
    made(app)

    assert ask(app, "POST", as_user("alice"), body={"name": "etl"}).status_code == 409


def test_anothers_token_is_as_if_it_were_not_there(app: flask.Flask) -> None:
    found = made(app)

    answers = [ask(app, method, as_user("bob"), f"/{found['id']}") for method in ("GET", "PATCH", "DELETE")]
    unknown = [ask(app, method, as_user("bob"), "/AAAAAAAAAAAA") for method in ("GET", "PATCH", "DELETE")]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert [answer.data for answer in answers] == [answer.data for answer in unknown]
    assert ask(app, "GET", as_user("bob"), "?username=alice").status_code == 403
    assert ask(app, "GET", as_user("bob"), "?all=true").status_code == 403


def test_an_admin_lists_and_revokes_everybodys_tokens_and_makes_none(app: flask.Flask) -> None:
    found = made(app)
    admin = as_user("root")

    assert [one["username"] for one in ask(app, "GET", admin, "?all=true").json["personal_tokens"]] == ["alice"]
    assert len(ask(app, "GET", admin, "?username=alice").json["personal_tokens"]) == 1
    assert ask(app, "POST", admin, body={"name": "x", "username": "alice"}).status_code == 403
    assert ask(app, "PATCH", admin, f"/{found['id']}").status_code == 404
    assert ask(app, "DELETE", admin, f"/{found['id']}").status_code == 204


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
def test_a_token_cannot_manage_tokens(app: flask.Flask, method: str) -> None:
    found = made(app)

    as_bearer = ask(app, method, bearer(found["token"]), f"/{found['id']}")
    pair = base64.b64encode(f"alice:{found['token']}".encode()).decode("ascii")
    as_password = ask(app, method, {"Authorization": f"Basic {pair}"}, "")

    assert (as_bearer.status_code, as_password.status_code) == (403, 403)


def test_a_role_account_manages_no_tokens(app: flask.Flask) -> None:
    assert ask(app, "GET", bearer("robot")).status_code == 403


def test_a_limited_credential_does_what_its_scopes_say_and_no_more(app: flask.Flask) -> None:
    child = ask(app, "POST", bearer("limited"), body={"name": "child", "scopes": ["GET /api/v2/dags"]})
    wider = [
        ask(app, "POST", bearer("limited"), body={"name": "wider", "scopes": scopes})
        for scopes in (["all"], ["read"], ["GET /api"])
    ]
    by_default = ask(app, "POST", bearer("limited"), body={"name": "default"})

    assert child.status_code == 201
    assert [answer.status_code for answer in (*wider, by_default)] == [403] * 4
    assert ask(app, "GET", bearer("limited")).status_code == 403


def test_nobody_gets_nothing(app: flask.Flask) -> None:
    for method in ("GET", "POST", "PATCH", "DELETE", "OPTIONS"):
        answer = ask(app, method, {})

        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize(("method", "path"), [("PUT", ""), ("DELETE", ""), ("OPTIONS", ""), ("POST", "/x")])
def test_a_method_that_is_not_there_is_405(app: flask.Flask, method: str, path: str) -> None:
    answer = ask(app, method, as_user("alice"), path)

    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")


@pytest.mark.parametrize("path", ["/a/b", "/%00", "/..%2f", "/" + "x" * 3000, "/é"])
def test_an_id_that_is_none_is_404(app: flask.Flask, path: str) -> None:
    assert ask(app, "GET", as_user("alice"), path).status_code == 404


@pytest.mark.parametrize(
    "source",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
)
def test_another_site_cannot_use_a_browsers_password(app: flask.Flask, source: dict[str, str]) -> None:
    answer = ask(app, "POST", {**as_user("alice"), **source}, body={"name": "x"})

    assert answer.status_code == 403
    assert ask(app, "GET", as_user("alice")).json == {"personal_tokens": []}


def test_a_session_makes_tokens_from_our_own_pages_only(app: flask.Flask) -> None:
    client = app.test_client()
    form = client.get("/compat-auth/login").text.partition('name="token" value="')[2].partition('"')[0]
    own = {"Sec-Fetch-Site": "same-origin"}
    client.post("/compat-auth/login", data={"username": "alice", "password": "wonderland", "token": form}, headers=own)

    forged = client.post(PATH, json={"name": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    silent = client.post(PATH, json={"name": "x"})
    ours = client.post(PATH, json={"name": "x"}, headers=own)

    assert (forged.status_code, silent.status_code, ours.status_code) == (403, 403, 201)


def test_members_of_the_owning_group_keep_a_role_accounts_tokens(app: flask.Flask) -> None:
    RoleAccountRows(service_of(app).rows.database).add(RoleAccount("robot", "group:ops", 0))

    token = ask(app, "POST", bearer("ops"), body={"name": "nightly", "username": "robot"})
    listed = ask(app, "GET", bearer("ops"), "?username=robot").json["personal_tokens"]
    outsider = ask(app, "POST", as_user("bob"), body={"name": "mine", "username": "robot"})
    whoami = service_of(app).verification.verify(token.json["token"])[1]

    assert token.status_code == 201
    assert [one["created_by"] for one in listed] == ["alice"]
    assert outsider.status_code == 403
    assert (whoami.username, whoami.role_account) == ("robot", True)
    assert ask(app, "DELETE", as_user("bob"), f"/{token.json['id']}").status_code == 404
    assert ask(app, "DELETE", bearer("ops"), f"/{token.json['id']}").status_code == 204


def test_switched_off_only_listing_and_deleting_is_left(app: flask.Flask) -> None:
    found = made(app)
    service = service_of(app)
    service.rules = service.rules.model_copy(update={"enabled": False})

    assert ask(app, "POST", as_user("alice"), body={"name": "x"}).status_code == 403
    assert ask(app, "PATCH", as_user("alice"), f"/{found['id']}").status_code == 403
    assert len(ask(app, "GET", as_user("alice")).json["personal_tokens"]) == 1
    assert ask(app, "DELETE", as_user("alice"), f"/{found['id']}").status_code == 204


def test_uses_are_told_by_day(app: flask.Flask) -> None:
    found = made(app)
    service = service_of(app)
    for _ in range(3):
        service.usage.count(found["id"])
    service.usage.flush()

    shown = ask(app, "GET", as_user("alice"), f"/{found['id']}").json

    assert shown["uses"] == {datetime.now(UTC).date().isoformat(): 3}
    assert "token" not in shown


async def test_the_gateway_serves_the_endpoints(settings: Settings) -> None:
    gateway = create_app(settings)
    headers = [(b"authorization", as_user("alice")["Authorization"].encode()), (b"content-type", b"application/json")]

    sent = await call(gateway, http_scope(PATH.encode(), headers, method="POST"), body=b'{"name": "etl"}')
    token = json.loads(sent.body)["token"]
    who = await call(gateway, http_scope(b"/compat-auth/whoami", [(b"authorization", f"Bearer {token}".encode())]))
    below = await call(gateway, http_scope(f"{PATH}/{token[8:20]}".encode(), headers[:1], method="DELETE"))
    again = await call(gateway, http_scope(b"/compat-auth/whoami", [(b"authorization", f"Bearer {token}".encode())]))

    assert (sent.status, who.status, below.status, again.status) == (201, 200, 204, 401)
    shown = json.loads(who.body)
    assert (shown["username"], shown["backend"], shown["scopes"]) == ("alice", "personal_token", ["all"])


async def test_a_gateway_that_is_stopped_writes_down_what_it_has_counted(settings: Settings) -> None:
    gateway = create_app(settings)
    headers = [(b"authorization", as_user("alice")["Authorization"].encode()), (b"content-type", b"application/json")]
    sent = await call(gateway, http_scope(PATH.encode(), headers, method="POST"), body=b'{"name": "etl"}')
    token = json.loads(sent.body)["token"]
    for _ in range(3):
        await call(gateway, http_scope(b"/compat-auth/whoami", [(b"authorization", f"Bearer {token}".encode())]))
    events = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive() -> Any:
        return events.pop()

    async def send(_message: Any) -> None:
        pass

    await gateway({"type": "lifespan"}, receive, send)

    shown = json.loads((await call(create_app(settings), http_scope(f"{PATH}/{token[8:20]}".encode(), headers))).body)
    assert sum(shown["uses"].values()) == 3
    assert shown["last_used_at"] is not None
