"""`compat-auth import`: each old setting about logins is taken over, changed, or named with the reason."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from compat_auth.cli.migration.command import MUST_ACT
from compat_auth.errors import ConfigError
from support.old_airflow_files import imported_content, run_import

SECRET = "s" * 64
LDAP = """
from flask_appbuilder.security.manager import AUTH_LDAP
import os
AUTH_TYPE = AUTH_LDAP
AUTH_LDAP_SERVER = "ldap://ldap.example.org"
AUTH_LDAP_USE_TLS = True
AUTH_LDAP_SEARCH = "ou=people," + "dc=example,dc=org"
AUTH_LDAP_UID_FIELD = "sAMAccountName"
AUTH_LDAP_SEARCH_FILTER = "(memberOf=cn=airflow,dc=example,dc=org)"
AUTH_LDAP_BIND_USER = "cn=reader,dc=example,dc=org"
AUTH_LDAP_BIND_PASSWORD = os.environ.get("LDAP_PASSWORD", "bind-pässword")
AUTH_LDAP_GROUP_FIELD = "memberOf"
AUTH_ROLES_MAPPING = {"cn=admins,dc=example,dc=org": ["Admin"]}
AUTH_ROLES_SYNC_AT_LOGIN = True
PERMANENT_SESSION_LIFETIME = 60 * 60
"""


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("airflow.api.auth.backend.basic_auth", ["basic_auth"]),
        (
            "airflow.providers.fab.auth_manager.api.auth.backend.session, airflow.api.auth.backend.basic_auth",
            ["session", "basic_auth"],
        ),
        ("airflow.auth.managers.fab.api.auth.backend.basic_auth", ["basic_auth"]),
        ("airflow.api.auth.backend.deny_all", ["deny_all"]),
        ("airflow.api.auth.backend.basic_auth,basic_auth", ["basic_auth"]),
    ],
)
def test_the_old_list_is_taken_over(listed: str, names: list[str]) -> None:
    result = run_import({"airflow.cfg": f"[api]\nauth_backends = {listed}\n"})

    assert result.exit_code == 0, result.output
    assert imported_content()["auth_backends"] == names
    assert imported_content()["token"] == {"strategy": "exchange"}
    assert imported_content()["basic_auth"] == {"directories": ["upstream"]}


def test_the_singular_of_old_counts_where_the_plural_is_not_set() -> None:
    run_import({"airflow.cfg": "[api]\nauth_backend = airflow.api.auth.backend.deny_all\n"})

    assert imported_content()["auth_backends"] == ["deny_all"]


def test_without_a_list_airflow_2_s_own_default_counts() -> None:
    run_import({"airflow.cfg": "[core]\n"})

    assert imported_content()["auth_backends"] == ["session"]


def test_a_module_of_the_site_s_own_keeps_its_name_and_needs_a_person() -> None:
    result = run_import({"airflow.cfg": "[api]\nauth_backends = acme.auth\n"})

    assert result.exit_code == MUST_ACT
    assert imported_content()["auth_backends"] == ["acme.auth"]
    assert "ACT  changed: [api] auth_backends" in result.output


def test_a_variable_counts_more_than_the_file() -> None:
    files = {
        "a.env": 'export AIRFLOW__API__AUTH_BACKENDS="airflow.api.auth.backend.deny_all"\n# no comment\n',
        "airflow.cfg": "[api]\nauth_backends = airflow.api.auth.backend.basic_auth\n",
    }

    run_import(files)

    assert imported_content()["auth_backends"] == ["deny_all"]


def test_kerberos_is_taken_over_with_airflow_s_secret() -> None:
    text = f"""
