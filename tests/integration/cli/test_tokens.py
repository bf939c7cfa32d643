"""`compat-auth tokens`, as an operator runs it."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth.authn.passwords.htpasswd import add_user, delete_user
from compat_auth.cli import commands
from compat_auth.crypto.personal_token_format import PATTERN, parse_text
from compat_auth.errors import ConfigError, InvalidValue, NameTaken, NoSuchToken, NoSuchUser
from compat_auth.store.migration import open_store
from compat_auth.store.tables.denylist import DenylistRows, IssuedToken
from support.certificates import Authority

HASH = "$2b$04$" + "a" * 53


@pytest.fixture
def config(site: str, tmp_path: Path) -> str:
    add_user(tmp_path / "users", "alice", HASH)
    return site


def run(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["tokens", *arguments, "--config", config], catch_exceptions=False)


def create(config: str, name: str = "etl", *more: str) -> str:
    return run(config, "create", "--user", "alice", "--name", name, *more).stdout.strip()


def test_create_prints_the_token_alone(config: str) -> None:
    result = run(config, "create", "--user", "alice", "--name", "etl", "--days", "30", "--scope", "read")

    assert result.exit_code == 0
    assert re.fullmatch(PATTERN + "\n", result.stdout)
    assert '"result": "token created"' in result.stderr
    assert result.stdout.strip() not in result.stderr


def test_create_and_refresh_print_the_token_and_what_is_known_of_it_for_programs(config: str) -> None:
    made = json.loads(run(config, "create", "--user", "alice", "--name", "etl", "--json").stdout)
    again = json.loads(run(config, "refresh", made["id"], "--json").stdout)

    assert re.fullmatch(PATTERN, made["token"])
    assert (made["username"], made["name"], again["id"]) == ("alice", "etl", made["id"])
    assert again["token"] != made["token"]


def test_prune_counts_for_programs(config: str) -> None:
    create(config)

    result = run(config, "prune", "--json")

    assert json.loads(result.stdout) == {"revoked": 0, "waiting": 0, "deleted": 0}


def test_list_tells_all_but_the_secret(config: str) -> None:
    text = create(config, "etl", "--scope", "read", "--scope", "POST /api/v2/x")

    result = run(config, "list", "--json")
    (found,) = json.loads(result.stdout)

    parsed = parse_text(text)
    assert parsed is not None
    assert (found["id"], found["username"], found["name"]) == (parsed.id, "alice", "etl")
    assert found["scopes"] == ["read", "POST /api/v2/x"]
    assert text[20:52] not in result.stdout
    assert f"{parsed.id}  alice  etl  until " in run(config, "list", "--user", "alice").stdout
    assert run(config, "list", "--user", "bob").stdout == ""


def test_refresh_prints_another_token_of_the_same_id(config: str) -> None:
    text = create(config)

    again = run(config, "refresh", text[8:20], "--days", "10", "--overlap", "60").stdout.strip()

    assert parse_text(again) is not None
    assert again[:20] == text[:20]
    assert again != text


def test_revoke_takes_a_token_out_for_good(config: str) -> None:
    text = create(config)

    result = run(config, "revoke", text[8:20])

    assert result.exit_code == 0
    assert run(config, "list", "--json").stdout.strip() == "[]"
    with pytest.raises(NoSuchToken):
        run(config, "revoke", text[8:20])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--user", "nobody", "--name", "etl"), NoSuchUser),
        (("--user", "alice", "--name", ""), InvalidValue),
        (("--user", "alice", "--name", "etl", "--days", "0"), InvalidValue),
        (("--user", "alice", "--name", "etl", "--scope", "reed"), InvalidValue),
        (("--user", "alice", "--name", "taken"), NameTaken),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(
    config: str, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    create(config, "taken")

    with pytest.raises(error):
        run(config, "create", *arguments)


def test_a_wrong_value_is_wrong_usage() -> None:
    assert {error.exit_code for error in (InvalidValue, NameTaken, NoSuchToken)} == {2}


def let_pass(tmp_path: Path, column: str, seconds: int) -> None:
    """Have a moment in the store lie so much further back."""
    with closing(sqlite3.connect(tmp_path / "store.db")) as store, store:
        store.execute(f"UPDATE compat_auth_personal_tokens SET {column} = {column} - {seconds}")  # noqa: S608  # ours


def test_prune_kills_the_tokens_of_users_who_were_deleted_an_hour_ago(config: str, tmp_path: Path) -> None:
    add_user(tmp_path / "users", "bob", HASH)
    create(config)
    run(config, "create", "--user", "bob", "--name", "etl")
    delete_user(tmp_path / "users", "bob")

    first = run(config, "prune").stdout
    let_pass(tmp_path, "owner_missing", 3601)
    again = run(config, "prune").stdout

    assert first == "0 of deleted users revoked, 1 of disabled or missing users rejected, 0 old ones deleted\n"
    assert again == "1 of deleted users revoked, 0 of disabled or missing users rejected, 0 old ones deleted\n"
    assert [one["username"] for one in json.loads(run(config, "list", "--json").stdout)] == ["alice"]


def test_prune_deletes_what_has_been_dead_for_long(config: str, tmp_path: Path) -> None:
    text = create(config)
    run(config, "revoke", text[8:20])
    kept = run(config, "prune").stdout
    let_pass(tmp_path, "revoked", 91 * 86400)

    deleted = run(config, "prune").stdout

    assert kept.endswith(", 0 old ones deleted\n")
    assert deleted.endswith(", 1 old ones deleted\n")


def users(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["users", *arguments, "--config", config], catch_exceptions=False)


def test_a_role_account_has_tokens_and_no_password(config: str) -> None:
    added = users(config, "add", "etl-robot", "--role-account", "--group", "ops")
    text = run(config, "create", "--user", "etl-robot", "--name", "nightly").stdout.strip()
    listed = json.loads(users(config, "list", "--role-accounts", "--json").stdout)
    shown = users(config, "list", "--role-accounts").stdout
    (token,) = json.loads(run(config, "list", "--json").stdout)

    assert added.stdout == "etl-robot: role account added, its tokens are managed by group:ops\n"
    assert parse_text(text) is not None
    assert (listed[0]["name"], listed[0]["owners"]) == ("etl-robot", "group:ops")
    assert shown == "etl-robot\tgroup:ops\n"
    assert token["role_account"] is True


def test_a_person_with_a_password_is_not_made_a_role_account(config: str) -> None:
    text = create(config)

    with pytest.raises(InvalidValue, match="htpasswd has a user of this name"):
        users(config, "add", "alice", "--role-account", "--group", "ops")

    assert users(config, "list", "--role-accounts").stdout == ""
    assert text[8:20] in run(config, "list").stdout


def test_what_a_person_of_that_name_has_left_dies(config: str, tmp_path: Path) -> None:
    create(config)
    delete_user(tmp_path / "users", "alice")

    added = users(config, "add", "alice", "--role-account", "--group", "ops")

    assert added.exit_code == 0
    assert run(config, "list").stdout == ""


def test_a_role_account_goes_with_its_tokens_for_good(config: str) -> None:
    users(config, "add", "robot", "--role-account", "--group", "role:Op")
    run(config, "create", "--user", "robot", "--name", "nightly")

    deleted = users(config, "delete", "robot", "--role-account")
    users(config, "add", "robot", "--role-account", "--group", "ops")

    assert deleted.stdout == "robot: role account deleted, 1 token(s) revoked\n"
    assert run(config, "list").stdout == ""
    users(config, "delete", "robot", "--role-account")
    with pytest.raises(InvalidValue, match="no such role account"):
        users(config, "delete", "robot", "--role-account")


def test_a_jwt_that_a_workload_got_as_a_role_account_goes_with_it(config: str, tmp_path: Path) -> None:
    users(config, "add", "robot", "--role-account", "--group", "role:Op")
    ends = int(time.time()) + 600
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    DenylistRows(store).add(IssuedToken("made", b"d" * 32, "robot", "robot", "workload:1", ends - 600, ends))

    deleted = users(config, "delete", "robot", "--role-account")
    revoked = DenylistRows(store).read(-1).found
    store.close()

    assert deleted.exit_code == 0
    assert "warning" not in deleted.stderr
    assert [(entry.kind, entry.key) for entry in revoked] == [("jti", "made")]


RULES = """
[[workloads]]
issuer = "https://ci.example.com"
audience = "us"
claims = { sub = "nightly" }
account = "robot"
scopes = ["read"]

