"""`compat-auth users`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.authn.passwords.hashes import check_hash, scheme_of
from compat_auth.cli.users import commands as users_module
from compat_auth.cli.users.commands import users
from compat_auth.errors import ConfigError

LONG = "correct horse bättery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(users, [str(argument) for argument in arguments], input=stdin)


def stored_of(path: Path, name: str) -> str:
    return dict(line.split(":", 1) for line in path.read_text().splitlines())[name]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nsecond line\n"])
def test_add_takes_one_line_of_standard_input_as_the_password(ending: str, path: Path) -> None:
    result = run("add", "zoë", "--file", path, "--password-stdin", stdin=LONG + ending)

    assert (result.exit_code, "warning" in result.stderr) == (0, False)
    assert check_hash(stored_of(path, "zoë"), LONG)
    assert stored_of(path, "zoë").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert path.stat().st_mode & 0o777 == 0o600
    assert LONG not in result.output


@pytest.mark.parametrize("password", [" leading", "trailing ", "a:b:c"])
def test_spaces_and_colons_belong_to_the_password(password: str, path: Path) -> None:
    run("add", "bob", "--file", path, "--password-stdin", stdin=password + "\n")

    assert check_hash(stored_of(path, "bob"), password)


def test_a_short_password_is_taken_with_a_warning_on_standard_error(path: Path) -> None:
    result = run("add", "bob", "--file", path, "--password-stdin", stdin="short\n")

    assert result.exit_code == 0
    assert "15 characters" in result.stderr
    assert "warning" not in result.stdout


@pytest.mark.parametrize(
    "stdin",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n", id="empty-line"),
        pytest.param(b"\xff\n", id="not-utf-8"),
        pytest.param(b"a\tb\n", id="control-character"),
        pytest.param(b"a" * 4097, id="too-long"),
    ],
)
def test_a_password_that_cannot_be_one_is_a_usage_error_and_makes_no_file(stdin: bytes, path: Path) -> None:
    result = run("add", "bob", "--file", path, "--password-stdin", stdin=stdin)

    assert result.exit_code == 2
    assert "password" in result.stderr
    assert not path.exists()


@pytest.mark.parametrize("name", ["a:b", "a\nb", "#a", " a", ""])
def test_a_name_that_would_break_the_file_is_a_usage_error(name: str, path: Path) -> None:
    result = run("add", name, "--file", path, "--password-stdin", stdin=LONG)

    assert result.exit_code == 2
    assert "NAME" in result.stderr
    assert not path.exists()


def test_without_a_terminal_the_other_way_is_named(path: Path) -> None:
    result = run("add", "bob", "--file", path, stdin=LONG)

    assert result.exit_code == 2
    assert "--password-stdin" in result.stderr


def test_on_a_terminal_the_password_is_asked_twice_and_not_shown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_module, "_is_terminal", lambda: True)

    result = run("add", "bob", "--file", path, stdin=f"{LONG}\nmistyped\n{LONG}\n{LONG}\n")

    assert result.exit_code == 0
    assert check_hash(stored_of(path, "bob"), LONG)
    assert LONG not in result.output


def test_add_refuses_a_user_who_exists_before_it_asks_for_a_password(path: Path) -> None:
    run("add", "bob", "--file", path, "--password-stdin", stdin=LONG)
    before = path.read_text()

    result = run("add", "bob", "--file", path, stdin="")

    assert isinstance(result.exception, ConfigError)
    assert "set-password" in str(result.exception)
    assert path.read_text() == before


def test_the_life_of_a_user(path: Path) -> None:
    run("add", "bob", "--file", path, "--password-stdin", stdin=LONG)
    results = [
        run("set-password", "bob", "--file", path, "--password-stdin", stdin=LONG + " two"),
        run("disable", "bob", "--file", path),
        run("list", "--file", path, "--json"),
        run("enable", "bob", "--file", path),
        run("list", "--file", path),
    ]
    changed = stored_of(path, "bob")

    deleted = run("delete", "bob", "--file", path)

    assert [result.exit_code for result in (*results, deleted)] == [0] * 6
    assert json.loads(results[2].stdout) == [{"name": "bob", "state": "disabled", "scheme": "argon2"}]
    assert results[4].stdout == "bob\tactive\targon2\n"
    assert (scheme_of(changed), check_hash(changed, LONG + " two")) == ("argon2", True)
    assert path.read_text() == ""


def test_the_first_user_behind_a_byte_order_mark_can_be_changed(path: Path) -> None:
    path.write_text("bob:x\neva:y\n", encoding="utf-8-sig")
    path.chmod(0o600)

    again = run("add", "bob", "--file", path, "--password-stdin", stdin=LONG)
    changed = run("set-password", "bob", "--file", path, "--password-stdin", stdin=LONG)
    listed = run("list", "--file", path)

    assert again.exit_code != 0
    assert changed.exit_code == 0
    assert check_hash(stored_of(path, "bob"), LONG)
    assert stored_of(path, "eva") == "y"
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == ["bob", "eva"]


def test_a_change_leaves_lines_in_another_encoding_as_they_were(path: Path) -> None:
    others = "# René\n  # bob:no user\nandré:x\neva:y:Büro\n".encode("latin-1")
    path.write_bytes(others + b"bob:x\n")
    path.chmod(0o600)

    changed = run("set-password", "bob", "--file", path, "--password-stdin", stdin=LONG)
    listed = run("list", "--file", path)

    assert changed.exit_code == 0
    assert path.read_bytes().startswith(others + b"bob:$argon2id$")
    assert [line.split("\t")[:2] for line in listed.stdout.splitlines()] == [
        ["andr\ufffd", "unusable"],
        ["eva", "unusable"],
        ["bob", "active"],
    ]


def test_a_file_in_utf16_is_not_changed(path: Path) -> None:
    path.write_text("bob:x\r\n", encoding="utf-16")
    path.chmod(0o600)
    before = path.read_bytes()

    results = [run(command, "bob", "--file", path) for command in ("disable", "enable", "delete", "list")]

    assert all(result.exit_code != 0 for result in results)
    assert path.read_bytes() == before
