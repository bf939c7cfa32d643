"""A session cookie that was checked a moment ago costs no chain, and is no wider and no longer a login than before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import bcrypt
import flask
import pytest

from compat_auth.authn.airflow2.backend import LegacyBackend
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.authn.session_registry import LiveSessions, live_sessions_of
from compat_auth.backend import Backend, CredentialKind
from compat_auth.composition.decider import create_flask_app
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Absent, Credential
from compat_auth.facts import request_facts
from compat_auth.http.asgi import RawHeaders
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Outcome, Skip
from compat_auth_backends.directories import htpasswd
from compat_auth_backends.session import SessionBackend
from support.stand_ins import Behind, Clock, call, http_scope, make_decider, make_gate, rules

ALICE = Identity("alice", "basic_auth", subject="alice", directory="htpasswd")
HASH = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()
Ask = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\n")
    (tmp_path / "htpasswd").chmod(0o600)
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> Settings:
    content: dict[str, Any] = {
        "auth_backends": ["session", "basic_auth"],
        "database_url": f"sqlite:///{folder / 'store.db'}",
        "basic_auth": {"directories": ["htpasswd"]},
        "htpasswd": {"file": str(folder / "htpasswd")},
        "session": {"secret": "s" * 32},
    }
    return parse_settings(content, origin="test")


@pytest.fixture
def app(settings: Settings) -> Iterator[flask.Flask]:
    app = create_flask_app(settings)
    yield app
    sessions_of(app)._rows._database.close()


@pytest.fixture
def other_replica(settings: Settings) -> Iterator[LiveSessions]:
    app = create_flask_app(settings)
    yield sessions_of(app)
    sessions_of(app)._rows._database.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests about which the backend was asked."""
    found: list[str] = []
    authenticate = SessionBackend.authenticate

    def note(self: SessionBackend, credential: Credential) -> Outcome:
        found.append(request_facts().method)
        return authenticate(self, credential)

    monkeypatch.setattr(SessionBackend, "authenticate", note)
    return found


@pytest.fixture
def clock(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sessions_of(app), "_monotonic", clock)
    return clock


def sessions_of(app: flask.Flask) -> LiveSessions:
    found = live_sessions_of(app)
    assert found is not None
    return found


def cookie_of(app: flask.Flask) -> bytes:
    sessions = sessions_of(app)
    return sessions.cookie.header(sessions.start(ALICE), secure=False).partition(";")[0].encode()


def gate_of(
    app: flask.Flask,
    *before: Backend,
    clock: Clock | None = None,
    trusted: tuple[str, ...] = (),
    do_as: bool = False,
    **options: Any,
) -> Ask:
    """Return a function that asks a gate with these cookies and returns the status."""
    backends = (*before, *app.extensions["compat_auth"].chain.backends)
    ours = frozenset(name.encode() for name in sessions_of(app).cookie.names)
    if clock is not None:
        options["monotonic"] = clock
    decider = make_decider(*backends, app=app, **options)
    gate_rules = replace(rules(own_cookies=ours), do_as=do_as)
    gate = make_gate(Behind(), decider, gate_rules=gate_rules, trusted=trusted)

    async def ask(*cookies: bytes, method: str = "GET", more: RawHeaders | None = None, path: bytes = b"/api/x") -> int:
        headers = [*((b"cookie", cookie) for cookie in cookies), *(more or [])]
        status = (await call(gate, http_scope(path, headers, method=method))).status
        while decider._flights:
            await asyncio.wait(list(decider._flights.values()))
        return status

    return ask


async def test_the_backend_is_asked_once_for_many_requests_of_a_browser(app: flask.Flask, asked: list[str]) -> None:
    ask, cookie = gate_of(app, clock=Clock()), cookie_of(app)

    statuses = [await ask(cookie, method=method) for method in ("GET", "GET", "HEAD", "OPTIONS", "GET")]

    assert statuses == [200] * 5
    assert asked == ["GET"]


async def test_another_path_is_no_other_login(app: flask.Flask, asked: list[str]) -> None:
    ask, cookie = gate_of(app, clock=Clock()), cookie_of(app)

    statuses = [await ask(cookie, path=path) for path in (b"/api/x", b"/api/y")]

    assert statuses == [200, 200]
    assert len(asked) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_a_forged_request_is_refused_right_after_a_good_one(
    app: flask.Flask, asked: list[str], method: str
) -> None:
    ask, cookie = gate_of(app), cookie_of(app)
    before = await ask(cookie)

    evil = [(b"origin", b"https://evil.example")]
    after = [await ask(cookie, method=method, more=evil), await ask(cookie, method=method)]

    assert before == 200
    assert all(status in (400, 403, 405, 501) for status in after)