[[do_as]]
callers = ["portal", "robot"]
users = ["alice"]
"""


def test_the_rules_that_still_name_a_deleted_role_account_are_named(config: str) -> None:
    users(config, "add", "robot", "--role-account", "--group", "role:Op")
    with Path(config).open("a", encoding="utf-8") as file:
        file.write(RULES)

    deleted = users(config, "delete", "robot", "--role-account")

    assert "warning: workloads, do_as: still names robot, " in deleted.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "robot", "--role-account"),
        ("add", "robot", "--role-account", "--group", "ops", "--file", "users"),
        ("add", "robot", "--role-account", "--group", "ops", "--password-stdin"),
        ("add", "robot", "--group", "ops", "--file", "users"),
        ("add", "robot"),
        ("delete", "robot"),
        ("delete", "robot", "--role-account", "--file", "users"),
        ("list",),
    ],
)
def test_what_is_half_a_role_account_is_wrong_usage(config: str, arguments: tuple[str, ...]) -> None:
    assert users(config, *arguments).exit_code == 2


def test_a_role_account_is_there_once(config: str) -> None:
    users(config, "add", "robot", "--role-account", "--group", "ops")

    with pytest.raises(NameTaken):
        users(config, "add", "robot", "--role-account", "--group", "other")


def test_a_role_account_that_the_upstream_cannot_know_is_not_made(config: str) -> None:
    path = Path(config)
    path.write_text(path.read_text().replace('profile = "generic"', 'profile = "airflow-fab"'))

    with pytest.raises(InvalidValue, match="the upstream must know the role account"):
        users(config, "add", "robot", "--role-account", "--group", "ops")


def test_a_deleted_users_tokens_are_revoked_with_the_user(config: str, tmp_path: Path) -> None:
    create(config)

    deleted = users(config, "delete", "alice", "--file", str(tmp_path / "users"))

    assert deleted.stdout.endswith("1 personal token(s) of alice revoked\n")
    add_user(tmp_path / "users", "alice", HASH)
    assert run(config, "list").stdout == ""


@pytest.mark.parametrize("command", [("disable",), ("set-password", "--password-stdin")])
def test_where_a_password_has_leaked_tokens_end_with_it(config: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    create(config)
    arguments = ["users", *command, "alice", "--file", str(tmp_path / "users"), "--revoke", "--config", config]

    ended = CliRunner().invoke(commands, arguments, input="a long password of nobody\n", catch_exceptions=False)

    assert ended.stdout.endswith("1 personal token(s) of alice revoked\n")
    assert run(config, "list").stdout == ""


def test_with_redis_nobody_remembers_a_password_for_longer_than_its_file_is_believed(
    site: str, waited: list[float], tmp_path: Path
) -> None:
    add_user(tmp_path / "users", "alice", HASH)
    path = Path(site)
    path.write_text(f'redis_url = "redis://127.0.0.1:1"\nredis_secret = "{"r" * 32}"\n{path.read_text()}')

    users(site, "disable", "alice", "--file", str(tmp_path / "users"), "--revoke")

    assert waited == [1]


def test_nothing_is_changed_where_nobody_knows_which_tokens_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add_user(tmp_path / "users", "alice", HASH)
    before = (tmp_path / "users").read_bytes()

    with pytest.raises(ConfigError, match="--revoke: no configuration says where"):
        CliRunner().invoke(
            commands, ["users", "disable", "alice", "--file", "users", "--revoke"], catch_exceptions=False
        )

    assert (tmp_path / "users").read_bytes() == before


def test_check_says_how_many_tokens_are_alive_and_which_pepper_is_lost(config: str, tmp_path: Path) -> None:
    create(config)
    right = CliRunner().invoke(commands, ["check", "--config", config])
    (tmp_path / "store.db.pepper").write_text("x" * 64)

    lost = CliRunner().invoke(commands, ["check", "--config", config])

    assert "ok   backend personal_token: 1 active" in right.output
    assert "FAIL backend personal_token: personal_tokens.peppers: 1 tokens need a pepper that is not set" in lost.output


def with_certificates(config: str, tmp_path: Path) -> tuple[str, Path]:
    """Return the configuration of a site that sees certificates, and the file of one."""
    authority = Authority()
    ca, (file, _) = authority.write(tmp_path / "ca.pem"), authority.issue().write(tmp_path, "etl")
    site = Path(config)
    site.write_text(
        site.read_text() + f'[serve]\ntls_cert = "s.pem"\ntls_key = "s.key"\n[client_certificate]\nca_file = "{ca}"\n'
    )
    return str(site), file


def test_a_token_can_be_bound_to_the_certificate_in_a_file_or_by_its_thumbprint(config: str, tmp_path: Path) -> None:
    config, file = with_certificates(config, tmp_path)

    create(config, "by-file", "--certificate", str(file))
    (first,) = json.loads(run(config, "list", "--json").stdout)
    create(config, "by-thumbprint", "--certificate", first["certificate"])
    found = json.loads(run(config, "list", "--json").stdout)

    assert len(first["certificate"]) == 43
    assert {token["certificate"] for token in found} == {first["certificate"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), ("", "no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA\n", "no certificate")],
    ids=["missing", "empty", "broken"],
)
def test_a_file_without_a_certificate_binds_no_token(
    config: str, tmp_path: Path, content: str | None, said: str
) -> None:
    config, _ = with_certificates(config, tmp_path)
    file = tmp_path / "no.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(InvalidValue, match=said):
        create(config, "etl", "--certificate", str(file))

    assert json.loads(run(config, "list", "--json").stdout) == []


def test_where_no_certificate_can_be_seen_no_token_is_bound(config: str, tmp_path: Path) -> None:
    file, _ = Authority().issue().write(tmp_path, "etl")

    with pytest.raises(InvalidValue, match="no client certificate can be seen here"):
        create(config, "etl", "--certificate", str(file))
