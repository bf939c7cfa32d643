"""A file that says which user a name belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.config import parse_settings
from compat_auth.directory import DirectoryUser, HashDirectory, PasswordDirectory, UserDirectory
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth_backends.directories.mapping import MappingDirectory, parse_mapping
from compat_auth_backends.directories.watched_file import CHECK_INTERVAL_S, SETTLED_S, WatchedFile

TEXT = """
# Who is who.
[[user]]
names = ["alice@EXAMPLE.ORG", "110169484474386276334", "älice@example.org"]
username = "alice"
id = 3
roles = ["Op", "Admin"]
email = "alice@example.org"

[[user]]
username = "bob"
active = false
id = "4"
"""
ALICE = DirectoryUser("alice", email="alice@example.org", roles=("Admin", "Op"), upstream_id="3")


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users.toml"
    path.write_text(TEXT, encoding="utf-8")
    path.chmod(0o600)
    return path


def watched(path: Path, clock: Clock) -> MappingDirectory:
    file = WatchedFile(path, parse_mapping, label="mapping", monotonic=clock, now=lambda: path.stat().st_mtime + 0.1)
    return MappingDirectory(path, file)


@pytest.mark.parametrize("name", ["alice", "alice@EXAMPLE.ORG", "110169484474386276334", "älice@example.org"])
def test_each_name_finds_its_user(name: str, path: Path) -> None:
    assert MappingDirectory.from_path(path).find(name) == ALICE


def test_a_byte_order_mark_does_not_count(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8-sig")

    assert MappingDirectory.from_path(path).find("alice") == ALICE


@pytest.mark.parametrize("name", ["Alice", "alice@example.org", "", "*", "user", "alice@EXAMPLE.ORG "])
def test_no_other_name_finds_anybody(name: str, path: Path) -> None:
    assert MappingDirectory.from_path(path).find(name) is None


def test_a_user_who_is_switched_off_is_known_as_such(path: Path) -> None:
    assert MappingDirectory.from_path(path).find("bob") == DirectoryUser("bob", active=False, upstream_id="4")


def test_it_looks_up_names_and_checks_no_passwords(path: Path) -> None:
    directory: object = MappingDirectory.from_path(path)

    assert isinstance(directory, UserDirectory)
    assert not isinstance(directory, (HashDirectory, PasswordDirectory))


def test_a_change_is_seen_within_its_time(path: Path) -> None:
    clock = Clock()
    directory = watched(path, clock)
    directory.find("alice")

    path.write_text(TEXT.replace('username = "alice"', 'username = "alice"\nactive = false'), encoding="utf-8")
    clock.time += CHECK_INTERVAL_S
    user = directory.find("alice")

    assert user is not None
    assert user.active is False


def test_a_file_that_has_settled_is_not_read_again(path: Path) -> None:
    clock, read = Clock(), list[str]()

    def parse(text: str) -> int:
        read.append(text)
        return len(read)

    file = WatchedFile(
        path,
        parse,
        label="test",
        monotonic=clock,
        now=lambda: path.stat().st_mtime + SETTLED_S + 1,
    )

    file.current()
    clock.time += CHECK_INTERVAL_S

    assert file.current() == 1
    assert len(read) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[[user]\n", "at line 1", id="not-toml"),
        pytest.param("[[user]]\nid = 1\n", r"user\[0\]\.username: Field required", id="no-user-name"),
        pytest.param('[[user]]\nusername = ""\n', r"user\[0\]\.username", id="empty-user-name"),
        pytest.param('[[user]]\nusername = "a"\nactive = "no"\n', r"user\[0\]\.active", id="a-text-for-a-truth"),
        pytest.param('[[user]]\nusername = "a"\nroles = "Admin"\n', r"user\[0\]\.roles", id="a-text-for-a-list"),
        pytest.param('[[user]]\nusername = "a"\nrole = ["Admin"]\n', r"user\[0\]\.role: Extra", id="unknown-key"),
        pytest.param('[[user]]\nusername = "a"\nusername = "b"\n', "at line", id="key-twice"),
        pytest.param('[[user]]\nusername = "a"\n[[user]]\nusername = "a"\n', r"user\[1\]: 'a' belongs", id="user-twice"),
        pytest.param(
            '[[user]]\nusername = "a"\n[[user]]\nusername = "b"\nnames = ["a"]\n', r"'a' belongs to 'a'", id="name-twice"
        ),
        pytest.param('[[user]]\nusername = "a"\nnames = ["b\\u0000"]\n', "cannot be a name", id="nul"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_finds_nobody_and_check_says_where(text: str, message: str, path: Path) -> None:
    clock = Clock()
    directory = watched(path, clock)
    directory.find("alice")

    path.write_text(text, encoding="utf-8")
    clock.time += CHECK_INTERVAL_S

    for _ in range(2):
        with pytest.raises(BackendUnavailable, match=message):
            directory.find("alice")
    assert "nobody is found until it is mended" in directory.problems()[0]


@pytest.mark.parametrize("fault", ["missing", "not-utf-8", "a-folder"])
def test_a_file_that_cannot_be_read_finds_nobody_and_works_again_when_mended(fault: str, path: Path) -> None:
    clock = Clock()
    directory = watched(path, clock)
    directory.find("alice")
    path.unlink()
    if fault == "a-folder":
        path.mkdir()
    elif fault == "not-utf-8":
        path.write_bytes(b"# \xff")
    clock.time += CHECK_INTERVAL_S

    with pytest.raises(BackendUnavailable):
        directory.find("alice")
    if fault == "a-folder":
        path.rmdir()
    path.write_text(TEXT, encoding="utf-8")

    assert directory.find("alice") == ALICE


def test_check_finds_no_fault_with_a_file_that_is_right(path: Path) -> None:
    assert MappingDirectory.from_path(path).problems() == []


def test_check_tells_of_a_file_that_others_may_write_or_that_names_nobody_or_is_missing(path: Path) -> None:
    path.write_text("")
    found = MappingDirectory.from_path(path).problems()
    path.chmod(0o666)

    writable = MappingDirectory.from_path(path).problems()
    missing = MappingDirectory.from_path(path.with_name("missing")).problems()

    assert "names nobody" in found[0]
    assert "lets others change it" in writable[0]
    assert "cannot be read" in missing[0]


def test_the_file_must_be_named(path: Path) -> None:
    found = MappingDirectory.from_settings(parse_settings({"mapping": {"file": str(path)}}, origin="test"))

    assert found.find("alice") == ALICE
    with pytest.raises(ConfigError, match=r"mapping\.file: empty"):
        MappingDirectory.from_settings(parse_settings({}, origin="test"))
