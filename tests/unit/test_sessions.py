"""`sessions.read`, `write`, `clear`, in an app as one wrote it for asfquart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from compat_auth import sessions
from compat_auth.authn.session_registry import LiveSessions
from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError, SessionTooLarge

WRITTEN: dict[str, Any] = {
    "uid": "alice",
    "fullname": "Älice",
    "pmcs": ["a", "b"],
    "roleaccount": False,
    "foobar": 42,
    "metadata": {"scope": ["x"], "empty": [], "none": None, "deep": [{"1": 1.5}]},
}
HOUR = 3600


class App:
    """A Flask app whose view does what the test says, and a browser."""

    def __init__(self, folder: Path) -> None:
        content = {"database_url": f"sqlite:///{folder / 'store.db'}", "session": {"secret": "s" * 32}}
        self.flask = flask.Flask("app")
        found = sessions.init_app(self.flask, parse_settings(content, origin="test"))
        assert found is not None
        self.live: LiveSessions = found
        self.todo: Callable[[], Any] = lambda: None
        self.result: Any = None
        self.flask.add_url_rule("/", view_func=self._view, methods=["GET", "POST"], endpoint="index")
        self.browser: FlaskClient = self.flask.test_client()
        self._now = self.live.cookie.now
        self.later(0)

    def _view(self) -> str:
        self.result = self.flask.ensure_sync(self.todo)()
        return ""

    def do(self, todo: Callable[[], Any], method: str = "GET", **headers: str) -> Any:
        self.todo, self.result = todo, None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = self.browser.open("/", method=method, headers=sent)
        return self.result

    def later(self, seconds: int) -> None:
        moment = int(self._now()) + seconds
        self._now = lambda: moment
        self.live.cookie.now = self._now


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(tmp_path)
    app.flask.testing = True
    yield app
    app.live._rows._database.close()


def test_there_is_no_session_before_one_is_written(app: App) -> None:
    assert app.do(sessions.read) is None
    assert "Set-Cookie" not in app.answer.headers


def test_what_was_written_is_read_nothing_lost_and_nothing_added(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    assert app.do(sessions.read) == WRITTEN


def test_read_modify_write_loses_nothing(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    def modify() -> None:
        session = sessions.read()
        assert session is not None
        session["more"] = "yes"
        sessions.write(session)

    app.do(modify)

    assert app.do(sessions.read) == {**WRITTEN, "more": "yes"}


def test_what_is_written_can_be_read_in_the_same_request(app: App) -> None:
    def write_and_read() -> Any:
        sessions.write(WRITTEN)
        return sessions.read()

    assert app.do(write_and_read) == WRITTEN


def test_keys_are_attributes_under_asfquarts_names_too(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    found = app.do(sessions.read)

    assert (found.uid, found.committees, found.isRole, found.foobar) == ("alice", ["a", "b"], False, 42)
    with pytest.raises(AttributeError):
        _ = found.missing


def test_writing_keeps_the_age_of_the_session(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))
    created = app.do(sessions.read).created

    app.later(HOUR)
    app.do(lambda: sessions.write({"uid": "alice"}))

    found = app.do(sessions.read)
    assert (found.created, found.last_seen) == (created, created + HOUR)


def test_another_user_has_another_session_and_the_first_ends(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))
    first = app.browser.get_cookie("compat_auth_session")
    assert first is not None

    app.do(lambda: sessions.write({"uid": "bob"}))

    assert app.do(sessions.read) == {"uid": "bob"}
    app.browser.set_cookie("compat_auth_session", first.value)
    assert app.do(sessions.read) is None


def test_a_session_planted_before_login_does_not_become_the_users(app: App) -> None:
    app.do(lambda: sessions.write({"uid": "mallory"}))
    planted = app.browser.get_cookie("compat_auth_session")
    assert planted is not None

    app.do(lambda: sessions.write({"uid": "alice"}))
    app.browser.set_cookie("compat_auth_session", planted.value)

    assert app.do(sessions.read) is None


def test_clear_ends_the_session_in_the_browser_and_in_the_store(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))
    kept = app.browser.get_cookie("compat_auth_session")
    assert kept is not None

    app.do(sessions.clear)

    assert app.browser.get_cookie("compat_auth_session") is None
    app.browser.set_cookie("compat_auth_session", kept.value)
    assert app.do(sessions.read) is None


def test_reading_keeps_a_session_alive(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    for _ in range(5):
        app.later(int(0.8 * HOUR))

        assert app.do(lambda: sessions.read(expiry_time=HOUR)) == WRITTEN


def test_a_session_that_nobody_reads_ends(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    app.later(HOUR)

    assert app.do(lambda: sessions.read(expiry_time=HOUR)) is None
    assert app.browser.get_cookie("compat_auth_session") is None


def test_reading_writes_no_cookie_before_a_tenth_of_the_time_is_over(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    app.later(HOUR // 10)
    app.do(lambda: sessions.read(expiry_time=HOUR))
    early = "Set-Cookie" in app.answer.headers
    app.later(1)
    app.do(lambda: sessions.read(expiry_time=HOUR))

    assert not early
    assert "Set-Cookie" in app.answer.headers
    assert app.answer.cache_control.no_store


@pytest.mark.parametrize("expiry_time", [0, -1, "3600", True, float("nan")])
def test_a_time_that_is_none_is_an_error(app: App, expiry_time: Any) -> None:
    with pytest.raises(ValueError, match="expiry_time"):
        app.do(lambda: sessions.read(expiry_time=expiry_time))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"uid": ""},
        {"uid": 7},
        {"uid": "a" * 600},
        {"uid": "alice", "pair": (1, 2)},
        {"uid": "alice", "set": {1}},
        {"uid": "alice", "by number": {1: "one"}},
        {"uid": "alice", "nan": float("nan")},
    ],
)
def test_what_would_not_come_back_as_it_is_is_an_error(app: App, data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="session"):
        app.do(lambda: sessions.write(data))


def test_what_does_not_fit_into_a_cookie_is_an_error(app: App) -> None:
    with pytest.raises(SessionTooLarge):
        app.do(lambda: sessions.write({"uid": "alice", "large": "x" * 5000}))


def test_a_request_that_another_site_could_have_made_has_no_session(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))
    token = app.do(sessions.read).csrf_token

    assert app.do(sessions.read, "POST") is None
    assert app.do(sessions.read, "POST", Origin="https://evil.example") is None
    assert app.do(sessions.read, "POST", Sec_Fetch_Site="same-origin") == WRITTEN
    assert app.do(sessions.read, "POST", X_CSRF_Token=token) == WRITTEN


def test_an_explicit_credential_beats_the_cookie(app: App) -> None:
    app.do(lambda: sessions.write(WRITTEN))

    assert app.do(sessions.read, Authorization="Bearer of-somebody-else") is None


def test_async_views_have_the_same(app: App) -> None:
    async def write_and_read() -> Any:
        await sessions.write_async(WRITTEN)
        return await sessions.read_async(expiry_time=HOUR)

    assert app.do(write_and_read) == WRITTEN
    assert app.do(sessions.read) == WRITTEN
    app.do(sessions.clear_async)
    assert app.do(sessions.read) is None


def test_without_a_secret_there_are_no_sessions() -> None:
    app = flask.Flask("app")
    assert sessions.init_app(app, parse_settings({}, origin="test")) is None

    with app.test_request_context("/"), pytest.raises(ConfigError, match=r"session\.secret"):
        sessions.read()
