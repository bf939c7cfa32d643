"""What ends with a user of an htpasswd file, so that a later user of the name inherits nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.authn.passwords.htpasswd import add_user, delete_user
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.authn.session_registry import LiveSessions
from compat_auth.cli import commands
from compat_auth.config import Settings, load_settings
from compat_auth.identity import Identity
from compat_auth.personal_tokens.request import PersonalTokenRequest
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.store.tables.denylist import DenylistRows, IssuedToken

HASH = "$2b$04$" + "a" * 53
MAPPED = '[[user]]\nusername = "alice"\n'


@pytest.fixture
def config(tmp_path: Path) -> str:
    add_user(tmp_path / "users", "alice", HASH)
    path = tmp_path / "site.toml"
    path.write_text(
        f"""
        auth_backends = ["session", "basic_auth", "personal_token"]
        database_url = "sqlite:///{tmp_path / "store.db"}"
        [upstream]
        profile = "generic"
        [session]
        secret = "{"s" * 64}"
        [basic_auth]
        directories = ["htpasswd"]
        [htpasswd]
        file = "{tmp_path / "users"}"
        """,
        encoding="utf-8",
    )
    return str(path)


def users(verb: str, tmp_path: Path, *arguments: str) -> Result:
    command = ["users", verb, "alice", "--file", str(tmp_path / "users"), *arguments]
    return CliRunner().invoke(commands, command, input="a password of some length\n", catch_exceptions=False)


class Left:
    """What alice has in the store: a personal token, a JWT and a session."""

    def __init__(self, settings: Settings) -> None:
        self._tokens = PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream)
        sessions = LiveSessions.from_settings(settings)
        assert sessions is not None
        self._sessions = sessions
        self._denials = DenylistRows(self._tokens.rows.database)
        self._made = self._tokens.create("alice", PersonalTokenRequest("etl"), by="alice")
        now = int(time.time())
        self._denials.add(IssuedToken("a" * 32, bytes(32), "alice", "alice", "", now, now + 600))
        sessions.start(Identity("alice", "basic_auth", directory="htpasswd"))

    def alive(self) -> tuple[bool, bool, bool]:
        """Return what of these is good still, in that order."""
        token = self._tokens.rows.find(self._made.token.id)
        assert token is not None
        denied = self._denials.read(-1).found
        return token.revoked is None, not denied, bool(self._sessions.list_live("alice"))


@pytest.fixture
def left(config: str) -> Left:
    return Left(load_settings(config))


def test_all_ends_with_the_user(config: str, left: Left, tmp_path: Path) -> None:
    before = left.alive()

    deleted = users("delete", tmp_path, "--config", config)

    assert before == (True, True, True)
    assert left.alive() == (False, False, False)
    assert deleted.stdout.endswith("1 personal token(s) of alice revoked\n")
    assert "warning" not in deleted.stderr


def test_the_configuration_is_found_where_it_always_is(
    config: str, left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPAT_AUTH_CONFIG", config)

    users("delete", tmp_path)

    assert left.alive() == (False, False, False)


def test_where_nobody_knows_the_store_that_is_said(left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    deleted = users("delete", tmp_path)

    assert deleted.exit_code == 0
    assert "are not revoked, and a new user" in deleted.stderr
    assert left.alive() == (True, True, True)


def test_who_gets_the_name_of_a_former_user_inherits_nothing(config: str, left: Left, tmp_path: Path) -> None:
    delete_user(tmp_path / "users", "alice")

    added = users("add", tmp_path, "--password-stdin", "--config", config)

    assert "1 personal token(s) of a former alice revoked\n" in added.stdout
    assert left.alive() == (False, False, False)


def test_whom_another_directory_knows_keeps_what_is_there(config: str, left: Left, tmp_path: Path) -> None:
    delete_user(tmp_path / "users", "alice")
    (tmp_path / "users.toml").write_text(MAPPED)
    (tmp_path / "users.toml").chmod(0o600)
    lookup = f'[lookup]\ndirectories = ["mapping"]\n[mapping]\nfile = "{tmp_path / "users.toml"}"\n'
    Path(config).write_text(Path(config).read_text() + lookup)

    added = users("add", tmp_path, "--password-stdin", "--config", config)

    assert added.exit_code == 0
    assert left.alive() == (True, True, True)


def test_a_directory_that_cannot_be_asked_ends_nothing_and_that_is_said(
    config: str, left: Left, tmp_path: Path
) -> None:
    (tmp_path / "users").unlink()

    added = users("add", tmp_path, "--password-stdin", "--config", config)

    assert added.exit_code == 0
    assert "tokens and sessions of a former alice are not revoked" in added.stderr
    assert left.alive() == (True, True, True)


def test_a_first_user_needs_no_store(config: str, tmp_path: Path) -> None:
    (tmp_path / "users").unlink()

    added = users("add", tmp_path, "--password-stdin", "--config", config)

    assert (added.exit_code, "warning" in added.stderr) == (0, False)
    assert not (tmp_path / "store.db").exists()


def test_all_tokens_of_a_user_are_revoked_by_one_command(config: str, left: Left) -> None:
    command = ["tokens", "revoke", "--user", "alice", "--config", config]

    revoked = CliRunner().invoke(commands, command, catch_exceptions=False)

    assert revoked.stdout == "1 token(s) of alice revoked\n"
    assert left.alive()[0] is False


@pytest.mark.parametrize("arguments", [(), ("a" * 12, "--user", "alice")])
def test_one_token_or_one_user_is_named(config: str, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(commands, ["tokens", "revoke", *arguments, "--config", config])

    assert result.exit_code == 2