async def test_a_change_from_our_own_pages_is_checked_each_time(app: flask.Flask, asked: list[str]) -> None:
    ask, cookie = gate_of(app), cookie_of(app)

    own = [(b"sec-fetch-site", b"same-origin")]
    statuses = [await ask(cookie), *[await ask(cookie, method="POST", more=own) for _ in range(3)]]

    assert statuses == [200] * 4
    assert asked == ["GET", "POST", "POST", "POST"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cookie: (cookie[:-1] + b"A",), id="another-value"),
        pytest.param(lambda cookie: (cookie, cookie), id="twice"),
        pytest.param(lambda cookie: (cookie + b"; " + cookie,), id="twice-in-one-header"),
        pytest.param(lambda cookie: (b"__Host-" + cookie,), id="of-another-name"),
        pytest.param(lambda _cookie: (b"theme=dark",), id="without-it"),
        pytest.param(lambda _cookie: (), id="without-any"),
    ],
)
async def test_other_cookies_are_judged_anew(app: flask.Flask, change: Callable[[bytes], tuple[bytes, ...]]) -> None:
    ask, cookie = gate_of(app), cookie_of(app)
    while cookie.endswith(b"A"):
        cookie = cookie_of(app)
    before = await ask(cookie)

    after = await ask(*change(cookie))

    assert (before, after) == (200, 401)


async def test_on_https_the_cookie_of_plain_http_is_nothing_right_after_it_was_good(app: flask.Flask) -> None:
    ask, cookie = gate_of(app, trusted=("192.0.2.0/24",)), cookie_of(app)
    before = await ask(cookie)

    after = await ask(cookie, more=[(b"x-forwarded-proto", b"https")])

    assert (before, after) == (200, 401)


async def test_a_wrong_explicit_credential_beats_a_session_that_was_good_a_moment_ago(app: flask.Flask) -> None:
    ask, cookie = gate_of(app), cookie_of(app)
    before = await ask(cookie)

    after = await ask(cookie, more=[(b"authorization", b"Basic YWxpY2U6d3Jvbmc=")])

    assert (before, after) == (200, 401)


async def test_who_acts_for_a_user_does_not_get_the_grant_of_the_session(app: flask.Flask) -> None:
    ask, cookie = gate_of(app, do_as=True), cookie_of(app)
    before = await ask(cookie)

    after = await ask(cookie, more=[(b"x-do-as", b"bob")])

    assert (before, after) == (200, 400)


async def test_after_a_logout_the_next_request_is_refused(app: flask.Flask) -> None:
    ask, cookie = gate_of(app), cookie_of(app)
    before = await ask(cookie)
    session = sessions_of(app).find(cookie.partition(b"=")[2].decode(), secure=False)

    await asyncio.to_thread(sessions_of(app).end, session)

    assert (before, await ask(cookie)) == (200, 401)


async def test_after_logging_out_everywhere_the_next_request_is_refused(app: flask.Flask) -> None:
    ask, cookie = gate_of(app), cookie_of(app)
    before = await ask(cookie)

    await asyncio.to_thread(sessions_of(app).revoke_all, "alice")

    assert (before, await ask(cookie)) == (200, 401)


@pytest.mark.parametrize("at", [0.0, 0.2, 0.5, 0.74, 0.9])
async def test_a_logout_at_another_replica_is_noticed_within_a_second(
    app: flask.Flask, other_replica: LiveSessions, clock: Clock, at: float
) -> None:
    ask, cookie = gate_of(app, clock=clock), cookie_of(app)
    session = other_replica.cookie.open(cookie.partition(b"=")[2].decode(), secure=False)
    for step in range(10):
        clock.time += 0.1
        assert await ask(cookie) == 200, step
    clock.time += at
    await ask(cookie)
    other_replica.end(session)

    statuses = []
    for _ in range(12):
        statuses.append(await ask(cookie))
        clock.time += 0.1

    # The clock stands at a second after the logout from the eleventh request on.
    assert statuses[10:] == [401, 401]


