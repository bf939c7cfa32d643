"""`compat-auth check` in front of real Airflows: which version, whose login, and what they say of a token of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compat_auth.cli import commands
from support.peers.airflows import Airflow2, Airflow3

OTHER_SECRET = "another-secret-of-more-than-sixty-four-bytes-0123456789abcdef0123456789abcdef"


def checked(folder: Path, url: str, upstream: str, token: str, *, database: str = "") -> tuple[int, str]:
    """Return exit status and output for a configuration."""
    path = folder / "c.toml"
    path.write_text(
        f"""
        auth_backends = ["basic_auth"]
        database_url = "sqlite:///{folder}/store.db"
        [serve]
        bind = "127.0.0.1:0"
        [upstream]
        url = "{url}"
        {upstream}
        [token]
        {token}
        {f'[airflow_db]{chr(10)}url = "{database}"' if database else ""}
        """
    )
    result = CliRunner().invoke(commands, ["check", "--config", str(path)])
    return result.exit_code, result.stdout


def fab(folder: Path, airflow: Airflow3, *settings: str, secret: str = "") -> tuple[int, str]:
    token = "\n".join(['strategy = "shared_secret"', f'secret = "{secret or airflow.jwt_secret}"', *settings])
    return checked(folder, airflow.url, 'profile = "airflow-fab"', token, database=airflow.database_url)


def simple(folder: Path, airflow: Airflow3, *settings: str, secret: str = "") -> tuple[int, str]:
    token = "\n".join(['strategy = "shared_secret"', f'secret = "{secret or airflow.jwt_secret}"', *settings])
    return checked(folder, airflow.url, 'profile = "airflow-simple"\nroles = { "*" = "VIEWER" }', token)


def test_airflows_version_is_named_and_its_judgement_of_a_token(airflow_fab: Airflow3, tmp_path: Path) -> None:
    status, output = fab(tmp_path, airflow_fab)

    assert status == 0, output
    assert f"ok   upstream: {airflow_fab.url} is Airflow 3." in output
    assert "ok   upstream token: the upstream accepts our token" in output


def test_another_secret_than_fabs_is_found(airflow_fab: Airflow3, tmp_path: Path) -> None:
    status, output = fab(tmp_path, airflow_fab, secret=OTHER_SECRET)

    assert status == 78
    assert "FAIL upstream token: token.secret: Airflow rejects the signature" in output
    assert OTHER_SECRET not in output


def test_another_audience_than_fabs_is_found(airflow_fab: Airflow3, tmp_path: Path) -> None:
    status, output = fab(tmp_path, airflow_fab, 'audience = "other"')

    assert status == 78
    assert "FAIL upstream token: token.audience: Airflow accepts our signature, but not the claims" in output


def test_a_database_that_is_not_airflows_own_is_found(airflow_fab: Airflow3, tmp_path: Path) -> None:
    airflow = 'profile = "airflow-fab"\n[mapping]\nfile = "{}"\n[lookup]\ndirectories = ["mapping"]'
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[[user]]\nusername = "alice"\nid = 987654\n')
    token = f'strategy = "shared_secret"\nsecret = "{airflow_fab.jwt_secret}"'

    status, output = checked(tmp_path, airflow_fab.url, airflow.format(mapping), token)

    assert status == 78
    assert "or it has no user 987654 (another database?)" in output


def test_fabs_login_is_asked_for_and_nobodys_password_is_tried(airflow_fab: Airflow3, tmp_path: Path) -> None:
    status, output = checked(tmp_path, airflow_fab.url, 'profile = "airflow-fab"', 'strategy = "exchange"')

    assert status == 0, output
    assert "ok   upstream login: takes passwords" in output


@pytest.mark.parametrize("path", ["/api/v2", "/api/v2/", "/auth/token", "/api/v1"])
def test_a_path_of_airflows_own_in_the_address_is_found(airflow_fab: Airflow3, tmp_path: Path, path: str) -> None:
    status, output = checked(tmp_path, airflow_fab.url + path, 'profile = "airflow-fab"', 'strategy = "exchange"')

    assert status == 78
    assert f"is a path inside Airflow, not part of its base URL; write {airflow_fab.url}\n" in output


def test_the_simple_auth_manager_judges_a_token(airflow_simple: Airflow3, tmp_path: Path) -> None:
    status, output = simple(tmp_path, airflow_simple)

    assert status == 0, output
    assert "ok   upstream token: the upstream accepts our token" in output


@pytest.mark.parametrize(
    ("setting", "secret", "found"),
    [
        pytest.param("", OTHER_SECRET, "token.secret: Airflow rejects the signature", id="secret"),
        pytest.param('audience = "other"', "", "token.audience: Airflow accepts our signature", id="audience"),
    ],
)
def test_what_the_simple_auth_manager_refuses_is_found(
    airflow_simple: Airflow3, tmp_path: Path, setting: str, secret: str, found: str
) -> None:
    status, output = simple(tmp_path, airflow_simple, setting, secret=secret)

    assert status == 78
    assert f"FAIL upstream token: {found}" in output


def test_the_wrong_profile_is_found(airflow_simple: Airflow3, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[[user]]\nusername = "alice"\nid = 1\n')
    upstream = f'profile = "airflow-fab"\n[mapping]\nfile = "{mapping}"\n[lookup]\ndirectories = ["mapping"]'
    token = f'strategy = "shared_secret"\nsecret = "{airflow_simple.jwt_secret}"'

    status, output = checked(tmp_path, airflow_simple.url, upstream, token)

    assert status == 78
    assert "FAIL upstream token: upstream.profile:" in output
    assert "set 'airflow-simple'" in output


def test_airflow_2_is_found(airflow2: Airflow2, tmp_path: Path) -> None:
    status, output = checked(tmp_path, airflow2.url, 'profile = "airflow-fab"', 'strategy = "exchange"')

    assert status == 78
    assert f"FAIL upstream: upstream.url: {airflow2.url} is Airflow 2.11" in output
