"""`compat-auth db`, as an operator runs it."""

from __future__ import annotations

import re
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.cli import commands
from compat_auth.config import load_settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.personal_tokens.peppers import load_peppers
from compat_auth.store import sqlite_file
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import ALL_UP_TO, DenylistEntry, DenylistRows
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows
from compat_auth.store.tables.sessions import SessionRow, SessionRows

END = 2_000_000_000
NEWEST = "0005_from_0003"


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "compat_auth.toml"
    path.write_text(f'database_url = "sqlite:///{tmp_path / "store.db"}"\n', encoding="utf-8")
    return str(path)


def test_upgrade_creates_the_tables_and_check_finds_them(config: str) -> None:
    upgraded = CliRunner().invoke(commands, ["db", "upgrade", "--config", config], catch_exceptions=False)
    again = CliRunner().invoke(commands, ["db", "upgrade", "--config", config], catch_exceptions=False)
    checked = CliRunner().invoke(commands, ["db", "check", "--config", config], catch_exceptions=False)

    assert "now up to date" in upgraded.output
    assert "as before" in again.output
    assert "up to date" in checked.output
    assert (upgraded.exit_code, again.exit_code, checked.exit_code) == (0, 0, 0)


def test_check_says_what_to_run_when_there_are_no_tables(config: str) -> None:
    with pytest.raises(ConfigError, match="run: compat-auth db upgrade"):
        CliRunner().invoke(commands, ["db", "check", "--config", config], catch_exceptions=False)


def invoke(*arguments: str) -> str:
    return CliRunner().invoke(commands, ["db", *arguments], catch_exceptions=False).output


def make_newer(folder: Path, revision: str) -> None:
    raw = sqlite3.connect(folder / "store.db")
    raw.execute("UPDATE compat_auth_alembic_version SET version_num = ?", (revision,))
    raw.commit()
    raw.close()


def backup(config: str, target: Path) -> Result:
    return CliRunner().invoke(commands, ["db", "backup", str(target), "--config", config], catch_exceptions=False)


def test_a_backup_is_whole_while_others_write(config: str, tmp_path: Path) -> None:
    database = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    rows = SessionRows(database)
    ended = threading.Event()
    written: list[str] = []

    def write() -> None:
        while not ended.is_set():
            rows.add(f"id-{len(written)}", SessionRow("alice", "", "basic_auth", 1, 1))
            written.append(f"id-{len(written)}")

    writer = threading.Thread(target=write)
    writer.start()
    while len(written) < 3:
        time.sleep(0.01)
    before = list(written)
    result = backup(config, tmp_path / "copy.db")
    ended.set()
    writer.join()
    database.close()

    copy = open_store(f"sqlite:///{tmp_path / 'copy.db'}")
    assert result.exit_code == 0
    assert all(SessionRows(copy).find_live(session_id) for session_id in before)
    copy.close()
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".copy*"))


def test_a_backup_overwrites_nothing(config: str, tmp_path: Path) -> None:
    CliRunner().invoke(commands, ["db", "upgrade", "--config", config], catch_exceptions=False)
    (tmp_path / "copy.db").write_text("older")

    with pytest.raises(ConfigError, match="exists already"):
        backup(config, tmp_path / "copy.db")

    assert (tmp_path / "copy.db").read_text() == "older"


def test_a_backup_says_what_else_is_needed(config: str, tmp_path: Path) -> None:
    CliRunner().invoke(commands, ["db", "upgrade", "--config", config], catch_exceptions=False)
    load_peppers(load_settings(config))

    assert "store.db.pepper: without it the personal tokens" in backup(config, tmp_path / "copy.db").stderr


