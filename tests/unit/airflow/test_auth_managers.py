"""Airflow's auth managers as directories and makers of tokens; FAB's stand-in has FAB's tables and its way to say no."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask_login import LoginManager
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from compat_auth.airflow.auth_managers import ActiveManager, FabManager, SimpleManager, active_auth_manager
from compat_auth.airflow.in_process import InProcess
from compat_auth.airflow.managers import base
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken, NoSuchUser, NotAuthenticated
from compat_auth.identity import Identity
from compat_auth.tokens.cache import TokenCache
from support.airflow_stand_ins import SigningAuthManager, SimpleAuthManager, activate


class Base(DeclarativeBase):
    pass


class Role(Base):
    __tablename__ = "ab_role"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("ab_user.id"))


class User(Base):
    __tablename__ = "ab_user"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    active: Mapped[bool | None]
    roles: Mapped[list[Role]] = relationship()

    @property
    def is_active(self) -> bool:
        return bool(self.active)


class FabAuthManager:
    """Accepts whose password is the user name, and says no where it cannot ask."""

    def __init__(self, session: Session, app: Flask) -> None:
        self.flask_app = app
        self.security_manager = SimpleNamespace(user_model=User, session=session)
        self.headers: dict[str, str] = {}

    def create_token(self, headers: dict[str, str], body: dict[str, str]) -> User | None:
        self.headers = headers
        try:
            found = self.security_manager.session.query(User).filter_by(username=body["username"]).one_or_none()
        except Exception:  # noqa: BLE001  # as FAB does
            return None
        return found if found is not None and body["password"] == found.username and found.active else None

    def generate_jwt(self, user: User, *, expiration_time_in_seconds: int) -> str:
        return f"fab-{user.id}-{expiration_time_in_seconds}"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = create_engine(f"sqlite:///{tmp_path}/airflow.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for number, (name, active) in enumerate([("admin", True), ("Twin", True), ("twin", True), ("gone", False)], 1):
            roles = [Role(name="Viewer"), Role(name="Admin")]
            session.add(User(id=number, username=name, email=f"{name}@example.com", active=active, roles=roles))
        session.add(User(id=9, username="null", email="", active=None, roles=[]))
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def fab(session: Session) -> FabManager:
    return FabManager(FabAuthManager(session, Flask("fab")))


@pytest.fixture
def simple() -> SimpleManager:
    return SimpleManager(SimpleAuthManager())


@pytest.mark.parametrize("name", ["admin", "ADMIN", "admin@example.com"])
def test_a_user_of_fab_is_found_by_name_without_case_and_by_address(fab: FabManager, name: str) -> None:
    user = fab.find(name)

    assert user is not None
    assert (user.username, user.active, user.upstream_id, user.roles) == ("admin", True, "1", ("Admin", "Viewer"))
    assert user.password_hash == ""


def test_whom_fab_does_not_know_or_two_share_a_name_is_nobody(fab: FabManager) -> None:
    twin = fab.find("TWIN")

    assert fab.find("nobody") is None
    assert twin is not None
    assert not twin.active


@pytest.mark.parametrize("name", ["gone", "null"])
def test_a_user_who_is_not_clearly_active_is_not(fab: FabManager, name: str) -> None:
    user = fab.find(name)

    assert user is not None
    assert not user.active


def test_fab_itself_judges_a_password(fab: FabManager) -> None:
    accepted = fab.check("admin", "admin")

    assert accepted is not None
    assert (accepted.user.username, accepted.user.upstream_id) == ("admin", "1")
    assert [fab.check(*pair) for pair in (("admin", "x"), ("gone", "gone"), ("", "x"), ("admin", ""))] == [None] * 4


def test_fab_sees_the_request_s_headers_and_no_other_credential(session: Session) -> None:
    manager = FabAuthManager(session, Flask("fab"))
    headers = {"X-Tenant": "north", "Authorization": "Basic YTpi", "Cookie": "session=1"}

    with Flask("chain").test_request_context(headers=headers):
        FabManager(manager).check("admin", "admin")

    assert manager.headers == {"host": "localhost", "x-tenant": "north"}


def test_fab_is_asked_outside_a_request_too(session: Session) -> None:
    manager = FabAuthManager(session, Flask("fab"))

    FabManager(manager).check("admin", "admin")

    assert manager.headers == {}


@pytest.mark.parametrize(
    "ask", [lambda fab: fab.find("admin"), lambda fab: fab.check("admin", "admin"), lambda fab: fab.check("x", "x")]
)
def test_a_database_that_cannot_be_asked_is_not_a_no(ask: Callable[[FabManager], object]) -> None:
    with Session(create_engine("sqlite:////nowhere/at/all.db")) as session:
        fab = FabManager(FabAuthManager(session, Flask("fab")))

        with pytest.raises(BackendUnavailable, match="OperationalError"):
            ask(fab)


def test_a_token_is_made_for_the_active_user_of_that_number(fab: FabManager) -> None:
    assert fab.mint(Identity("admin", "kerberos", upstream_id="1"), 60) == "fab-1-60"
    for number in ("4", "9", "77", ""):
        with pytest.raises(NoSuchUser):
            fab.mint(Identity("admin", "kerberos", upstream_id=number), 60)


def test_the_simple_manager_s_users_and_passwords_are_those_of_its_own_settings(simple: SimpleManager) -> None:
    accepted = simple.check("op", "öp")

    assert accepted is not None
    assert accepted.user.roles == ("OP",)
    assert [simple.check(*pair) for pair in (("op", "x"), ("none", ""), ("ghost", "ghost"), ("x", ""))] == [None] * 4
    assert simple.find("ghost") is None
    assert simple.mint(Identity("op", "kerberos"), 60) == "simple-op-60"
    with pytest.raises(NoSuchUser):
        simple.mint(Identity("ghost", "kerberos"), 60)


class OldSimpleAuthManager(SimpleAuthManager):
    """As in 3.0 and 3.1: users are dictionaries, and whoever wants the passwords has to say whose."""

    def get_users(self) -> list[Any]:
        return [{"username": "op", "role": "OP"}, {"username": "none", "role": None}]

    def get_passwords(self, users: list[dict[str, str]]) -> dict[str, str]:  # type: ignore[override]  # as 3.1 has it
        assert users == self.get_users()
        return super().get_passwords()


def test_the_simple_manager_of_3_0_and_3_1_is_asked_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("airflow.api_fastapi.auth.managers.simple.user")
    module.SimpleAuthManagerUser = SimpleNamespace
    monkeypatch.setitem(sys.modules, module.__name__, module)
    simple = SimpleManager(OldSimpleAuthManager())

    accepted = simple.check("op", "öp")

    assert accepted is not None
    assert accepted.user.roles == ("OP",)
    assert [simple.check(*pair) for pair in (("op", "x"), ("none", ""), ("ghost", "ghost"))] == [None] * 3
    assert simple.mint(Identity("op", "kerberos"), 60) == "simple-op-60"


class NewSimpleAuthManager(SimpleAuthManager):
    """As in 3.4: a Bearer is signed apart from a login cookie."""

    def generate_api_jwt(self, user: Any, *, expiration_time_in_seconds: int) -> str:
        return f"api-{user.username}-{expiration_time_in_seconds}"


def test_since_3_4_a_bearer_is_signed_as_one_and_a_login_cookie_as_before() -> None:
    manager = SimpleManager(NewSimpleAuthManager())
    strategy = InProcess(manager, TokenCache(10, lambda: 1000), 60)
    op = Identity("op", "kerberos")

    passed = strategy.obtain(op, Absent(), fresh=False)
    kept = [strategy.issue(op, Absent(), kind).value for kind in ("token", "cli", "session")]

    assert passed.value == "api-op-60"
    assert kept == ["api-op-60", "api-op-60", "simple-op-60"]


async def test_airflow_itself_says_whether_a_token_is_good_and_writes_down_that_it_is_not() -> None:
    manager = SimpleManager(SigningAuthManager())
    manager.open()
    token = manager.mint(Identity("op", "kerberos"), 60)

    claims = await asyncio.to_thread(manager.read, token)
    manager.log_out(token)

    assert claims["sub"] == "op"
    for refused in (token, "no.jwt.atall", ""):
        with pytest.raises(InvalidToken):
            await asyncio.to_thread(manager.read, refused)
    manager.close()
    with pytest.raises(BackendUnavailable):
        await asyncio.to_thread(manager.read, token)


async def test_an_airflow_that_does_not_answer_in_time_is_not_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(SigningAuthManager):
        async def get_user_from_token(self, token: str) -> Any:
            await asyncio.sleep(60)

    monkeypatch.setattr(base, "ANSWER_S", 0.05)
    manager = SimpleManager(Hanging())
    manager.open()

    with pytest.raises(BackendUnavailable):
        await asyncio.to_thread(manager.read, "a.b.c")


def test_an_airflow_before_3_2_has_no_list_to_write_into(simple: SimpleManager) -> None:
    simple.log_out("a.b.c")


def test_a_file_of_passwords_that_cannot_be_read_is_not_a_no(
    simple: SimpleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(_manager: object) -> dict[str, str]:
        raise FileNotFoundError("passwords")

    monkeypatch.setattr(SimpleAuthManager, "get_passwords", cannot)

    with pytest.raises(BackendUnavailable):
        simple.check("op", "öp")


def test_the_active_manager_is_known_by_its_kind_and_so_is_one_that_builds_on_it(
    monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    class OurFab(FabAuthManager):
        pass

    activate(monkeypatch, OurFab(session, Flask("fab")))
    assert isinstance(ActiveManager.from_settings(Settings()), FabManager)

    activate(monkeypatch, SimpleAuthManager())
    assert isinstance(active_auth_manager(), SimpleManager)


def test_before_airflow_has_made_its_manager_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    activate(monkeypatch, None)

    with pytest.raises(ConfigError, match="only inside the API server"):
        active_auth_manager()


def test_outside_airflow_there_is_no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow", None)

    with pytest.raises(ConfigError, match="only inside the API server"):
        active_auth_manager()


def test_a_token_is_kept_and_never_outlives_its_credential(fab: FabManager) -> None:
    now = 1_700_000_000
    strategy = InProcess(fab, TokenCache(10, lambda: now), 600, now=lambda: now)

    plain = strategy.obtain(Identity("admin", "b", upstream_id="1"), Absent(), fresh=False)
    short = strategy.obtain(Identity("admin", "b", upstream_id="1", expires_at=now + 30), Absent(), fresh=False)

    assert (plain.value, short.value) == ("fab-1-600", "fab-1-30")
    with pytest.raises(NotAuthenticated):
        strategy.obtain(Identity("admin", "b", upstream_id="1", expires_at=now), Absent(), fresh=False)


@pytest.mark.parametrize(("left_s", "known"), [(None, True), (1.5, True), (-0.5, False)])
def test_a_session_past_fab_s_maximum_names_nobody(
    monkeypatch: pytest.MonkeyPatch, fab: FabManager, left_s: float | None, known: bool
) -> None:
    sessions = ModuleType("airflow.providers.fab.www.extensions.init_session")
    sessions.get_remaining_session_lifetime = lambda: left_s  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, sessions.__name__, sessions)
    logins = LoginManager(fab.flask_app)
    logins.user_loader(lambda key: f"user {key}")

    fab.end_old_sessions()

    load: Any = logins._user_callback
    assert (load("1") == "user 1") is known


def test_an_older_fab_has_no_maximum(monkeypatch: pytest.MonkeyPatch, fab: FabManager) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.fab.www.extensions.init_session", None)

    fab.end_old_sessions()

    assert not hasattr(fab.flask_app, "login_manager")
