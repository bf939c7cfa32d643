"""`compat-auth import` reads each place as Airflow 2, Compose and the chart do; what it cannot know needs a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat_auth.cli.migration.command import MUST_ACT
from compat_auth.errors import ConfigError
from support.old_airflow_files import imported_content, run_import

SECRET = "s" * 64
BASIC = "airflow.api.auth.backend.basic_auth"
ALL = "${JWT:-" + SECRET + "}"
LIST = "AIRFLOW__API__AUTH_BACKENDS"
JWT = "AIRFLOW__API_AUTH__JWT_SECRET"
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def compose(*lines: str) -> str:
    inner = "".join(f"      {line}\n" for line in lines)
    return f"services:\n  web:\n    environment:\n{inner}"


@pytest.mark.parametrize(
    ("written", "variables", "expected"),
    [
        pytest.param(ALL, "", SECRET, id="default"),
        pytest.param(ALL, f"JWT={'t' * 64}\n", "t" * 64, id="variable"),
        pytest.param("${JWT}", f"JWT={SECRET}\n", SECRET, id="braces"),
        pytest.param("$JWT", f"JWT={SECRET}\n", SECRET, id="plain"),
        pytest.param("${A:-${B:-" + SECRET + "}}", "", SECRET, id="nested"),
        pytest.param("a$$" + SECRET, "", "a$" + SECRET, id="doubled"),
        pytest.param("${JWT-x}${JWT:-" + SECRET + "}", "JWT=\n", SECRET, id="empty"),
        pytest.param("${JWT}", f'JWT="{SECRET}" # note\n', SECRET, id="comment"),
    ],
)
def test_compose_values_are_expanded_as_compose_does(written: str, variables: str, expected: str) -> None:
    result = run_import({"x.env": variables, "compose.yaml": compose(f"{JWT}: '{written}'", f"{LIST}: {BASIC}")})

    assert result.exit_code == 0, result.output
    assert imported_content()["token"]["secret"] == expected


def test_compose_reads_the_file_of_variables_beside_it() -> None:
    run_import({"compose.yaml": compose(f"{JWT}: '{ALL}'")}, beside={".env": f"JWT={'t' * 64}\n"})

    assert imported_content()["token"]["secret"] == "t" * 64


def test_a_default_is_expanded_before_the_list_is_split() -> None:
    run_import({"compose.yaml": compose(f"{LIST}: '${{B:-{BASIC},airflow.api.auth.backend.session}}'")})

    assert imported_content()["auth_backends"] == ["basic_auth", "session"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("c.yaml", compose(f"{JWT}: '${{UNKNOWN}}'"), id="compose"),
        pytest.param("c.yaml", compose(f"{JWT}: '$UNKNOWN'"), id="compose-plain"),
        pytest.param("c.yaml", compose(f"{JWT}: '${{UNKNOWN:?missing}}'"), id="compose-required"),
        pytest.param("c.yaml", compose(f"{JWT}:"), id="compose-null"),
        pytest.param("c.yaml", compose(f"- {JWT}"), id="compose-passed"),
        pytest.param("x.env", f"{JWT}=$(cat /run/secret)\n", id="command"),
        pytest.param("x.env", f"{JWT}='{SECRET}' and more\n", id="text-after-quote"),
        pytest.param("x.env", f'{JWT}="{SECRET}\n', id="open-quote"),
        pytest.param("x.env", f"{JWT}={SECRET} # note\n", id="comment-or-value"),
        pytest.param("x.env", f'{JWT}="{SECRET}\\$x"\n', id="backslash"),
        pytest.param("airflow.cfg", "[api_auth]\njwt_secret = ${SECRET}\n", id="cfg"),
        pytest.param("airflow.cfg", "[api_auth]\njwt_secret = ${SECRET:-" + SECRET + "}\n", id="cfg-default"),
        pytest.param("airflow.cfg", "[api_auth]\njwt_secret = %(other)s" + SECRET + "\n", id="cfg-interpolated"),
        pytest.param(
            "v.yaml", f"config: {{api_auth: {{jwt_secret: '{{{{ .Values.x }}}}{SECRET}'}}}}", id="helm-template"
        ),
        pytest.param("v.yaml", f"secret: [{{envName: {JWT}, secretName: a, secretKey: b}}]", id="helm-secret"),
        pytest.param(
            "v.yaml", f"env: [{{name: {JWT}, valueFrom: {{secretKeyRef: {{name: a}}}}}}]", id="helm-value-from"
        ),
        pytest.param("v.yaml", f"extraEnv: |\n  - name: {JWT}\n    valueFrom: {{}}\n", id="helm-extra-value-from"),
        pytest.param("v.yaml", "jwtSecretName: a", id="helm-secret-name"),
    ],
)
def test_a_value_that_is_not_known_needs_a_person(name: str, text: str) -> None:
    result = run_import({name: text})

    assert result.exit_code == MUST_ACT, result.output
    assert "ACT  cannot be taken over: [api_auth] jwt_secret" in result.output
    assert imported_content()["token"] == {"strategy": "exchange"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        pytest.param("v.yaml", "extraEnv: '{{ tpl }}: {'", "extraEnv", id="extra-env"),
        pytest.param("v.yaml", "extraEnv: |\n  {{- if x }}\n  - a\n", "extraEnv", id="extra-env-template"),
        pytest.param("v.yaml", "secret: [a]", "secret", id="secret"),
        pytest.param("v.yaml", "extraEnvFrom: x", "extraEnvFrom", id="extra-env-from"),
        pytest.param("v.yaml", "data: {metadataSecretName: a}", "[database] sql_alchemy_conn", id="metadata-secret"),
        pytest.param("v.yaml", "data: {metadataConnection: {user: a}}", "[database] sql_alchemy_conn", id="no-host"),
        pytest.param(
            "v.yaml", "webserver: {webserverConfigConfigMapName: a}", "webserverConfigConfigMapName", id="map"
        ),
        pytest.param(
            "v.yaml", "apiServer: {apiServerConfigConfigMapName: a}", "apiServerConfigConfigMapName", id="api-map"
        ),
        pytest.param("v.yaml", "apiServer: {apiServerConfig: 'AUTH_TYPE = 4'}", "AUTH_TYPE", id="api-server"),
        pytest.param("c.yaml", "services: {web: {env_file: missing.env}}", "env_file missing.env", id="env-file"),
        pytest.param("c.yaml", "services: {web: {extends: {file: a.yaml}}}", "extends", id="extends"),
        pytest.param(
            "airflow.cfg", "[database]\nsql_alchemy_conn = postgresql://${PGUSER}:x@db/a\n", "sql_alchemy", id="url"
        ),
        pytest.param("airflow.cfg", "[ldap]\nuser_filter = memberOf=x\n", "[ldap] user_filter", id="ldap-filter"),
        pytest.param("airflow.cfg", "[ldap]\nsearch_scope = LEVEL\n", "[ldap] search_scope", id="ldap-scope"),
        pytest.param("airflow.cfg", "[webserver]\nweb_server_host = 10.0.0.1\n", "web_server_host", id="host"),
    ],
)
def test_what_is_not_read_is_named(name: str, text: str, said: str) -> None:
    result = run_import({name: text})

    assert result.exit_code == MUST_ACT, result.output
    assert any(line.startswith("ACT ") and said in line for line in result.output.splitlines()), result.output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("v.yaml", "executor: CeleryExecutor", id="helm"),
        pytest.param("v.yaml", "airflow: {config: {api: {auth_backends: x}}}", id="umbrella"),
        pytest.param("c.yaml", "services: {db: {environment: {POSTGRES_PASSWORD: x}}}", id="compose"),
    ],
)
def test_yaml_without_a_known_setting_is_refused(name: str, text: str) -> None:
    result = run_import({name: text})

    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(f"{name}: no ")
    assert not Path("compat_auth.toml").exists()


def test_the_anchors_of_airflow_s_compose_file_are_followed() -> None:
    text = f"""
