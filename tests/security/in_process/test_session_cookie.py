"""The session cookie in the hands of an attacker: forged, changed, cut, old, replayed, moved."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from compat_auth.authn.revocation_events import RevocationEvent
from compat_auth.authn.session_cookie import CLOCK_SKEW_S, SessionCookie
from compat_auth.authn.session_registry import LiveSessions, credential_id_of
from compat_auth.authn.session_sealing import Session
from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError, InvalidSession, SessionTooLarge
from compat_auth.identity import Identity
from compat_auth.store.migration import open_store
from compat_auth.store.tables.sessions import SessionRow, SessionRows

OLD, NEW, OTHER = "o" * 32, "n" * 32, "x" * 32
START = 1_000_000
DAY = 86400


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cookie(clock: Clock) -> SessionCookie:
    return SessionCookie((NEW,), idle_s=7 * DAY, max_age_s=30 * DAY, now=clock)


@pytest.fixture
def sessions(cookie: SessionCookie, clock: Clock, tmp_path: Path) -> Iterator[LiveSessions]:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield LiveSessions(cookie, SessionRows(database), monotonic=lambda: float(clock.time))
    database.close()


def session(**changed: object) -> Session:
    plain = Session(
        "id", "zoë", "htpasswd", "basic_auth", START, START, "csrf", "zoë", "zoë@example.org", True, {"a": [1]}
    )
    return replace(plain, **changed)  # type: ignore[arg-type]  # as the test says


def value_of(header: str) -> str:
    return header.partition(";")[0].partition("=")[2]


def seal(cookie: SessionCookie, content: Session | None = None, *, secure: bool = True) -> str:
    return value_of(cookie.header(content or session(), secure=secure))


def test_what_was_sealed_opens_as_it_was(cookie: SessionCookie) -> None:
    assert cookie.open(seal(cookie), secure=True) == session()


def test_the_bearer_cannot_read_the_cookie(cookie: SessionCookie) -> None:
    box = seal(cookie).rpartition(".")[2]

    raw = base64.urlsafe_b64decode(box + "=" * (-len(box) % 4))

    assert all(secret not in raw for secret in (b"zo", b"csrf", b"htpasswd"))


def test_two_cookies_of_one_session_differ(cookie: SessionCookie) -> None:
    assert seal(cookie) != seal(cookie)


def test_no_changed_byte_goes_unnoticed(cookie: SessionCookie) -> None:
    value = seal(cookie)

    opened: list[int] = []
    for place, letter in enumerate(value):
        for other in "A.é" if letter != "A" else "B.é":
            try:
                cookie.open(value[:place] + other + value[place + 1 :], secure=True)
            except InvalidSession:
                continue
            if letter != other:
                opened.append(place)

    assert opened == []


def test_no_cut_or_longer_cookie_opens(cookie: SessionCookie) -> None:
    value = seal(cookie)

    for changed in (*(value[:end] for end in range(len(value))), value + "A", value + "=", value + ".", " " + value):
        with pytest.raises(InvalidSession):
            cookie.open(changed, secure=True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "1..",
        "1.00000000.",
        "0.00000000.AAAA",
        "eyJ1aWQiOiJhZG1pbiJ9.Zm9v.YmFy",
        "1." + "A" * 5000,
        "é",
        "\0",
    ],
)
def test_what_is_no_cookie_of_ours_is_refused(cookie: SessionCookie, value: str) -> None:
    with pytest.raises(InvalidSession):
        cookie.open(value, secure=True)


def test_a_cookie_of_a_foreign_secret_is_refused(cookie: SessionCookie, clock: Clock) -> None:
    foreign = SessionCookie((OTHER,), now=clock)

    with pytest.raises(InvalidSession, match="not known"):
        cookie.open(seal(foreign), secure=True)


def test_a_foreign_cookie_under_our_key_id_is_refused(cookie: SessionCookie, clock: Clock) -> None:
    foreign, ours = seal(SessionCookie((OTHER,), now=clock)), seal(cookie)

    with pytest.raises(InvalidSession, match="forged"):
        cookie.open(f"1.{ours.split('.')[1]}.{foreign.split('.')[2]}", secure=True)


def test_the_secret_itself_is_not_the_key(cookie: SessionCookie) -> None:
    key_id = seal(cookie).split(".")[1]
    content = json.dumps({"i": "x", "u": "admin", "t": "t", "c": START, "l": START}).encode()
    box = bytes(12) + AESGCM(NEW.encode()).encrypt(
        bytes(12), content, f"__Host-compat_auth_session\x001\0{key_id}".encode()
    )

    with pytest.raises(InvalidSession, match="forged"):
        cookie.open(f"1.{key_id}.{base64.urlsafe_b64encode(box).rstrip(b'=').decode()}", secure=True)


def test_an_older_secret_still_opens_and_the_newest_seals(clock: Clock) -> None:
    before = seal(SessionCookie((OLD,), now=clock))
    rotated = SessionCookie((NEW, OLD), now=clock)

    assert rotated.open(before, secure=True) == session()
    assert SessionCookie((NEW,), now=clock).open(seal(rotated), secure=True) == session()


def test_a_secret_that_is_taken_out_opens_nothing_more(cookie: SessionCookie, clock: Clock) -> None:
    before = seal(SessionCookie((OLD,), now=clock))

    with pytest.raises(InvalidSession, match="not known"):
        cookie.open(before, secure=True)


def test_a_cookie_from_plain_http_does_not_open_on_https(cookie: SessionCookie) -> None:
    with pytest.raises(InvalidSession, match="forged"):
        cookie.open(seal(cookie, secure=False), secure=True)


def test_a_cookie_of_another_name_does_not_open(cookie: SessionCookie, clock: Clock) -> None:
    other = SessionCookie((NEW,), name="other", now=clock)

    with pytest.raises(InvalidSession, match="forged"):
        cookie.open(seal(other), secure=True)


def test_the_cookie_on_https_belongs_to_this_host_alone(cookie: SessionCookie) -> None:
    header = cookie.header(session(), secure=True)

    name, attributes = header.partition("=")[0], header.split("; ")[1:]
    assert name == "__Host-compat_auth_session"
    assert attributes == ["Path=/", f"Max-Age={7 * DAY}", "HttpOnly", "SameSite=Lax", "Secure"]


def test_the_cookie_on_plain_http_has_a_plain_name(cookie: SessionCookie) -> None:
    header = cookie.header(session(), secure=False)

    assert header.startswith("compat_auth_session=")
    assert "Secure" not in header


def test_clearing_takes_the_cookie_away_under_the_same_attributes(cookie: SessionCookie) -> None:
    assert (
        cookie.clearing(secure=True) == "__Host-compat_auth_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
    )


def test_an_idle_session_ends(cookie: SessionCookie, clock: Clock) -> None:
    value = seal(cookie)

    clock.time += 7 * DAY - 1
    cookie.open(value, secure=True)
    clock.time += 1
    with pytest.raises(InvalidSession, match="idle"):
        cookie.open(value, secure=True)


def test_a_busy_session_ends_at_its_maximum_age_all_the_same(cookie: SessionCookie, clock: Clock) -> None:
    clock.time += 30 * DAY - 1
    value = seal(cookie, session(last_seen=clock.time))
    cookie.open(value, secure=True)

    clock.time += 1

    with pytest.raises(InvalidSession, match="old"):
        cookie.open(value, secure=True)


def test_the_browser_keeps_a_cookie_no_longer_than_the_session_lives(cookie: SessionCookie, clock: Clock) -> None:
    clock.time += 29 * DAY

    assert f"Max-Age={DAY};" in cookie.header(session(last_seen=clock.time), secure=True)


@pytest.mark.parametrize(
    ("created", "last_seen"),
    [(START + CLOCK_SKEW_S + 1, START + CLOCK_SKEW_S + 1), (START, START + CLOCK_SKEW_S + 1), (START + 1, START)],
)
def test_a_session_from_the_future_is_refused(cookie: SessionCookie, created: int, last_seen: int) -> None:
    value = seal(cookie, session(created=created, last_seen=last_seen))

    with pytest.raises(InvalidSession, match="future"):
        cookie.open(value, secure=True)


def test_a_session_is_renewed_only_when_a_tenth_of_its_idle_time_is_over(cookie: SessionCookie, clock: Clock) -> None:
    clock.time += 7 * DAY // 10
    early = cookie.renewed(session())
    clock.time += 1

    assert early is None
    assert cookie.renewed(session()) == session(last_seen=clock.time)


def test_a_cookie_that_browsers_would_drop_is_an_error_that_says_what_to_do(cookie: SessionCookie) -> None:
    with pytest.raises(SessionTooLarge, match="store less"):
        cookie.header(session(data={"a": "x" * 4000}), secure=True)


@pytest.mark.parametrize("secret", ["short", "x" * 31])
def test_a_secret_that_can_be_guessed_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ConfigError, match="at least 32") as caught:
        SessionCookie((NEW, secret))

    assert secret not in str(caught.value)


def test_an_empty_secret_is_an_absent_one() -> None:
    settings = parse_settings({"session": {"secret": ""}}, origin="test")

    assert SessionCookie.from_settings(settings) is None
    with pytest.raises(ConfigError, match="empty"):
        SessionCookie(())


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"secrets": [NEW, ""]}, "at least 32"),
        ({"secret": NEW, "secrets": [NEW]}, "both"),
        ({"secret": NEW, "cookie_name": "session"}, "upstream's own"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SessionCookie.from_settings(parse_settings({"session": section}, origin="test"))


def test_nothing_secret_is_in_a_repr(cookie: SessionCookie) -> None:
    shown = repr(session()) + repr(vars(cookie))

    assert "csrf'" not in shown
    assert NEW not in shown


def test_the_id_is_new_at_each_login(sessions: LiveSessions) -> None:
    alice = Identity("alice", "basic_auth")

    first, second = sessions.start(alice), sessions.start(alice)

    assert first.id != second.id
    assert first.csrf_token != second.csrf_token


def test_a_session_that_nobody_started_is_refused(sessions: LiveSessions, cookie: SessionCookie) -> None:
    with pytest.raises(InvalidSession, match="unknown"):
        sessions.find(seal(cookie), secure=True)


def test_a_cookie_kept_from_before_logout_is_worth_nothing(sessions: LiveSessions, cookie: SessionCookie) -> None:
    started = sessions.start(Identity("alice", "basic_auth"))
    value = seal(cookie, started)
    assert sessions.find(value, secure=True) == started

    sessions.end(started)

    with pytest.raises(InvalidSession, match="logged out"):
        sessions.find(value, secure=True)


def test_log_out_everywhere_ends_every_session_of_that_user_only(sessions: LiveSessions, cookie: SessionCookie) -> None:
    mine = [seal(cookie, sessions.start(Identity("alice", "basic_auth"))) for _ in range(2)]
    other = seal(cookie, sessions.start(Identity("bob", "basic_auth")))

    sessions.revoke_all("alice")

    for value in mine:
        with pytest.raises(InvalidSession, match="logged out"):
            sessions.find(value, secure=True)
    assert sessions.find(other, secure=True).username == "bob"


def test_a_logout_in_another_process_is_seen_within_a_second(
    sessions: LiveSessions, cookie: SessionCookie, clock: Clock
) -> None:
    started = sessions.start(Identity("alice", "basic_auth"))
    value = seal(cookie, started)
    sessions.find(value, secure=True)

    sessions._rows.end(started.id, clock.time)
    clock.time += 1

    with pytest.raises(InvalidSession, match="logged out"):
        sessions.find(value, secure=True)


@pytest.mark.parametrize("announced", ["session", "user", "something"])
def test_a_logout_that_another_process_announces_is_seen_at_once(
    sessions: LiveSessions, cookie: SessionCookie, clock: Clock, announced: str
) -> None:
    started = sessions.start(Identity("alice", "basic_auth"))
    value = seal(cookie, started)
    sessions.find(value, secure=True)

    sessions._rows.end(started.id, clock.time)
    revocations = {
        "session": RevocationEvent(credential_id=credential_id_of(started)),
        "user": RevocationEvent("alice"),
    }
    sessions._revocations._notify(revocations.get(announced))

    with pytest.raises(InvalidSession, match="logged out"):
        sessions.find(value, secure=True)


def test_a_logout_while_the_store_is_being_asked_wins(
    sessions: LiveSessions, cookie: SessionCookie, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = sessions.start(Identity("alice", "basic_auth"))
    value = seal(cookie, started)
    find_live = sessions._rows.find_live

    def find_and_then_log_out(session_id: str) -> SessionRow | None:
        row = find_live(session_id)
        sessions.end(started)
        return row

    with monkeypatch.context() as patch:
        patch.setattr(sessions._rows, "find_live", find_and_then_log_out)
        sessions.find(value, secure=True)

    with pytest.raises(InvalidSession, match="logged out"):
        sessions.find(value, secure=True)


def test_a_logout_is_announced_without_what_opens_the_session(sessions: LiveSessions) -> None:
    heard: list[RevocationEvent | None] = []
    sessions._revocations.listen(heard.append)
    started = sessions.start(Identity("alice", "basic_auth"))

    sessions.end(started)
    sessions.revoke_all("alice")

    assert heard == [RevocationEvent(credential_id=credential_id_of(started)), RevocationEvent("alice")]
    assert started.id not in repr(heard)


def test_a_renewed_session_keeps_its_id_its_age_and_its_data(sessions: LiveSessions, clock: Clock) -> None:
    started = sessions.start(Identity("alice", "basic_auth"), {"a": 1})
    assert sessions.renew(started) is None

    clock.time += DAY

    assert sessions.renew(started) == replace(started, last_seen=clock.time)


def test_what_has_idled_out_leaves_the_store(sessions: LiveSessions, clock: Clock) -> None:
    started = sessions.start(Identity("alice", "basic_auth"))
    clock.time += 8 * DAY

    sessions.start(Identity("bob", "basic_auth"))

    assert sessions._rows.find_live(started.id) is None


def test_a_browser_that_keeps_its_old_cookie_causes_one_write_a_minute(sessions: LiveSessions, clock: Clock) -> None:
    started = sessions.start(Identity("alice", "basic_auth"))
    clock.time += DAY
    first = clock.time

    seen: list[int] = []
    for _ in range(3):
        assert sessions.renew(started) == replace(started, last_seen=clock.time)
        row = sessions._rows.find_live(started.id)
        assert row is not None
        seen.append(row.last_seen)
        clock.time += 30

    assert seen == [first, first, first + 60]