[api]
auth_backends = airflow.api.auth.backend.kerberos_auth
[kerberos]
keytab = /etc/airflow.keytab
principal = airflow/host.example.org@EXAMPLE.ORG
reinit_frequency = 3600
[api_auth]
jwt_secret = {SECRET}
[core]
sql_alchemy_conn = postgresql://reader:pa%%ss@db/airflow
"""

    result = run_import({"airflow.cfg": text})

    assert result.exit_code == 0, result.output
    assert imported_content()["kerberos"]["keytab"] == "/etc/airflow.keytab"
    assert imported_content()["kerberos"]["service_if_keyed"] == ["HTTP", "airflow"]
    assert imported_content()["token"] == {"strategy": "shared_secret", "secret": SECRET}
    assert imported_content()["airflow_db"] == {"url": "postgresql://reader:pa%ss@db/airflow"}
    assert SECRET not in result.output


def test_tickets_without_airflow_s_secret_need_a_person() -> None:
    result = run_import({"airflow.cfg": "[api]\nauth_backends = airflow.api.auth.backend.kerberos_auth\n"})

    assert result.exit_code == MUST_ACT
    assert "set token.strategy and token.secret" in result.output


def test_fab_s_ldap_is_ours() -> None:
    cfg = f"[api]\nauth_backends = airflow.api.auth.backend.basic_auth\n[api_auth]\njwt_secret = {SECRET}\n"
    cfg += "[database]\nsql_alchemy_conn = postgresql://reader@db/airflow\n"

    result = run_import({"airflow.cfg": cfg, "webserver_config.py": LDAP})

    assert result.exit_code == 0, result.output
    assert imported_content()["basic_auth"] == {"directories": ["ldap", "airflow_db"]}
    assert imported_content()["session"] == {"idle_s": 3600}
    assert imported_content()["ldap"] == {
        "url": ["ldap://ldap.example.org"],
        "start_tls": True,
        "base": "ou=people,dc=example,dc=org",
        "username_attribute": "sAMAccountName",
        "user_filter": "(&(memberOf=cn=airflow,dc=example,dc=org)(sAMAccountName={username}))",
        "bind_dn": "cn=reader,dc=example,dc=org",
        "bind_password": "bind-pässword",
        "member_of": "memberOf",
        "roles": {"cn=admins,dc=example,dc=org": ["Admin"]},
    }
    assert "bind-pässword" not in result.output


def test_a_variable_that_the_python_reads_is_taken_from_the_file_of_variables() -> None:
    run_import({"x.env": "LDAP_PASSWORD=from-there\n", "webserver_config.py": LDAP})

    assert imported_content()["ldap"]["bind_password"] == "from-there"


@pytest.mark.parametrize(
    "line",
    [
        "AUTH_LDAP_SERVER = find_server()",
        "AUTH_LDAP_BIND_PASSWORD = os.environ['NOT_SET']",
        "if True:\n    AUTH_ROLE_PUBLIC = 'Admin'",
        "try:\n    AUTH_TYPE = 4\nexcept ImportError:\n    AUTH_TYPE = 1",
        "AUTH_LDAP_SERVER += 'x'",
        "AUTH_LDAP_ALLOW_SELF_SIGNED = True",
        "AUTH_LDAP_USERNAME_FORMAT = 'uid=%s,dc=x'",
        "SECURITY_MANAGER_CLASS = 'acme.Manager'",
        "AUTH_SOMETHING_NEW = 1",
    ],
)
def test_what_only_a_person_can_take_over_is_named(line: str) -> None:
    result = run_import({"webserver_config.py": f"import os\nAUTH_TYPE = 2\n{line}\n"})

    assert result.exit_code == MUST_ACT, result.output
    assert f"ACT  cannot be taken over: {line.partition('=')[0].split()[-1].strip('+ ')}" in result.output


def test_the_python_is_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    run_import(
        {"webserver_config.py": f"open({str(witness)!r}, 'w')\nAUTH_TYPE = __import__('os').mkdir({str(witness)!r})\n"}
    )

    assert not witness.exists()


@pytest.mark.parametrize("end", ["_cmd", "_secret"])
def test_a_command_is_named_and_never_run(end: str, tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    result = run_import({"airflow.cfg": f"[kerberos]\nkeytab{end} = touch {witness}\n"})

    assert result.exit_code == MUST_ACT
    assert f"[kerberos] keytab{end}" in result.output
    assert not witness.exists()


def test_helm_values_are_read_with_their_python() -> None:
    values = f"""
