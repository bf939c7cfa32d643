"""An htpasswd file as a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compat_auth.config import parse_settings
from compat_auth.directory import DirectoryUser, HashDirectory
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.hashing import check_hash
from compat_auth_backends.directories.htpasswd import CHECK_INTERVAL_S, HtpasswdDirectory

# The password is U*U.
HASH = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
LONG_AGO = 1_000_000_000


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def directory(path: Path, clock: Clock) -> HtpasswdDirectory:
    return HtpasswdDirectory(path, monotonic=clock)


def test_a_user_is_found_by_exactly_the_name_and_the_hash_matches(path: Path, directory: HtpasswdDirectory) -> None:
    path.write_text(f"# people\n\nzoë:{HASH}\r\nbob:{HASH}:a comment\n", encoding="utf-8")

    found = [directory.find(name) for name in ("zoë", "bob", "ZOË", "# people", "")]

    assert found == [
        DirectoryUser("zoë", password_hash=HASH),
        DirectoryUser("bob", password_hash=HASH),
        None,
        None,
        None,
    ]
    assert check_hash(HASH, "U*U")
    assert isinstance(directory, HashDirectory)
    assert directory.problems() == []


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        pytest.param("$apr1$salt$qWuNBgxVHT8kpKlkgFVm20", "MD5", id="apache-md5"),
        pytest.param("$1$salt$qjXMvbEw8oaL.CzflDtaK/", "MD5", id="md5-crypt"),
        pytest.param("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "SHA-1", id="sha1"),
        pytest.param("rEK1ecacw.7.c", "DES", id="des"),
        pytest.param("secret", "plain text", id="plain-text"),
        pytest.param("", "no hash", id="empty"),
        pytest.param("$2b$31$" + "a" * 53, "bcrypt", id="absurd-cost"),
    ],
)
def test_a_refused_hash_leaves_a_user_who_cannot_log_in_and_a_problem(
    stored: str, why: str, path: Path, directory: HtpasswdDirectory
) -> None:
    path.write_text(f"# first\nold:{stored}\n")

    user, problems = directory.find("old"), directory.problems()

    assert user == DirectoryUser("old")
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}:2: 'old'")
    assert why in problems[0]
    assert "set-password" in problems[0]
    assert not stored or stored not in problems[0]


def test_a_disabled_user_is_known_but_not_active_and_no_problem(path: Path, directory: HtpasswdDirectory) -> None:
    path.write_text(f"off:!{HASH}\n")

    assert directory.find("off") == DirectoryUser("off", active=False)
    assert directory.problems() == []


def test_a_name_that_is_there_twice_can_log_in_by_neither_password(path: Path, directory: HtpasswdDirectory) -> None:
    path.write_text(f"bob:{HASH}\nbob:{HASH}\n")

    user, problems = directory.find("bob"), directory.problems()

    assert user == DirectoryUser("bob", active=False)
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}:2: 'bob' is also on line 1")


def test_a_line_without_a_colon_is_a_problem_and_no_user(path: Path, directory: HtpasswdDirectory) -> None:
    path.write_text(f"bob {HASH}\n")

    assert directory.find(f"bob {HASH}") is None
    assert len(directory.problems()) == 1
    assert HASH not in directory.problems()[0]


def test_a_change_is_seen_within_a_second(path: Path, directory: HtpasswdDirectory, clock: Clock) -> None:
    path.write_text(f"bob:{HASH}\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    before = directory.find("bob")

    path.write_text(f"eve:{HASH}\n")
    clock.now += 0.99

    assert before is not None
    assert directory.find("bob") is None
    assert directory.find("eve") is not None


def test_a_change_within_one_tick_of_the_clock_is_seen(path: Path, clock: Clock) -> None:
    directory = HtpasswdDirectory(path, monotonic=clock, now=lambda: LONG_AGO + 0.5)
    path.write_text(f"bob:{HASH}\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    before = directory.find("bob")

    path.write_text(f"eve:{HASH}\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    clock.now += CHECK_INTERVAL_S

    assert before is not None
    assert directory.find("bob") is None


def test_a_file_put_in_place_of_the_old_one_is_seen_even_with_the_same_time_and_size(
    path: Path, directory: HtpasswdDirectory, clock: Clock
) -> None:
    path.write_text(f"bob:{HASH}\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    directory.find("bob")

    other = path.with_name("other")
    other.write_text(f"eve:{HASH}\n")
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(path)
    clock.now += CHECK_INTERVAL_S

    assert directory.find("bob") is None


def test_an_unchanged_file_is_not_read_again(
    path: Path, directory: HtpasswdDirectory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(f"bob:{HASH}\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    directory.find("bob")
    decoy = directory.decoy()

    clock.now += 100

    assert directory.decoy() == decoy


@pytest.mark.parametrize("spoil", ["remove", "replace-by-folder", "not-utf-8"])
def test_a_file_that_can_no_longer_be_read_lets_nobody_in(
    spoil: str, path: Path, directory: HtpasswdDirectory, clock: Clock
) -> None:
    path.write_text(f"bob:{HASH}\n")
    directory.find("bob")
    path.unlink()
    if spoil == "replace-by-folder":
        path.mkdir()
    elif spoil == "not-utf-8":
        path.write_bytes(b"\xff:x\n")

    clock.now += CHECK_INTERVAL_S

    for _ in range(2):
        with pytest.raises(BackendUnavailable, match=path.name):
            directory.find("bob")
    assert len(directory.problems()) == 1


def test_a_file_that_is_back_is_read_at_once(path: Path, directory: HtpasswdDirectory, clock: Clock) -> None:
    path.unlink()
    with pytest.raises(BackendUnavailable):
        directory.find("bob")

    path.write_text(f"bob:{HASH}\n")

    assert directory.find("bob") is not None


@pytest.mark.parametrize(("mode", "remedy"), [(0o620, "go-w"), (0o602, "go-w"), (0o644, "o-r")])
def test_a_file_that_others_may_write_or_everybody_read_is_a_problem(
    mode: int, remedy: str, path: Path, directory: HtpasswdDirectory
) -> None:
    path.chmod(mode)

    problems = directory.problems()

    assert len(problems) == 1
    assert remedy in problems[0]


def test_the_decoy_costs_what_the_costliest_user_costs(path: Path, directory: HtpasswdDirectory) -> None:
    path.write_text(f"bob:{HASH}\ncarol:{HASH.replace('$05$', '$07$')}\nold:rEK1ecacw.7.c\n")

    assert directory.decoy().startswith("$2b$07$")


def test_no_file_in_the_settings_is_refused_with_the_key() -> None:
    with pytest.raises(ConfigError, match=r"htpasswd\.file"):
        HtpasswdDirectory.from_settings(parse_settings({}, origin="test"))
