"""A session at the backend and at the gate: forged requests, disabled users, logout, and what reaches whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import flask
import pytest

from compat_auth.authn.session_registry import LiveSessions, credential_id_of, live_sessions_of
from compat_auth.authn.session_sealing import Session
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Absent, Basic
from compat_auth.errors import BackendUnavailable
from compat_auth.extension import CompatAuth, current_identity, requires_authentication
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends.directories import htpasswd
from compat_auth_backends.session import SessionBackend
from support.stand_ins import Behind, call, http_scope, make_decider, make_gate, rules

SECRET = "s" * 32
ALICE = Identity("alice", "basic_auth", subject="alice", directory="htpasswd")
HASH = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()
DAY = 86400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\nbob:{HASH}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> Settings:
    content: dict[str, Any] = {
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "session": {"secret": SECRET},
    }
    return parse_settings(content, origin="test")


@pytest.fixture
def app(settings: Settings) -> Iterator[flask.Flask]:
    app = create_flask_app(settings)
    yield app
    close(app)


def sessions_of(app: flask.Flask) -> LiveSessions:
    found = live_sessions_of(app)
    assert found is not None
    return found


def close(app: flask.Flask) -> None:
    sessions_of(app)._rows._database.close()


def pair(app: flask.Flask, session: Session, *, secure: bool = False) -> str:
    return sessions_of(app).cookie.header(session, secure=secure).partition(";")[0]


def ending_with(app: flask.Flask, session: Session, identity: Identity) -> Identity:
    """Return the identity as a session vouches for it: what is made from it ends with the session."""
    return replace(identity, expires_at=sessions_of(app).cookie.ends(session), credential_id=credential_id_of(session))


def judge(
    app: flask.Flask, cookie: str, *, method: str = "GET", url: str = "http://gateway", **headers: str
) -> Outcome:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    backend: CompatAuth = app.extensions["compat_auth"]
    with app.test_request_context("/api/x", url, method=method, headers={"Cookie": cookie, **sent}):
        return backend.chain.ask(Absent()).outcome


def test_a_session_vouches_for_its_user(app: flask.Flask) -> None:
    session = sessions_of(app).start(ALICE)

    outcome = judge(app, pair(app, session))

    assert isinstance(outcome, Accept)
    assert 0 < outcome.reusable_s <= 1
    assert replace(outcome, reusable_s=0) == Accept(ending_with(app, session, replace(ALICE, backend="session")))


@pytest.mark.parametrize("value", ["", "forged", "1.00000000.AAAA"])
def test_a_bad_cookie_is_refused_and_not_overlooked(app: flask.Flask, value: str) -> None:
    assert isinstance(judge(app, f"compat_auth_session={value}"), Reject)


def test_two_cookies_of_the_name_are_refused(app: flask.Flask) -> None:
    cookie = pair(app, sessions_of(app).start(ALICE))

    assert isinstance(judge(app, f"{cookie}; compat_auth_session=tossed"), Reject)
    assert isinstance(judge(app, f"compat_auth_session=tossed; {cookie}"), Reject)


def test_on_https_only_the_cookie_of_this_very_host_counts(app: flask.Flask) -> None:
    session = sessions_of(app).start(ALICE)

    assert judge(app, pair(app, session), url="https://gateway") == Skip()
    assert isinstance(judge(app, pair(app, session, secure=True), url="https://gateway"), Accept)


def test_nobody_gets_in_without_a_cookie(app: flask.Flask) -> None:
    assert judge(app, "theme=dark") == Skip()


def test_an_explicit_credential_is_not_the_sessions_business(settings: Settings, app: flask.Flask) -> None:
    with app.test_request_context("/", headers={"Cookie": pair(app, sessions_of(app).start(ALICE))}):
        assert SessionBackend(settings).authenticate(Basic("bob", "x")) == Skip()


def test_a_user_who_has_left_the_directory_is_refused(
    app: flask.Flask, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(htpasswd, "CHECK_INTERVAL_S", 0)
    cookie = pair(app, sessions_of(app).start(ALICE))
    assert isinstance(judge(app, cookie), Accept)

    (folder / "htpasswd").write_text(f"bob:{HASH}\n")

    outcome = judge(app, cookie)
    assert isinstance(outcome, Reject)
    assert outcome.status == 403


def test_a_session_from_a_directory_that_is_no_longer_configured_is_refused(app: flask.Flask) -> None:
    session = sessions_of(app).start(replace(ALICE, directory="ldap"))

    assert isinstance(judge(app, pair(app, session)), Reject)


def test_a_session_without_a_directory_goes_by_the_look_up_alone(app: flask.Flask) -> None:
    session = sessions_of(app).start(Identity("carol@REALM", "kerberos", subject="carol@REALM"))

    expected = ending_with(app, session, Identity("carol@REALM", "session", subject="carol@REALM"))
    outcome = judge(app, pair(app, session))
    assert isinstance(outcome, Accept)
    assert replace(outcome, reusable_s=0) == Accept(expected)


def test_after_logout_the_cookie_is_worth_nothing(app: flask.Flask) -> None:
    session = sessions_of(app).start(ALICE)
    judge(app, pair(app, session))

    sessions_of(app).end(session)

    assert isinstance(judge(app, pair(app, session)), Reject)


def test_a_store_that_is_down_is_nobodys_way_in(app: flask.Flask, folder: Path) -> None:
    cookie = pair(app, sessions_of(app).start(ALICE))
    close(app)
    for path in folder.glob("store.db*"):
        path.unlink()
    (folder / "store.db").mkdir()

    with pytest.raises(BackendUnavailable, match="database_url"):
        judge(app, cookie)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"X_CSRF_Token": "wrong"},
    ],
)
def test_a_request_that_another_site_could_have_made_is_refused(
    app: flask.Flask, method: str, headers: dict[str, str]
) -> None:
    cookie = pair(app, sessions_of(app).start(ALICE))

    outcome = judge(app, cookie, method=method, **headers)

    assert isinstance(outcome, Reject)
    assert outcome.status == 403


def test_a_request_of_our_own_pages_may_change_something(app: flask.Flask) -> None:
    session = sessions_of(app).start(ALICE)
    cookie = pair(app, session)

    assert isinstance(judge(app, cookie, method="POST", Sec_Fetch_Site="same-origin"), Accept)
    assert isinstance(judge(app, cookie, method="POST", Origin="http://gateway"), Accept)
    assert isinstance(judge(app, cookie, method="POST", X_CSRF_Token=session.csrf_token), Accept)


def test_a_fresh_session_is_not_written_again(app: flask.Flask) -> None:
    outcome = judge(app, pair(app, sessions_of(app).start(ALICE)))

    assert isinstance(outcome, Accept)
    assert outcome.headers == ()


def at_gate(app: flask.Flask, behind: Behind) -> Any:
    backends = app.extensions["compat_auth"].chain.backends
    ours = frozenset(name.encode() for name in sessions_of(app).cookie.names)
    return make_gate(behind, make_decider(*backends, app=app), gate_rules=rules(own_cookies=ours))


def age(app: flask.Flask, seconds: int) -> None:
    now = sessions_of(app).cookie.now
    sessions_of(app).cookie.now = lambda: now() + seconds


async def test_a_session_in_use_is_renewed_on_the_answer_whatever_the_upstream_says(app: flask.Flask) -> None:
    behind = Behind()
    session = sessions_of(app).start(ALICE)
    cookie = pair(app, session).encode()
    sessions_of(app).cookie.now = lambda: session.last_seen + DAY

    sent = await call(at_gate(app, behind), http_scope(headers=[(b"cookie", cookie)]))

    (renewed,) = sent.values(b"set-cookie")
    value = renewed.decode().partition(";")[0].partition("=")[2]
    assert sessions_of(app).cookie.open(value, secure=False) == replace(session, last_seen=session.last_seen + DAY)
    assert sent.values(b"cache-control") == [b"no-store"]


async def test_the_upstream_never_sees_our_cookie(app: flask.Flask) -> None:
    behind = Behind()
    cookie = pair(app, sessions_of(app).start(ALICE)).encode()

    for path in (b"/api/x", b"/ui"):
        await call(at_gate(app, behind), http_scope(path, [(b"cookie", cookie + b"; theme=dark")]))

    for scope in behind.scopes:
        assert [value for name, value in scope["headers"] if name == b"cookie"] == [b"theme=dark"]


async def test_a_forged_request_is_refused_at_the_gate_without_a_cookie_in_the_answer(app: flask.Flask) -> None:
    behind = Behind()
    cookie = pair(app, sessions_of(app).start(ALICE)).encode()
    age(app, DAY)

    headers = [(b"cookie", cookie), (b"origin", b"https://evil.example")]
    sent = await call(at_gate(app, behind), http_scope(headers=headers, method="POST"))

    assert sent.status == 403
    assert sent.values(b"set-cookie") == []
    assert behind.scopes == []


async def test_a_wrong_explicit_credential_beats_a_good_session(app: flask.Flask) -> None:
    behind = Behind()
    cookie = pair(app, sessions_of(app).start(ALICE)).encode()

    headers = [(b"cookie", cookie), (b"authorization", b"Basic YWxpY2U6d3Jvbmc=")]
    sent = await call(at_gate(app, behind), http_scope(headers=headers))

    assert sent.status == 401
    assert behind.scopes == []


def test_a_guarded_view_of_any_flask_app_takes_the_session_too(settings: Settings) -> None:
    app = flask.Flask("app")
    CompatAuth(app, settings)
    view: Callable[[], str] = requires_authentication(lambda: current_identity.username)
    app.add_url_rule("/", view_func=view, endpoint="index")
    cookie = pair(app, sessions_of(app).start(ALICE))

    answer = app.test_client(use_cookies=False).get("/", headers={"Cookie": cookie})

    assert (answer.status_code, answer.text) == (200, "alice")
    close(app)