def test_there_is_no_backup_of_nothing(config: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no database yet"):
        backup(config, tmp_path / "copy.db")

    assert not (tmp_path / "copy.db").exists()


def test_a_postgresql_is_backed_up_by_its_own_tool(tmp_path: Path) -> None:
    path = tmp_path / "postgresql.toml"
    path.write_text('database_url = "postgresql+psycopg://user:secret@127.0.0.1/x"')

    result = backup(str(path), tmp_path / "copy.db")

    assert result.exit_code == 2
    assert "run pg_dump" in result.output
    assert "secret" not in result.output


def test_a_downgrade_says_first_what_it_would_delete(config: str) -> None:
    invoke("upgrade", "--config", config)

    refused = CliRunner().invoke(commands, ["db", "downgrade", "0002", "--config", config], catch_exceptions=False)

    assert refused.exit_code == 2
    assert re.search(r"0003: Issued tokens and the denylist(.|\n)*add --yes", refused.output)
    assert f"revision {NEWEST}, up to date" in invoke("check", "--config", config)


def test_tables_go_back_to_an_older_revision_and_forth_again(config: str) -> None:
    invoke("upgrade", "--config", config)

    back = invoke("downgrade", "0001", "--yes", "--config", config)
    again = invoke("downgrade", "0001", "--config", config)
    with pytest.raises(ConfigError, match=f"revision 0001, and this version needs {NEWEST}"):
        invoke("check", "--config", config)
    forth = invoke("upgrade", "--config", config)

    assert ("revision 0001, now" in back, "revision 0001, as before" in again) == (True, True)
    assert f"revision {NEWEST}, now up to date" in forth


@pytest.mark.parametrize("revision", ["0008", "9999", "", "base", "head"])
def test_a_revision_that_the_tables_never_had_is_refused(revision: str, config: str) -> None:
    invoke("upgrade", "--config", config)

    with pytest.raises(ConfigError, match="never had it; they had: 0005, 0004, 0003, 0002, 0001"):
        invoke("downgrade", revision, "--yes", "--config", config)


def test_tables_of_a_newer_version_that_tolerates_this_one_are_as_good(config: str, tmp_path: Path) -> None:
    invoke("upgrade", "--config", config)
    make_newer(tmp_path, "0007_from_0004")

    upgraded, checked = invoke("upgrade", "--config", config), invoke("check", "--config", config)

    assert "revision 0007_from_0004, as before" in upgraded
    assert f"revision 0007_from_0004, newer than this version's {NEWEST}, which can also use it" in checked


@pytest.mark.parametrize("command", [["upgrade"], ["check"], ["downgrade", "0002", "--yes"]])
def test_tables_of_a_newer_version_that_does_not_name_the_next_step(
    command: list[str], config: str, tmp_path: Path
) -> None:
    invoke("upgrade", "--config", config)
    make_newer(tmp_path, "0007_from_0006")

    with pytest.raises(ConfigError, match=rf"0007_from_0006.*newest here: {NEWEST}.*db downgrade {NEWEST[:4]}"):
        invoke(*command, "--config", config)


def test_only_the_newer_version_can_take_its_own_tables_back(config: str, tmp_path: Path) -> None:
    invoke("upgrade", "--config", config)
    make_newer(tmp_path, "0007_from_0004")

    with pytest.raises(ConfigError, match="the version of compat_auth that made them"):
        invoke("downgrade", "0002", "--yes", "--config", config)


def db(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["db", *arguments, "--config", config], catch_exceptions=False)


class Site:
    """A store, as an operator's commands and a running gateway see it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.database = open_store(f"sqlite:///{self.path}")
        self.denials, self.sessions = DenylistRows(self.database), SessionRows(self.database)
        self.tokens = PersonalTokenRows(self.database)

    def denied(self) -> set[str]:
        return {denial.key for denial in self.denials.read(-1).found}

    def start_anew(self, monkeypatch: pytest.MonkeyPatch) -> Site:
        self.database.close()
        monkeypatch.setattr(sqlite_file, "_KNOWN", {})
        return Site(self.path.parent)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A store of which there is a backup, and in which something was ended since."""
    site = Site(tmp_path)
    for name in ("alice", "bob"):
        site.sessions.add(name, SessionRow(name, "", "basic_auth", 1, 1))
    for token_id in ("000000000001", "000000000002"):
        token = PersonalToken(token_id, "alice", "", "", token_id, ("all",), 1, "alice", END, b"d" * 32, "p")
        site.tokens.add(token, limit=9)
    site.denials.revoke([DenylistEntry("jti", "before", END)])
    with closing(sqlite3.connect(site.path)) as reads, closing(sqlite3.connect(tmp_path / "copy.db")) as writes:
        reads.backup(writes)
        writes.execute("PRAGMA journal_mode = DELETE")
    site.denials.revoke([DenylistEntry("jti", "since", END), DenylistEntry("sub", "7", END, 5)])
    site.sessions.end("alice", 9)
    site.tokens.revoke("000000000001", now=9, reason="lost")
    yield site
    site.database.close()


def test_a_restored_store_keeps_what_was_ended_since_the_backup(config: str, tmp_path: Path, site: Site) -> None:
    site.sessions.revoke_all("bob", 0)

    result = db(config, "restore", str(tmp_path / "copy.db"))

    # By connections that were open all the time.
    assert site.denied() == {"before", "since", "7"}
    assert (site.sessions.find_live("alice"), site.sessions.find_live("bob")) == (None, None)
    assert [token.id for token in site.tokens.list() if not token.revoked] == ["000000000002"]
    assert "are kept" in result.output
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("loss", ["deleted", "damaged", "folder"])
def test_a_backup_in_the_place_of_a_lost_store_ends_all_logins(
    config: str, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    site.database.close()
    if loss == "damaged":
        site.path.write_bytes(b"damaged" * 1000)
    else:
        for file in tmp_path.glob("store.db*"):
            if loss == "folder" or not file.name.endswith(".witness"):
                file.unlink()

    result = db(config, "restore", str(tmp_path / "copy.db"))

    found = site.start_anew(monkeypatch)
    assert found.denied() == {"before", ALL_UP_TO}
    assert (found.sessions.find_live("alice"), found.sessions.find_live("bob")) == (None, None)
    assert "every earlier session and JWT is revoked" in result.output


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000, None])
def test_what_is_no_backup_is_not_restored(config: str, tmp_path: Path, site: Site, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "other.db").write_bytes(content)

    with pytest.raises(ConfigError, match="compat-auth db backup"):
        db(config, "restore", str(tmp_path / "other.db"))

    assert site.denied() == {"before", "since", "7"}


