"""Settings that the environment can only spell as text."""

import pytest

from compat_auth.config import load_settings
from compat_auth.errors import ConfigError


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    environ = {
        "COMPAT_AUTH_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1",
        "COMPAT_AUTH_UPSTREAM__PROTECT": "/api/,/other/",
        "COMPAT_AUTH_UPSTREAM__IDENTITY_COOKIES": "_token",
        "COMPAT_AUTH_TOKEN__TRUSTED_JWKS": "one.json,two.pem#kid=two",
    }

    settings = load_settings(environ=environ)

    assert settings.trusted_proxies == ["10.0.0.0/8", "192.0.2.1/32"]
    assert settings.upstream.protect == ["/api/", "/other/"]
    assert settings.upstream.identity_cookies == ["_token"]
    assert settings.token.trusted_jwks == ["one.json", "two.pem#kid=two"]


def test_an_empty_list_of_protected_paths_protects_everything() -> None:
    environ = {"COMPAT_AUTH_UPSTREAM__PROTECT": ""}

    settings = load_settings(environ=environ)

    assert settings.upstream.protect == [""]


@pytest.mark.parametrize("proxies", ["0.0.0.0/0", "10.0.0.0/8,::/0", "", "proxy.example.com"])
def test_proxies_in_the_environment_are_checked_like_those_in_the_file(proxies: str) -> None:
    environ = {"COMPAT_AUTH_TRUSTED_PROXIES": proxies}

    with pytest.raises(ConfigError, match="trusted_proxies"):
        load_settings(environ=environ)


@pytest.mark.parametrize(
    ("text", "meant"), [("true", True), ("False", False), ("/etc/ssl/company.pem", "/etc/ssl/company.pem")]
)
def test_certificate_checks_can_be_switched_in_the_environment(text: str, meant: bool | str) -> None:
    environ = {"COMPAT_AUTH_UPSTREAM__VERIFY": text}

    settings = load_settings(environ=environ)

    assert settings.upstream.verify == meant


def test_the_level_of_the_log_is_no_setting() -> None:
    environ = {"COMPAT_AUTH_LOG_LEVEL": "DEBUG"}

    settings = load_settings(environ=environ)

    assert settings == load_settings(environ={})
