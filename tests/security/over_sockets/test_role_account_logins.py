"""A role account is nobody in person: whoever has a password, ticket or session of that name stays out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import flask
import pytest

from compat_auth import sessions
from compat_auth.app import Gateway
from compat_auth.authn.chain import Chain, Mode
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.authn.users.lookup import UserLookup
from compat_auth.authn.users.role_accounts import BELIEVED_S, RoleAccountNames
from compat_auth.config import Settings, parse_settings
from compat_auth.credentials import Absent, Basic, Bearer, Credential, Negotiate
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, InvalidValue, NoSuchUser
from compat_auth.extension import CompatAuth
from compat_auth.identity import Identity
from compat_auth.outcome import Accept, Reject
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.store.migration import open_store
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows
from support.security.token_gateway import opened
from support.stand_ins import basic, call, http_scope, scripted

PATH = b"/api/v2/dags"
ROBOT = Identity("robot", "any")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Users:
    """A directory that finds users by e-mail address, too."""

    name: str = "users"
    found: dict[str, DirectoryUser] = field(default_factory=lambda: {"r@example.com": DirectoryUser("robot")})

    def find(self, username: str) -> DirectoryUser | None:
        return self.found.get(username)


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


@contextmanager
def tokens_of(settings: Settings) -> Generator[PersonalTokens]:
    """Give the tokens as another process has them."""
    tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
    try:
        yield tokens
    finally:
        tokens.rows.database.close()


def add_role_account(settings: Settings, name: str) -> None:
    with tokens_of(settings) as tokens:
        RoleAccountRows(tokens.rows.database).add(RoleAccount(name, "group:ops", 0))


async def status(gateway: Gateway, authorization: str, path: bytes = PATH, method: str = "GET") -> int:
    headers = [(b"authorization", authorization.encode())]
    return (await call(gateway, http_scope(path, headers, method=method))).status


async def test_a_password_of_a_role_accounts_name_opens_nothing(gateway: Gateway, settings: Settings) -> None:
    add_role_account(settings, "alice")
    with tokens_of(settings) as tokens:
        token = tokens.create("alice", PersonalTokenRequest("nightly"), by="test", is_role=True).text
    password = basic("alice", "wonder")

    asked = [await status(gateway, password), await status(gateway, password, b"/auth/token", "POST")]

    assert asked == [401, 401]
    assert await status(gateway, f"Bearer {token}") == 200
    assert await status(gateway, basic("bob", "builder")) == 200


async def test_a_persons_token_is_made_no_role_accounts(settings: Settings) -> None:
    add_role_account(settings, "alice")

    with tokens_of(settings) as tokens, pytest.raises(InvalidValue, match="role account"):
        tokens.create("alice", PersonalTokenRequest("script"), by="alice")
    with tokens_of(settings) as tokens, pytest.raises(InvalidValue, match="role account"):
        tokens.create("bob", PersonalTokenRequest("script"), by="test", is_role=True)


async def test_another_spelling_of_the_name_is_the_name(gateway: Gateway, settings: Settings) -> None:
    add_role_account(settings, "Alice")

    assert await status(gateway, basic("alice", "wonder")) == 401


async def test_who_came_in_by_password_stays_out_a_second_after(gateway: Gateway, settings: Settings) -> None:
    before = await status(gateway, basic("bob", "builder"))

    add_role_account(settings, "alice")
    await asyncio.sleep(BELIEVED_S)

    assert (before, await status(gateway, basic("alice", "wonder"))) == (200, 401)


async def test_the_name_is_free_again_when_the_role_account_is_gone(gateway: Gateway, settings: Settings) -> None:
    add_role_account(settings, "alice")
    before = await status(gateway, basic("alice", "wonder"))
    with tokens_of(settings) as tokens:
        RoleAccountRows(tokens.rows.database).delete("alice")

    await asyncio.sleep(BELIEVED_S)

    assert (before, await status(gateway, basic("alice", "wonder"))) == (401, 200)


@pytest.mark.parametrize("mode", ["strict", "airflow2"])
@pytest.mark.parametrize(
    "credential",
    [
        pytest.param(Basic("robot", "secret"), id="password"),
        pytest.param(Negotiate(b"\x60"), id="ticket"),
        pytest.param(Bearer("id-token"), id="openid"),
        pytest.param(Absent(), id="session"),
    ],
)
def test_no_kind_of_credential_speaks_for_a_role_account(credential: Credential, mode: Mode) -> None:
    says = Accept(ROBOT)
    backends = tuple(scripted(name, says, takes=frozenset({type(credential)})) for name in ("first", "second"))

    answer = Chain(backends, mode, reserves=lambda identity: identity.username == "robot").ask(credential)

    assert isinstance(answer.outcome, Reject)


def test_who_has_the_e_mail_address_of_a_role_account_is_not_it() -> None:
    lookup = UserLookup((Users(),), reserves=lambda identity: identity.username == "robot")

    with pytest.raises(NoSuchUser, match="role account"):
        lookup.complete(Identity("r@example.com", "google_openid"))


def test_a_session_from_before_is_refused_in_a_flask_app(settings: Settings) -> None:
    content = settings.model_dump() | {"auth_backends": ["session"], "session": {"secret": "s" * 64}}
    app = flask.Flask("test")
    CompatAuth(app, parse_settings(content, origin="test"))
    chain: Chain = app.extensions["compat_auth"].chain
    with app.test_request_context("/", base_url="https://testserver"):
        sessions.log_in(Identity("alice", "basic_auth", directory="htpasswd"))
        cookie = app.process_response(flask.Response()).headers["Set-Cookie"].split(";")[0]
    with app.test_request_context("/", base_url="https://testserver", headers={"Cookie": cookie}):
        before = chain.ask(Absent()).outcome
    add_role_account(settings, "alice")
    time.sleep(BELIEVED_S)

    with app.test_request_context("/", base_url="https://testserver", headers={"Cookie": cookie}):
        after = chain.ask(Absent()).outcome

    assert isinstance(before, Accept)
    assert isinstance(after, Reject)


def test_a_store_that_could_never_be_asked_keeps_everybody_out(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("no database")
    names = RoleAccountNames(RoleAccountRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")))

    with pytest.raises(BackendUnavailable):
        names.reserves(ROBOT)


def test_a_store_that_goes_away_leaves_reserved_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, clock = RoleAccountRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")), Clock()
    rows.add(RoleAccount("robot", "group:ops", 0))
    names = RoleAccountNames(rows, monotonic=clock)
    before = names.reserves(ROBOT)

    def fail(_self: RoleAccountRows) -> tuple[RoleAccount, ...]:
        raise BackendUnavailable("the store")

    monkeypatch.setattr(RoleAccountRows, "list", fail)
    clock.now += 60

    assert (before, names.reserves(ROBOT), names.reserves(Identity("alice", "any"))) == (True, True, False)


def test_a_store_that_hangs_holds_up_one_login_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, clock = RoleAccountRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")), Clock()
    rows.add(RoleAccount("robot", "group:ops", 0))
    names = RoleAccountNames(rows, monotonic=clock)
    names.reserves(ROBOT)
    asked, answered = threading.Event(), threading.Event()

    def hang(_self: RoleAccountRows) -> tuple[RoleAccount, ...]:
        asked.set()
        answered.wait(30)
        raise BackendUnavailable("the store")

    monkeypatch.setattr(RoleAccountRows, "list", hang)
    clock.now += 60
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(names.reserves, ROBOT)
        asked.wait(30)

        meanwhile = names.reserves(ROBOT), names.reserves(Identity("alice", "any"))

        is_waiting = not first.done()
        answered.set()
    assert (is_waiting, meanwhile, first.result()) == (True, (True, False), True)


def test_a_site_without_a_store_reserves_nothing_and_makes_none(tmp_path: Path) -> None:
    names = RoleAccountNames(RoleAccountRows(open_store(f"sqlite:///{tmp_path / 'store.db'}")))

    assert not names.reserves(ROBOT)
    assert not (tmp_path / "store.db").exists()
