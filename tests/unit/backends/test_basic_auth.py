"""User names and passwords in directories, and the module as Airflow 2 would use it."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import flask
import pytest
from werkzeug.security import generate_password_hash

from compat_auth.authn.passwords.hash_pool import HashPool
from compat_auth.authn.passwords.hashes import decoy_like
from compat_auth.authn.users import directories
from compat_auth.authn.users.directories import load_directories
from compat_auth.config import parse_settings
from compat_auth.credentials import Basic, Bearer
from compat_auth.directory import DirectoryUser, PasswordAccepted, UserRefused
from compat_auth.errors import BackendNotFound, BackendUnavailable, ConfigError
from compat_auth.guard import current_identity
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept, Outcome, Reject, Skip
from compat_auth_backends import basic_auth
from compat_auth_backends.basic_auth import BasicAuthBackend

SECRET = generate_password_hash("pässword", "pbkdf2:sha256:1000")


@dataclass
class Hashes:
    """Users in memory."""

    users: dict[str, DirectoryUser]
    name: str = "hashes"
    asked: list[str] = field(default_factory=list[str])

    def find(self, username: str) -> DirectoryUser | None:
        self.asked.append(username)
        return self.users.get(username.lower())

    def decoy(self) -> str:
        return decoy_like(user.password_hash for user in self.users.values())


@dataclass
class Passwords:
    """A source that keeps its secrets."""

    answers: dict[tuple[str, str], PasswordAccepted]
    name: str = "passwords"
    down: bool = False
    asked: list[str] = field(default_factory=list[str])

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        if self.down:
            raise BackendUnavailable("passwords: down")
        self.asked.append(username)
        return self.answers.get((username, password))


def alice(**fields: object) -> DirectoryUser:
    return DirectoryUser(**{"username": "alice", "password_hash": SECRET, **fields})  # type: ignore[arg-type]  # by name


@dataclass
class Deciding(Passwords):
    """One that knows who may not log in."""

    refused: dict[str, str] = field(default_factory=dict[str, str])

    def decide(self, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        accepted = self.check(username, password)
        return UserRefused(self.refused[username]) if username in self.refused else accepted


@dataclass
class Findable(Passwords):
    """One that knows who is disabled when it is asked for the user."""

    users: dict[str, DirectoryUser] = field(default_factory=dict[str, DirectoryUser])

    def find(self, username: str) -> DirectoryUser | None:
        return self.users.get(username)


def backend_of(*directories: Hashes | Passwords) -> BasicAuthBackend:
    return BasicAuthBackend(directories, pool=HashPool(1, max_waiting=8), realm="Lab", reusable_s=30)


def answer(backend: BasicAuthBackend, username: str, password: str) -> Outcome:
    return backend.authenticate(Basic(username, password))


def test_the_right_password_is_accepted_under_the_canonical_name_for_the_time_it_may_be_believed() -> None:
    user = alice(email="a@example.org", roles=("Op",), upstream_id="4")
    backend = backend_of(Hashes({"alice": user}))

    outcome = answer(backend, "ALICE", "pässword")

    identity = Identity(
        "alice",
        "basic_auth",
        subject="alice",
        directory="hashes",
        email="a@example.org",
        roles=("Op",),
        upstream_id="4",
    )
    assert outcome == Accept(identity, reusable_s=30)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        pytest.param(alice(), "password", id="wrong-password"),
        pytest.param(alice(active=False), "pässword", id="disabled"),
        pytest.param(alice(password_hash=""), "pässword", id="no-hash"),
        pytest.param(alice(password_hash="pässword"), "pässword", id="plain-text-in-the-directory"),
        pytest.param(alice(password_hash="!" + SECRET), "pässword", id="locked-hash"),
    ],
)
def test_the_directory_that_knows_the_user_decides_even_if_the_next_would_let_in(
    user: DirectoryUser, password: str
) -> None:
    second = Hashes({"alice": alice()}, name="second")
    third = Passwords({("alice", password): PasswordAccepted(alice())})

    outcome = answer(backend_of(Hashes({"alice": user}), second, third), "alice", password)

    assert isinstance(outcome, Reject)
    assert outcome.status == 401
    assert (second.asked, third.asked) == ([], [])


def test_a_user_unknown_to_the_first_directory_is_looked_for_in_the_next() -> None:
    backend = backend_of(Hashes({}, name="first"), Passwords({}), Hashes({"alice": alice()}, name="last"))

    outcome = answer(backend, "alice", "pässword")

    assert isinstance(outcome, Accept)
    assert outcome.identity.directory == "last"


def test_a_password_directory_brings_its_token_along() -> None:
    token = Token("header.payload.signature", 2_000_000_000)
    backend = backend_of(Passwords({("bob", "pw"): PasswordAccepted(DirectoryUser("bob"), token)}))

    outcome = answer(backend, "bob", "pw")

    assert isinstance(outcome, Accept)
    assert outcome.token == token


def test_a_password_directory_cannot_let_a_disabled_user_in() -> None:
    backend = backend_of(Passwords({("bob", "pw"): PasswordAccepted(DirectoryUser("bob", active=False))}))

    assert isinstance(answer(backend, "bob", "pw"), Reject)


@pytest.mark.parametrize("password", ["pässword", "of the next directory"])
def test_a_user_whom_a_password_directory_refuses_is_let_in_by_no_later_one(password: str) -> None:
    first = Deciding({}, name="first", refused={"alice": "password expired"})
    passwords = Passwords({("alice", password): PasswordAccepted(alice())})
    hashes = Hashes({"alice": alice()})

    outcome = answer(backend_of(first, passwords, hashes), "alice", password)

    assert isinstance(outcome, Reject)
    assert outcome.reason == "first: password expired"
    assert (passwords.asked, hashes.asked) == ([], [])


def test_a_wrong_password_in_a_deciding_directory_leaves_the_next_to_decide() -> None:
    first = Deciding({}, name="first", refused={"bob": "locked"})

    outcome = answer(backend_of(first, Hashes({"alice": alice()})), "alice", "pässword")

    assert isinstance(outcome, Accept)


def test_a_user_whom_a_password_directory_finds_disabled_is_let_in_by_no_later_one() -> None:
    first = Findable({}, name="first", users={"alice": alice(active=False)})
    second = Hashes({"alice": alice()})

    outcome = answer(backend_of(first, second), "alice", "pässword")

    assert isinstance(outcome, Reject)
    assert second.asked == []


def test_a_directory_that_is_down_is_not_passed_over_for_the_next() -> None:
    second = Hashes({"alice": alice()})

    with pytest.raises(BackendUnavailable):
        answer(backend_of(Passwords({}, down=True), second), "alice", "pässword")

    assert second.asked == []


def test_no_reason_shows_the_password_or_the_hash() -> None:
    backend = backend_of(Hashes({"alice": alice()}))

    outcomes = repr(
        [answer(backend, "alice", "wr0ng"), answer(backend, "nobody", "wr0ng"), answer(backend, "alice", "pässword")]
    )

    assert "wr0ng" not in outcomes
    assert SECRET not in outcomes


def small_app(config: object) -> flask.Flask:
    app = flask.Flask("small")
    app.config["COMPAT_AUTH"] = config
    basic_auth.init_app(app)

    @app.get("/")
    @basic_auth.requires_authentication
    def hello() -> str:
        return f"hello {current_identity.username}"

    return app


@pytest.mark.parametrize("as_settings", [True, False])
def test_the_module_guards_a_ten_line_app_as_in_airflow_2(tmp_path: Path, as_settings: bool) -> None:
    path = tmp_path / "users"
    # A colon parts name and hash, so an htpasswd file cannot hold werkzeug's forms.
    path.write_text("alice:$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
    content = {"basic_auth": {"directories": ["htpasswd"], "realm": "Lab"}, "htpasswd": {"file": str(path)}}
    client = small_app(parse_settings(content, origin="test") if as_settings else content).test_client()

    right, wrong, nothing = (
        client.get("/", auth=("alice", "U*U")),
        client.get("/", auth=("alice", "x")),
        client.get("/"),
    )

    assert (right.status_code, right.text) == (200, "hello alice")
    assert (wrong.status_code, nothing.status_code) == (401, 401)
    assert wrong.headers["WWW-Authenticate"] == 'Basic realm="Lab", charset="UTF-8"'
    assert basic_auth.CLIENT_AUTH is None


def test_the_scheme_is_matched_without_case(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("alice:$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n")
    content = {"basic_auth": {"directories": "htpasswd"}, "htpasswd": {"file": str(path)}}
    pair = base64.b64encode(b"alice:U*U").decode()

    response = small_app(content).test_client().get("/", headers={"Authorization": f"bAsIc {pair}"})

    assert response.status_code == 200


def test_a_file_that_is_gone_is_503_with_retry_after(tmp_path: Path) -> None:
    content = {"basic_auth": {"directories": ["htpasswd"]}, "htpasswd": {"file": str(tmp_path / "none")}}

    response = small_app(content).test_client().get("/", auth=("alice", "U*U"))

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"


def test_an_app_without_init_app_says_what_to_call() -> None:
    app = flask.Flask("forgetful")
    view = basic_auth.requires_authentication(lambda: "in")

    with app.test_request_context("/"), pytest.raises(ConfigError, match="init_app"):
        view()


def test_a_setting_of_the_app_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"COMPAT_AUTH.*basic_auth\.directory"):
        small_app({"basic_auth": {"directory": ["htpasswd"]}})


def test_app_settings_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(ConfigError, match="neither Settings nor a mapping"):
        small_app("basic_auth")


def test_an_unknown_directory_is_refused_with_its_place_and_the_likely_name() -> None:
    with pytest.raises(BackendNotFound) as caught:
        load_directories(["htpaswd"], parse_settings({}, origin="test"))

    assert "basic_auth.directories[0]" in str(caught.value)
    assert "did you mean 'htpasswd'?" in str(caught.value)
    assert "installed: airflow_db, auth_manager, htpasswd, " in str(caught.value)


@pytest.mark.parametrize("names", [pytest.param([], id="none"), pytest.param(["htpasswd", "htpasswd"], id="twice")])
def test_a_list_of_directories_that_makes_no_sense_is_refused(names: list[str], tmp_path: Path) -> None:
    settings = parse_settings({"htpasswd": {"file": str(tmp_path / "users")}}, origin="test")

    with pytest.raises(ConfigError):
        load_directories(names, settings)


class Nothing:
    """What an entry point may hold by mistake."""

    @classmethod
    def from_settings(cls, settings: object) -> Nothing:
        return cls()


def install(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    def installed(*, group: str, name: str = "odd") -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for value in values]

    monkeypatch.setattr(directories, "entry_points", installed)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        pytest.param(["test_basic_auth_absent:Directory"], "test_basic_auth_absent is missing", id="not-importable"),
        pytest.param(["a:B", "c:D"], "provided twice", id="provided-twice"),
    ],
)
def test_a_directory_that_cannot_be_had_is_refused(
    values: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, *values)

    with pytest.raises(ConfigError, match=why):
        load_directories(["odd"], parse_settings({}, origin="test"))


def test_an_entry_point_that_is_no_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "odd_directory", sys.modules[__name__])
    install(monkeypatch, "odd_directory:Nothing")

    with pytest.raises(ConfigError, match="neither a user nor a password directory"):
        load_directories(["odd"], parse_settings({}, origin="test"))


@pytest.mark.parametrize(
    ("address", "client"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="ipv4"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="ipv6-customer"),
        pytest.param("unix:", "unix:", id="no-address"),
        pytest.param(None, "", id="unknown"),
    ],
)
def test_checks_count_against_the_address_or_the_ipv6_network_of_the_caller(
    address: str | None, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, clients = backend_of(Hashes({"alice": alice()})), list[str]()

    def run(check: Callable[[], bool], *, client: str) -> bool:
        clients.append(client)
        return check()

    monkeypatch.setattr(backend.pool, "run", run)

    with flask.Flask("app").test_request_context("/", environ_base={"REMOTE_ADDR": address}):
        answer(backend, "alice", "wrong")
        answer(backend, "nobody", "wrong")

    assert clients == [client, client]


def test_another_kind_of_credential_is_left_to_the_next_backend() -> None:
    assert backend_of(Hashes({})).authenticate(Bearer("token")) == Skip()


def test_a_directory_that_only_looks_up_names_cannot_check_passwords(tmp_path: Path) -> None:
    settings = parse_settings(
        {"basic_auth": {"directories": ["mapping"]}, "mapping": {"file": str(tmp_path / "users.toml")}}, origin="test"
    )

    with pytest.raises(ConfigError, match=r"'mapping' only looks up names; it belongs in lookup\.directories"):
        BasicAuthBackend.from_settings(settings)