x-airflow-common: &common
  image: apache/airflow:2.10.5
  environment: &env
    {LIST}: '{BASIC},airflow.api.auth.backend.session'
    {DATABASE}: postgresql+psycopg2://airflow:airflow@postgres/airflow
services:
  postgres: {{image: "postgres:13", environment: {{POSTGRES_USER: airflow}}}}
  airflow-webserver:
    <<: *common
    command: webserver
  airflow-init:
    <<: *common
    environment:
      <<: *env
      _AIRFLOW_DB_MIGRATE: 'true'
"""

    result = run_import({"docker-compose.yaml": text})

    assert result.exit_code == 0, result.output
    assert imported_content()["auth_backends"] == ["basic_auth", "session"]
    assert imported_content()["airflow_db"]["url"] == "postgresql+psycopg2://airflow:airflow@postgres/airflow"


def test_compose_takes_files_of_variables_and_its_own_count_more() -> None:
    text = f"services: {{web: {{env_file: [a.env], environment: [{DATABASE}=postgresql://b/x]}}}}"

    run_import({"c.yaml": text}, beside={"a.env": f"{LIST}={BASIC}\n{DATABASE}=postgresql://a/x\n"})

    assert imported_content()["auth_backends"] == ["basic_auth"]
    assert imported_content()["airflow_db"]["url"] == "postgresql://b/x"


def test_services_that_differ_need_a_person() -> None:
    text = f"services: {{a: {{environment: {{{LIST}: {BASIC}}}}}, b: {{environment: {{{LIST}: acme}}}}}}"

    result = run_import({"c.yaml": text})

    assert result.exit_code == MUST_ACT
    assert imported_content()["auth_backends"] == ["deny_all"]


def test_the_chart_s_other_places_are_read() -> None:
    text = f"""
jwtSecret: {SECRET}
webserverSecretKey: key-of-the-cookies
extraEnv: |
  - name: {LIST}
    value: airflow.api.auth.backend.session,{BASIC}
data: {{metadataConnection: {{user: u, pass: p, host: db, port: 1, db: a}}}}
"""

    result = run_import({"values.yaml": text})

    assert result.exit_code == 0, result.output
    assert imported_content()["token"] == {"strategy": "shared_secret", "secret": SECRET}
    assert imported_content()["airflow_session"]["secret_key"] == "key-of-the-cookies"
    assert imported_content()["airflow_db"]["url"] == "postgresql://u:p@db:1/a"


@pytest.mark.parametrize("options", [(), ("--environment",)])
def test_bytes_that_are_no_text_need_a_person(options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE, "postgresql://\udcff@db/a")

    result = run_import({"webserver_config.py": "AUTH_ROLE_PUBLIC = '\\udcff'\n"}, *options)

    assert result.exit_code == MUST_ACT, result.output
    assert ("[database] sql_alchemy_conn" in result.output) is bool(options)
