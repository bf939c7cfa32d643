"""The file that `compat-auth init` writes: it says what was chosen, and is a configuration."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from compat_auth.authn.registry import installed_backends
from compat_auth.cli.settings.first_file import Choices, problem_of, text_of
from compat_auth.config import parse_settings
from compat_auth.credentials import Bearer, Negotiate

SECRET = "s" * 64
EXCHANGE = Choices("http://127.0.0.1:8080", "airflow-fab", "", "", "", "", "", "127.0.0.1:8088")
SIGNED = replace(EXCHANGE, jwt_secret=SECRET, airflow_database_url="postgresql://reader@db/airflow")


def test_a_chain_for_passwords_alone_exchanges_them() -> None:
    settings = parse_settings(tomllib.loads(text_of(EXCHANGE)), origin="test")

    assert settings.auth_backends == ["basic_auth"]
    assert settings.token.strategy == "exchange"
    assert settings.basic_auth.directories == ["upstream"]


def test_with_airflow_s_secret_there_are_tickets_sessions_and_tokens() -> None:
    settings = parse_settings(tomllib.loads(text_of(replace(SIGNED, keytab="/etc/krb5.keytab"))), origin="test")

    assert settings.auth_backends == ["session", "basic_auth", "kerberos", "personal_token"]
    assert settings.token.secret.get_secret_value() == SECRET
    assert settings.airflow_db.url.get_secret_value() == "postgresql://reader@db/airflow"
    assert len(settings.session.secret.get_secret_value()) >= 64


def test_each_file_has_a_secret_of_its_own_for_cookies() -> None:
    assert text_of(SIGNED) != text_of(SIGNED)


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\x7f", "é", "\U0001f600", "'''", '"]\nauth_backends = []'])
def test_no_answer_can_write_a_setting_of_its_own(text: str) -> None:
    content = tomllib.loads(text_of(replace(SIGNED, jwt_secret=SECRET + text, keytab=text, bind=text)))

    assert content["token"] == {"strategy": "shared_secret", "secret": SECRET + text}
    assert content["serve"] == {"bind": text}
    assert content["auth_backends"] == ["session", "basic_auth", "kerberos", "personal_token"]


def test_an_old_list_with_sessions_gets_a_secret_for_them() -> None:
    old = replace(EXCHANGE, airflow_cfg="/a/airflow.cfg", old_backends="airflow.api.auth.backend.session")

    content = tomllib.loads(text_of(old))

    assert content["airflow_cfg"] == "/a/airflow.cfg"
    assert "auth_backends" not in content
    assert content["session"]["secret"]


@pytest.mark.parametrize(
    ("choices", "option"),
    [
        pytest.param(replace(EXCHANGE, keytab="/k"), "--keytab", id="keytab"),
        pytest.param(
            replace(EXCHANGE, airflow_cfg="/a.cfg", old_backends="airflow.api.auth.backend.kerberos_auth"),
            "/a.cfg: auth_backends",
            id="old-list",
        ),
        *(
            pytest.param(
                replace(EXCHANGE, airflow_cfg="/a.cfg", old_backends=f"airflow.api.auth.backend.basic_auth,{name}"),
                f"/a.cfg: auth_backends: {name}",
                id=name,
            )
            for name in (
                "airflow.providers.google.common.auth_backend.google_openid",
                "airflow.composer.api.backend.composer_auth",
                "oidc",
                "personal_token",
                "remote_user",
                "workload",
            )
        ),
        pytest.param(replace(SIGNED, jwt_secret="short"), "--jwt-secret-file: 5 bytes", id="short-secret"),
        pytest.param(replace(SIGNED, airflow_database_url=""), "--airflow-database-url", id="no-database"),
    ],
)
def test_choices_that_do_not_fit_together_are_named(choices: Choices, option: str) -> None:
    assert problem_of(choices).startswith(option)


@pytest.mark.parametrize(
    "choices", [EXCHANGE, SIGNED, replace(SIGNED, profile="airflow-simple", airflow_database_url="")], ids=str
)
def test_choices_that_fit_together_have_no_problem(choices: Choices) -> None:
    assert problem_of(choices) == ""


def test_each_backend_that_takes_tokens_and_tickets_alone_needs_airflow_s_secret() -> None:
    # Not every environment has gssapi, which the module of `kerberos` imports.
    classes = {name: point.load() for name, point in installed_backends().items() if name != "kerberos"}
    names = ["kerberos", *(name for name, found in classes.items() if found.kinds <= {Bearer, Negotiate})]

    problems = [problem_of(replace(EXCHANGE, old_backends=name)) for name in names]

    assert len(names) >= 5
    assert all(problems), names
