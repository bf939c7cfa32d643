"""`compat-auth import` gives each setting the meaning that it had, and says so where it cannot."""

from __future__ import annotations

import pytest

from compat_auth.cli.migration.command import MUST_ACT
from support.old_airflow_files import imported_content, run_import

SECRET = "s" * 64
BASIC = "airflow.api.auth.backend.basic_auth"
SESSION = "airflow.api.auth.backend.session"


@pytest.mark.parametrize(
    ("variables", "cfg", "names"),
    [
        pytest.param(
            {"API__AUTH_BACKEND": BASIC}, f"[api]\nauth_backends = {SESSION}\n", ["basic_auth"], id="singular"
        ),
        pytest.param({"FAB__AUTH_BACKENDS": BASIC}, f"[api]\nauth_backends = {SESSION}\n", ["session"], id="api-first"),
        pytest.param({"API__AUTH_BACKENDS": ""}, f"[api]\nauth_backends = {BASIC}\n", ["basic_auth"], id="empty"),
        pytest.param(
            {}, f"[api]\nauth_backend = {SESSION}\nauth_backends = {BASIC}\n", ["basic_auth"], id="plural-first"
        ),
    ],
)
def test_the_list_that_counted_counts(variables: dict[str, str], cfg: str, names: list[str]) -> None:
    text = "".join(f"AIRFLOW__{name}={value}\n" for name, value in variables.items())

    run_import({"x.env": text, "airflow.cfg": cfg})

    assert imported_content()["auth_backends"] == names


@pytest.mark.parametrize(
    ("variable", "cfg"),
    [
        pytest.param(
            "AIRFLOW__CORE__SQL_ALCHEMY_CONN=postgresql://right/a\n",
            "[database]\nsql_alchemy_conn = x://no\n",
            id="old",
        ),
        pytest.param(
            "", "[core]\nsql_alchemy_conn = x://no\n[database]\nsql_alchemy_conn = postgresql://right/a\n", id="new"
        ),
    ],
)
def test_a_setting_with_two_names_is_that_which_counted(variable: str, cfg: str) -> None:
    result = run_import({"x.env": variable, "airflow.cfg": cfg})

    assert imported_content()["airflow_db"]["url"] == "postgresql://right/a"
    assert "takes precedence" in result.output


@pytest.mark.parametrize(
    ("address", "url", "acts"),
    [
        pytest.param("web_server_port = 8080", "http://127.0.0.1:8080", True, id="same"),
        pytest.param("web_server_port = 8080\nweb_server_host = 0.0.0.0", "http://127.0.0.1:8080", True, id="any"),
        pytest.param("web_server_port = 80", "http://airflow.example", True, id="default-port"),
        pytest.param("web_server_port = 8080", "http://127.0.0.1:9090", False, id="other"),
    ],
)
def test_the_gateway_and_airflow_do_not_share_a_port(address: str, url: str, acts: bool) -> None:
    result = run_import({"airflow.cfg": f"[webserver]\n{address}\n"}, "--airflow-url", url)

    assert (result.exit_code == MUST_ACT) is acts, result.output


def test_an_address_of_version_6_is_put_in_brackets() -> None:
    run_import({"airflow.cfg": "[webserver]\nweb_server_host = ::1\nweb_server_port = 9\n"})

    assert imported_content()["serve"]["bind"] == "[::1]:9"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"airflow.cfg": "[ldap]\nuri =\n"}, id="cfg"),
        pytest.param({"webserver_config.py": "AUTH_TYPE = 2\nAUTH_LDAP_SERVER = ''\n"}, id="python"),
        pytest.param({"webserver_config.py": "AUTH_TYPE = 2\nAUTH_LDAP_SERVER = None\n"}, id="none"),
    ],
)
def test_an_empty_server_is_no_server(files: dict[str, str]) -> None:
    run_import(files)

    assert "url" not in imported_content().get("ldap", {})


def test_passwords_of_1_10_are_elsewhere() -> None:
    result = run_import({"airflow.cfg": "[api]\nauth_backend = airflow.contrib.auth.backends.password_auth\n"})

    assert result.exit_code == MUST_ACT
    assert "table users" in result.output
    assert imported_content()["auth_backends"] == ["basic_auth"]


def test_ldap_without_the_database_behind_it_needs_a_person() -> None:
    cfg = f"[api]\nauth_backends = {BASIC}\n[api_auth]\njwt_secret = {SECRET}\n"

    result = run_import({"airflow.cfg": cfg, "webserver_config.py": "AUTH_TYPE = 2\nAUTH_LDAP_SERVER = 'ldap://x'\n"})

    assert result.exit_code == MUST_ACT
    assert "add airflow_db to basic_auth.directories" in result.output
    assert imported_content()["basic_auth"] == {"directories": ["ldap"]}


def test_plain_ldap_is_changed_and_not_taken_over() -> None:
    source = "AUTH_TYPE = 2\nAUTH_LDAP_SERVER = 'ldap://x'\nAUTH_LDAP_USE_TLS = False\n"

    result = run_import({"webserver_config.py": source})

    assert "changed: AUTH_LDAP_USE_TLS" in result.output
    assert imported_content()["ldap"]["start_tls"] is True


@pytest.mark.parametrize(
    ("line", "name"),
    [
        pytest.param("PERMANENT_SESSION_LIFETIME = timedelta(minutes=30)", "PERMANENT_SESSION_LIFETIME", id="computed"),
        pytest.param("from base import *", "from base import *", id="star"),
        pytest.param("from .base import AUTH_ROLE_PUBLIC", "AUTH_ROLE_PUBLIC", id="imported"),
        pytest.param("AUTH_ROLE_PUBLIC, X = f()", "AUTH_ROLE_PUBLIC", id="tuple"),
        pytest.param("(AUTH_ROLE_PUBLIC, *X) = 'a', 'b'", "AUTH_ROLE_PUBLIC", id="starred"),
        pytest.param("exec(open('x').read())", "exec()", id="exec"),
        pytest.param("match 1:\n    case 1:\n        AUTH_ROLE_PUBLIC = 'Admin'", "AUTH_ROLE_PUBLIC", id="match"),
        pytest.param("AUTH_LDAP_SEARCH = AUTH_LDAP_BASE", "AUTH_LDAP_SEARCH", id="another-name"),
        pytest.param("AUTH_LDAP_SEARCH = '{{ .Values.base }}'", "AUTH_LDAP_SEARCH", id="template"),
        pytest.param("FAB_SECURITY_MANAGER_CLASS = f()", "FAB_SECURITY_MANAGER_CLASS", id="manager"),
        pytest.param("globals()['AUTH_ROLE_PUBLIC'] = f()", "AUTH_ROLE_PUBLIC", id="globals"),
    ],
)
def test_python_that_only_a_program_can_know_is_named(line: str, name: str) -> None:
    result = run_import({"webserver_config.py": f"AUTH_TYPE = 2\n{line}\n"})

    assert result.exit_code == MUST_ACT
    assert f"ACT  cannot be taken over: {name} (" in result.output


def test_several_names_in_one_assignment_are_read() -> None:
    run_import({"webserver_config.py": "AUTH_TYPE, AUTH_LDAP_SERVER = 2, 'ldaps://x'\n"})

    assert imported_content()["ldap"]["url"] == ["ldaps://x"]


def test_the_constants_of_flask_appbuilder_are_no_settings() -> None:
    source = (
        "from flask_appbuilder.security.manager import *\nfrom a.security.manager import AUTH_DB\nAUTH_TYPE = AUTH_DB\n"
    )

    result = run_import({"webserver_config.py": source})

    assert result.exit_code == 0, result.output
