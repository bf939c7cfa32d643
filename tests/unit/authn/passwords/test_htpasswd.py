"""Changes to an htpasswd file."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from compat_auth.authn.passwords import htpasswd
from compat_auth.errors import ConfigError

HASH = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
OTHER = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"
# A comment, an empty line, bytes that are not UTF-8, and no line break at the end.
KEPT = b"# people \xff\n\nalice:" + HASH.encode() + b":a comment\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_bytes(KEPT + b"bob:" + HASH.encode())
    path.chmod(0o640)
    return path


def test_every_change_keeps_all_other_lines_and_the_mode(path: Path) -> None:
    htpasswd.add_user(path, "carol", OTHER)
    htpasswd.set_hash(path, "bob", OTHER)
    htpasswd.disable_user(path, "carol")

    assert path.read_bytes() == KEPT + f"bob:{OTHER}\ncarol:!{OTHER}\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["users"]


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new"

    htpasswd.add_user(path, "bob", HASH)

    assert path.read_text() == f"bob:{HASH}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_disabling_and_enabling_give_the_same_password_back(path: Path) -> None:
    before = path.read_bytes()

    htpasswd.disable_user(path, "alice")
    disabled = path.read_bytes()
    htpasswd.disable_user(path, "alice")
    htpasswd.enable_user(path, "alice")

    assert b"alice:!$2y$" in disabled
    assert path.read_bytes() == before + b"\n"


def test_a_new_password_does_not_let_a_disabled_user_in(path: Path) -> None:
    htpasswd.disable_user(path, "bob")

    htpasswd.set_hash(path, "bob", OTHER)

    assert path.read_bytes() == KEPT + f"bob:!{OTHER}\n".encode()


def test_a_new_password_mends_a_name_that_is_there_twice(path: Path) -> None:
    path.write_text(f"bob:{HASH}\nbob:{HASH}\n")

    htpasswd.set_hash(path, "bob", OTHER)

    assert path.read_text() == f"bob:{OTHER}\n"


def test_deleting_takes_every_line_of_the_user_away(path: Path) -> None:
    path.write_text(f"bob:{HASH}\nalice:{HASH}\nbob:{HASH}\n")

    htpasswd.delete_user(path, "bob")

    assert path.read_text() == f"alice:{HASH}\n"


def test_adding_a_user_who_exists_names_the_right_command_and_changes_nothing(path: Path) -> None:
    before = path.read_bytes()

    with pytest.raises(ConfigError, match="set-password bob"):
        htpasswd.add_user(path, "bob", OTHER)

    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [htpasswd.disable_user, htpasswd.enable_user, htpasswd.delete_user])
def test_a_user_who_does_not_exist_is_an_error(change: object, path: Path) -> None:
    assert callable(change)
    with pytest.raises(ConfigError, match="no user 'Bob'"):
        change(path, "Bob")


def test_a_file_that_does_not_exist_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="users add"):
        htpasswd.delete_user(tmp_path / "none", "bob")

    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)

    htpasswd.add_user(link, "carol", HASH)

    assert link.is_symlink()
    assert f"carol:{HASH}\n".encode() in path.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(ConfigError, match="No space left"):
        htpasswd.add_user(path, "carol", HASH)

    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["users"]


def test_writers_at_the_same_time_do_not_lose_each_others_users(tmp_path: Path) -> None:
    path = tmp_path / "users"
    names = [f"user-{number:02}" for number in range(30)]
    writers = [threading.Thread(target=htpasswd.add_user, args=(path, name, HASH)) for name in names]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sorted(entry.name for entry in htpasswd.list_entries(path)) == names


def test_the_list_tells_state_and_scheme(path: Path) -> None:
    path.write_text(f"# x:y\nalice:{HASH}\nbob:!{HASH}\nold:rEK1ecacw.7.c\n")

    assert htpasswd.list_entries(path) == [
        htpasswd.Entry("alice", "active", "bcrypt"),
        htpasswd.Entry("bob", "disabled", "bcrypt"),
        htpasswd.Entry("old", "unusable", ""),
    ]


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "a\x00", " a", "a ", "#a", "a\u2028b", "\ud800"])
def test_a_name_that_would_break_the_file_is_not_valid(name: str) -> None:
    assert not htpasswd.is_valid_name(name)


@pytest.mark.parametrize("name", ["alice", "zoë", "a b", "alice@example.org", "DOMAIN\\alice"])
def test_an_ordinary_name_is_valid(name: str) -> None:
    assert htpasswd.is_valid_name(name)