def test_a_backup_of_a_newer_version_is_not_restored(config: str, tmp_path: Path, site: Site) -> None:
    with closing(sqlite3.connect(tmp_path / "copy.db")) as raw, raw:
        raw.execute("UPDATE compat_auth_alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigError, match=r"9999.*install"):
        db(config, "restore", str(tmp_path / "copy.db"))

    assert site.denied() == {"before", "since", "7"}


@pytest.mark.parametrize("command", ["restore", "accept"])
def test_a_postgresql_is_restored_by_its_own_tool(tmp_path: Path, command: str) -> None:
    path = tmp_path / "postgresql.toml"
    path.write_text('database_url = "postgresql+psycopg://user:secret@127.0.0.1:1/x"')

    if command == "restore":
        result = db(str(path), "restore", str(tmp_path / "copy.db"))
        assert (result.exit_code, "pg_restore" in result.output, "secret" in result.output) == (2, True, False)
    else:
        with pytest.raises(BackendUnavailable):
            db(str(path), "accept")


def test_a_new_store_is_accepted_in_the_place_of_a_lost_one(
    config: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.database.close()
    for file in site.path.parent.glob("store.db*"):
        if not file.name.endswith(".witness"):
            file.unlink()
    lost = site.start_anew(monkeypatch)
    with pytest.raises(BackendUnavailable, match="db accept"):
        db(config, "upgrade")

    accepted = db(config, "accept")

    found = lost.start_anew(monkeypatch)
    assert found.denied() == {ALL_UP_TO}
    assert "every earlier session and JWT is revoked" in accepted.output


def test_a_store_whose_revocations_are_whole_is_accepted_with_its_logins(config: str, site: Site) -> None:
    db(config, "accept", "--keep-logins")

    assert ALL_UP_TO not in site.denied()
    assert site.sessions.find_live("bob") is not None


def test_upgrade_makes_the_store_that_mode_rw_expects(tmp_path: Path) -> None:
    path = tmp_path / "compat_auth.toml"
    path.write_text(f'database_url = "sqlite:///{tmp_path / "store.db"}?mode=rw"\n', encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="compat-auth db upgrade"):
        db(str(path), "check")

    made = db(str(path), "upgrade")

    assert "now up to date" in made.output
    assert "up to date" in db(str(path), "check").output
