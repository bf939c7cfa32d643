"""The rules for a table of `[[oidc.issuers]]`, and the secret that it names."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote_plus

from compat_auth.config import OidcIssuerSettings
from compat_auth.errors import ConfigError
from compat_auth.files import read_unwritable
from compat_auth_backends.openid.load_balancer import KEY_ID


def check_settings(settings: OidcIssuerSettings, where: str) -> None:
    """Raise unless the settings of an issuer fit together.

    Args:
        settings: Of one issuer.
        where: The place of its table, for messages.

    Raises:
        ConfigError: They do not; says what to change.
    """
    _check_header(settings, where)
    if not any(settings.audience) and not settings.sign_in:
        raise ConfigError(f"{where}.audience: missing; without it a token for any other application would do")
    if "" in settings.audience or "" in settings.clients:
        raise ConfigError(f"{where}: an empty name in audience or clients; remove it")
    if (settings.introspection or settings.sign_in) and not settings.client_id:
        raise ConfigError(f"{where}.client_id: missing; introspection and sign_in need our own client at the issuer")
    if settings.sign_in and "openid" not in settings.sign_in_scope.split():
        raise ConfigError(f"{where}.sign_in_scope: without openid there is no ID token; add it")
    if settings.userinfo and settings.scope and not (settings.introspection or settings.liveness):
        raise ConfigError(f"{where}.scope: UserInfo does not tell it; use introspection instead, or leave scope out")
    if settings.liveness and not settings.userinfo:
        raise ConfigError(f"{where}.liveness: needs userinfo = true, or its URL")


def _check_header(settings: OidcIssuerSettings, where: str) -> None:
    if (KEY_ID in settings.jwks_url) != bool(settings.signer):
        raise ConfigError(f"{where}: signer and a jwks_url with {KEY_ID} belong together; set both, or neither")
    only_with = ("signer", "proxy_verifies_email")
    never_with = ("introspection", "userinfo", "liveness", "sign_in", "opaque_prefix")
    for name in never_with if settings.header else only_with:
        if getattr(settings, name):
            what = "not for a table with header; give it a table of its own"
            raise ConfigError(
                f"{where}.{name}: {what if settings.header else 'only for a table with header; remove it'}"
            )


def read_secret(settings: OidcIssuerSettings, where: str) -> str:
    """Return the secret of our own client, or "" if it has none.

    Raises:
        ConfigError: It is set twice, is missing, or its file cannot be read.
    """
    secret = settings.client_secret.get_secret_value()
    if settings.client_secret_file:
        if secret:
            raise ConfigError(f"{where}: client_secret and client_secret_file are both set; remove one")
        try:
            secret = read_unwritable(Path(settings.client_secret_file)).strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(
                f"{where}.client_secret_file: {settings.client_secret_file}: cannot be read ({type(exc).__name__})"
            ) from None
    if settings.introspection and not secret:
        raise ConfigError(f"{where}.client_secret: missing; introspection needs it (or client_secret_file)")
    return secret


def basic_value(client_id: str, secret: str) -> str:
    """Return the Authorization value of our own client (RFC 6749 section 2.3.1), or "" without one."""
    if not client_id:
        return ""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
