"""Settings that `serve --front nginx` refuses before it starts anything."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from compat_auth.cli.front.nginx import prepare_nginx
from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError

ISSUER = {"issuer": "https://proxy.example", "audience": ["airflow"], "header": "X-Signed-Identity"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"auth_backends": ["remote_user"]}, "[remote_user] needs the address of the proxy"),
        (
            {"airflow2_modules": {"remote_user_header": "X-Remote-User", "remote_user_proxies": ["10.0.0.1/32"]}},
            "[airflow2_modules] remote_user_header needs the address of the proxy",
        ),
        (
            {"auth_backends": ["oidc"], "oidc": {"issuers": [{**ISSUER, "header": ""}, ISSUER]}},
            "[[oidc.issuers]] header needs the address of the proxy",
        ),
        (
            {
                "auth_backends": ["personal_token"],
                "client_certificate": {"proxies": ["10.0.0.1/32"], "forwarded": "nginx"},
            },
            "[client_certificate] needs the certificate",
        ),
    ],
    ids=["remote-user", "remote-user-of-modules", "header-of-an-issuer", "certificates"],
)
def test_what_looks_at_the_connection_of_a_client_is_refused(settings: dict[str, Any], problem: str) -> None:
    parsed = parse_settings({"auth_backends": ["basic_auth"], **settings}, origin="test")

    with contextlib.ExitStack() as stack, pytest.raises(ConfigError) as refused:
        prepare_nginx(parsed, stack)

    assert problem in str(refused.value)
    assert "omit --front" in str(refused.value)