config:
  api:
    auth_backends: airflow.api.auth.backend.basic_auth
  api_auth:
    jwt_secret: {SECRET}
data:
  metadataConnection: {{user: reader, pass: "p@ss", host: db, sslmode: require}}
env:
  - name: AIRFLOW__WEBSERVER__WORKERS
    value: "3"
webserver:
  webserverConfig: |
    AUTH_TYPE = 2
    AUTH_LDAP_SERVER = "ldaps://ldap.example.org"
"""

    result = run_import({"values.yaml": values})

    assert result.exit_code == 0, result.output
    assert imported_content()["serve"] == {"workers": 3}
    assert imported_content()["airflow_db"] == {"url": "postgresql://reader:p%40ss@db:5432/postgres?sslmode=require"}
    assert imported_content()["ldap"]["url"] == ["ldaps://ldap.example.org"]


@pytest.mark.parametrize(
    "environment",
    ["{AIRFLOW__API__AUTH_BACKENDS: airflow.api.auth.backend.deny_all}", "[AIRFLOW__API__AUTH_BACKENDS=deny_all]"],
)
def test_a_compose_file_is_read_in_both_spellings(environment: str) -> None:
    run_import({"compose.yaml": f"services:\n  web:\n    environment: {environment}\n"})

    assert imported_content()["auth_backends"] == ["deny_all"]


def test_the_file_is_for_its_owner_alone_and_replaces_none() -> None:
    run_import({"airflow.cfg": "[core]\n"})

    again = run_import({"airflow.cfg": "[core]\n"})

    assert stat.S_IMODE(Path("compat_auth.toml").stat().st_mode) == 0o600
    assert isinstance(again.exception, ConfigError)
    assert "--force" in str(again.exception)


def test_a_difference_is_shown_without_secrets_and_nothing_is_written() -> None:
    Path("compat_auth.toml").write_text('[ldap]\nbind_password = "old-one"\n', encoding="utf-8")

    result = run_import({"webserver_config.py": LDAP, "airflow.cfg": "[core]\n"}, "--diff")

    assert "+auth_backends" in result.output
    assert "bind-pässword" not in result.output
    assert "old-one" not in result.output
    assert Path("compat_auth.toml").read_text(encoding="utf-8") == '[ldap]\nbind_password = "old-one"\n'


@pytest.mark.parametrize("text", ['"', "\\", "'''", "\x7f", "x\ny", "é\U0001f600", '"]\nauth_backends = ["default'])
def test_no_old_value_can_write_a_setting_of_its_own(text: str) -> None:
    source = f"AUTH_TYPE = 2\nAUTH_LDAP_SEARCH = {text!r}\nAUTH_ROLES_MAPPING = {{{text!r}: [{text!r}]}}\n"

    run_import({"webserver_config.py": source})

    assert imported_content()["ldap"]["base"] == text
    assert imported_content()["ldap"]["roles"] == {text: [text]}
    assert imported_content()["auth_backends"] == ["session"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("airflow.cfg", "no section\n"),
        ("webserver_config.py", "AUTH_TYPE = (\n"),
        ("x.env", "not a variable\n"),
        ("values.yaml", "[1, 2]\n"),
        ("values.yaml", "a: [\n"),
        ("airflow.cfg", "[api]\n\udcff"),
    ],
)
def test_a_file_that_is_none_of_these_is_refused_by_name(name: str, text: str) -> None:
    Path(name).write_bytes(text.encode("utf-8", "surrogateescape"))

    result = CliRunner().invoke(commands, ["import", name])

    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(name)
    assert not Path("compat_auth.toml").exists()
