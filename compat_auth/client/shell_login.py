"""Logging in from a shell: with what, and the token that a kept login is good for."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace

from compat_auth.client.credential import BearerToken, Credential, Password
from compat_auth.client.keeper import log_in, renew_after_s
from compat_auth.client.kept_logins import KERBEROS, PASSWORD, KeptLogin, KeptLogins, Secret
from compat_auth.client.login import Send
from compat_auth.client.origin import parse_server


def log_in_to(login: KeptLogin, credential: str, *, now: Callable[[], float] = time.time) -> Secret:
    """Return the secret to be kept: the credential, and a first token.

    Raises:
        LoginRefused: The server does not want the credential.
        LoginUnavailable: The server gave no token.
        UnsafeAddress: The credential would travel unprotected.
    """
    server = parse_server(login.server, allow_http=login.allow_http)
    # Only where it is used: requests is an extra.
    send: Send = importlib.import_module("compat_auth.client.for_requests").send_once
    started = now()
    lease = log_in(server, _credential(login, credential), send, now=started)
    return Secret(credential, lease.value, started + renew_after_s(lease))


def token_of(kept: KeptLogins, login: KeptLogin, *, now: Callable[[], float] = time.time) -> str:
    """Return a token that is good for a while; logs in again where the kept one is not.

    Raises:
        NotLoggedIn: The secret is gone.
        LoginRefused: As for `log_in_to`.
        LoginUnavailable: As for `log_in_to`.
    """
    secret = kept.secret_of(login)
    if now() >= secret.renew_at:
        secret = log_in_to(login, secret.credential, now=now)
        kept.save(replace(login, secret=""), secret)
    return secret.token


def _credential(login: KeptLogin, credential: str) -> Credential:
    if login.kind == PASSWORD:
        return Password(login.username, credential)
    if login.kind == KERBEROS:
        # Only where it is used: gssapi is an extra.
        made: Credential = importlib.import_module("compat_auth.client.kerberos").Kerberos()
        return made
    return BearerToken(credential)