async def test_a_user_who_has_left_the_directory_is_refused_within_a_second(
    app: flask.Flask, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(htpasswd, "CHECK_INTERVAL_S", 0)
    ask, cookie = gate_of(app, clock=clock), cookie_of(app)
    before = await ask(cookie)
    (folder / "htpasswd").write_text(f"bob:{HASH}\n")

    # A file is looked at every half a second, and the answer counts for another half.
    clock.time += 0.5

    assert (before, await ask(cookie)) == (200, 403)


async def test_a_store_that_is_down_is_nobodys_way_in_after_a_second(
    app: flask.Flask, folder: Path, clock: Clock
) -> None:
    ask, cookie = gate_of(app, clock=clock), cookie_of(app)
    before = await ask(cookie)
    (folder / "store.db").unlink()

    clock.time += 1.1

    assert (before, await ask(cookie)) == (200, 503)


async def test_a_session_that_is_used_all_the_time_is_asked_about_in_the_background(
    app: flask.Flask, asked: list[str], clock: Clock
) -> None:
    ask, cookie = gate_of(app, clock=clock), cookie_of(app)

    for _ in range(1000):
        assert await ask(cookie) == 200
        clock.time += 0.01

    assert 10 <= len(asked) <= 100


async def test_a_missed_revocation_ends_what_is_remembered(app: flask.Flask, asked: list[str]) -> None:
    ask, cookie = gate_of(app), cookie_of(app)
    await ask(cookie)

    revocation_events_of(app)._take(None)
    await asyncio.sleep(0)
    await ask(cookie)

    assert len(asked) == 2


class Module:
    """A module of Airflow 2 that leaves each request to the next."""

    def init_app(self, app: object) -> None:
        del app

    def requires_authentication(self, function: Any) -> Any:
        del function
        return lambda *_args, **_named: flask.Response("no", 401)


class OfAddresses(Backend):
    """Lets one address in, whatever it says."""

    name = configured_as = "addresses"
    kinds: ClassVar[frozenset[CredentialKind]] = frozenset({Absent})
    reads_peer: ClassVar[bool] = True

    def __init__(self) -> None:
        self.asked = 0

    def authenticate(self, credential: Credential) -> Outcome:
        del credential
        self.asked += 1
        return Skip()


async def test_behind_a_backend_that_may_read_anything_nothing_is_remembered(
    app: flask.Flask, asked: list[str]
) -> None:
    other = OfAddresses()
    ask, cookie = gate_of(app, other), cookie_of(app)

    statuses = [await ask(cookie) for _ in range(3)]

    assert statuses == [200] * 3
    assert (other.asked, len(asked)) == (3, 3)


async def test_behind_a_module_of_airflow_2_nothing_is_remembered(app: flask.Flask, asked: list[str]) -> None:
    module = LegacyBackend(Module(), "acme.auth", reads_body=False)
    module.configured_as = "acme.auth"
    module.init_app(app)
    ask, cookie = gate_of(app, module, mode="airflow2"), cookie_of(app)

    statuses = [await ask(cookie) for _ in range(2)]

    assert statuses == [200] * 2
    assert len(asked) == 2


async def test_whom_the_apps_own_login_manager_names_is_not_remembered(app: flask.Flask, asked: list[str]) -> None:
    class Wider(SessionBackend):
        def authenticate(self, credential: Credential) -> Outcome:
            del credential
            asked.append(flask.request.method)
            return Accept(ALICE, reusable_s=60)

    decider = make_decider(Wider(), app=app)
    gate = make_gate(Behind(), decider)

    for _ in range(2):
        assert (await call(gate, http_scope(headers=[(b"cookie", b"session=1")]))).status == 200

    assert len(asked) == 2


async def test_cookies_of_one_user_do_not_push_out_anybody_else(app: flask.Flask, asked: list[str]) -> None:
    ask, cookie = gate_of(app, clock=Clock(), cache_entries=20), cookie_of(app)
    mallory = Identity("mallory", "basic_auth")
    sessions = sessions_of(app)
    started = sessions.start(mallory)
    theirs = sessions.cookie.header(started, secure=False).partition(";")[0].encode()
    await ask(cookie)
    before = len(asked)

    for number in range(50):
        await ask(theirs + b"; n=%d" % number)
        await ask(cookie)

    assert len(asked) - before == 50
