"""An htpasswd file as a directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compat_auth.authn.passwords.hashes import check_hash
from compat_auth.config import parse_settings
from compat_auth.directory import DirectoryUser, HashDirectory
from compat_auth.errors import BackendUnavailable, ConfigError
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


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("# René, Paris".encode("latin-1"), id="comment"),
        pytest.param("  \t# René, Paris".encode("latin-1"), id="comment-after-blanks"),
        pytest.param(f"rené:{HASH}".encode("latin-1"), id="name"),
        pytest.param(f"rene:{HASH}é".encode("latin-1"), id="hash"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
        pytest.param(b"\x00", id="nul"),
        pytest.param(b":" + HASH.encode(), id="no-name"),
        pytest.param(b"  \t ", id="blanks"),
        pytest.param(b"\xef\xbb\xbf# a mark where two files were joined", id="mark-inside"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_that_cannot_be_read_keeps_nobody_else_out(
    line: bytes, end: bytes, path: Path, directory: HtpasswdDirectory
) -> None:
    others = [f"bob:{HASH}".encode(), f"zoë:{HASH}".encode()]
    path.write_bytes(end.join([others[0], line, others[1]]))

    found = [directory.find(name) for name in ("bob", "zoë", "rene", "rené")]

    assert found == [DirectoryUser("bob", password_hash=HASH), DirectoryUser("zoë", password_hash=HASH), None, None]
    assert all(problem.startswith(f"{path}:2: ") for problem in directory.problems())


def test_a_line_that_is_not_utf8_is_named_by_check_and_log(
    path: Path, directory: HtpasswdDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(f"bob:{HASH}\n".encode() + f"rené:{HASH}\nandré:{HASH}\n".encode("latin-1"))

    problems = directory.problems()

    assert [problem.partition(": ")[0] for problem in problems] == [f"{path}:2", f"{path}:3"]
    assert all("not UTF-8; save the file as UTF-8" in problem for problem in problems)
    assert caplog.messages == [f"htpasswd {problems[0]} (2 such lines; see `compat-auth check`)"]
    assert HASH not in caplog.text + "".join(problems)


def test_a_further_field_in_any_encoding_is_a_comment(path: Path, directory: HtpasswdDirectory) -> None:
    path.write_bytes(f"bob:{HASH}:Robert Müller, Büro:/home/bob\n".encode("latin-1"))

    assert directory.find("bob") == DirectoryUser("bob", password_hash=HASH)
    assert directory.problems() == []


@pytest.mark.parametrize("first", ["bob", "zoë"])
def test_a_byte_order_mark_is_no_letter_of_the_first_name(first: str, path: Path, directory: HtpasswdDirectory) -> None:
    path.write_text(f"{first}:{HASH}\r\neva:{HASH}\r\n", encoding="utf-8-sig")

    assert directory.find(first) == DirectoryUser(first, password_hash=HASH)
    assert directory.find("eva") == DirectoryUser("eva", password_hash=HASH)
    assert directory.problems() == []


def test_a_name_behind_a_byte_order_mark_and_again_below_can_log_in_by_neither(
    path: Path, directory: HtpasswdDirectory
) -> None:
    path.write_text(f"bob:{HASH}\nbob:{HASH}\n", encoding="utf-8-sig")

    assert directory.find("bob") == DirectoryUser("bob", active=False)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf16_lets_nobody_in_and_says_so(encoding: str, path: Path, directory: HtpasswdDirectory) -> None:
    path.write_bytes((b"" if encoding == "utf-16" else "\ufeff".encode(encoding)) + f"bob:{HASH}\r\n".encode(encoding))

    assert directory.find("bob") is None
    assert directory.problems() == [f"{path}:1: the file is UTF-16, so nobody can log in; save it as UTF-8"]


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
