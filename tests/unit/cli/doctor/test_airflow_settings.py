"""Settings of Airflow that are known to break logins are found, and others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compat_auth.cli.doctor.airflow_settings import examine_airflow, find_airflow_cfg
from compat_auth.cli.doctor.result import Result
from compat_auth.config import Settings, parse_settings

SECRET = "airflows-secret-that-is-long-enough-0123456789abcdef0123456789abcdef"
RIGHT = f"[api_auth]\njwt_secret = {SECRET}\n"


def settings(**token: Any) -> Settings:
    token = {"strategy": "shared_secret", "secret": SECRET, **token}
    return parse_settings({"auth_backends": ["basic_auth"], "token": token}, origin="test")


def wrong_in(
    folder: Path, text: str, *, ours: Settings | None = None, environ: dict[str, str] | None = None, ok: bool = False
) -> list[Result]:
    cfg = folder / "airflow.cfg"
    cfg.write_text(text)
    found = examine_airflow(ours or settings(), str(cfg), environ or {}, is_accepted=ok)
    return [result for result in found if result.status in ("failure", "warning")]


def test_equal_settings_have_nothing_wrong(tmp_path: Path) -> None:
    assert wrong_in(tmp_path, RIGHT) == []


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        pytest.param("[api]\nworkers = 4\n", "[api_auth] jwt_secret", "4 processes", id="ephemeral-workers"),
        pytest.param("[core]\n", "[api_auth] jwt_secret", "each start", id="ephemeral"),
        pytest.param("[api_auth]\njwt_secret =\n", "[api_auth] jwt_secret", "not set", id="empty"),
        pytest.param("[api_auth]\njwt_secret = other\n", "token.secret", "differs", id="secret"),
        pytest.param(RIGHT + "jwt_audience = other\n", "token.audience", "accepts 'other'", id="audience"),
        pytest.param(RIGHT + "jwt_issuer = https://a,https://b\n", "token.issuer", "https://a, https://b", id="issuer"),
        pytest.param(RIGHT + "trusted_jwks_url = /k\n", "[api_auth] trusted_jwks_url", "its own tokens", id="jwks"),
        pytest.param(
            RIGHT + "[core]\nmulti_team = True\n[compat_auth]\nauth_backends = basic_auth\n",
            "[core] multi_team",
            "skips the middleware",
            id="team",
        ),
    ],
)
def test_a_setting_that_breaks_logins_is_found(tmp_path: Path, text: str, where: str, what: str) -> None:
    (found,) = wrong_in(tmp_path, text)

    assert where in found.where
    assert what in found.what
    assert found.next
    assert SECRET not in repr(found)


def test_an_environment_variable_is_believed_before_the_file(tmp_path: Path) -> None:
    environ = {"AIRFLOW__API_AUTH__JWT_SECRET": "other"}

    (found,) = wrong_in(tmp_path, RIGHT, environ=environ)

    assert "$AIRFLOW__API_AUTH__JWT_SECRET" in found.what


def test_a_secret_from_a_command_is_not_called_missing(tmp_path: Path) -> None:
    assert wrong_in(tmp_path, "[api_auth]\njwt_secret_cmd = cat /run/secret\n") == []


def test_a_running_airflow_that_accepts_our_token_outweighs_its_file(tmp_path: Path) -> None:
    assert wrong_in(tmp_path, "[api_auth]\njwt_secret = other\n", ok=True) == []


def test_airflows_own_variables_name_its_file(tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").write_text(RIGHT)

    assert find_airflow_cfg(None, None, {"AIRFLOW_HOME": str(tmp_path)}) == str(tmp_path / "airflow.cfg")
    assert find_airflow_cfg(None, "/named", {"AIRFLOW_HOME": str(tmp_path)}) == "/named"
