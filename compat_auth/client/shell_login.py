"""Logins from a shell: log in, get the token of a saved login, log out."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace

from compat_auth.client.credential import BearerToken, Credential, Password
from compat_auth.client.errors import NotLoggedIn
from compat_auth.client.login import (
    Lease,
    Send,
    make_question,
    make_request,
    make_revocation,
    read_answer,
    require_known,
    require_revoked,
)
from compat_auth.client.origin import parse_server
from compat_auth.client.saved_logins import KERBEROS, PASSWORD, TOKEN, SavedLogin, SavedLogins, Secret
from compat_auth.client.token_source import log_in, renew_after_s


def log_in_to(login: SavedLogin, credential: str, *, now: Callable[[], float] = time.time) -> Secret:
    """Return the secret to save: the credential and a first token; a personal token is both.

    Raises:
        LoginRefused: The server refuses the credential.
        LoginUnavailable: The server returned no token.
        UnsafeAddress: The credential would be unprotected.
    """
    server = parse_server(login.server, allow_http=login.allow_http)
    # Imported only where it is used, because requests is an extra.
    send: Send = importlib.import_module("compat_auth.client.for_requests").send_once
    started = now()
    lease = log_in(server, _credential(login, credential), send, now=started)
    if lease.value == credential:
        # Nobody has verified it yet.
        require_known(server, send(make_question(server, credential)))
    return Secret(credential, lease.value, started + renew_after_s(lease))


def token_of(kept: SavedLogins, login: SavedLogin, *, now: Callable[[], float] = time.time) -> str:
    """Return a valid token; logs in again where the saved one has expired.

    Raises:
        NotLoggedIn: The secret is missing.
        LoginRefused: As for `log_in_to`.
        LoginUnavailable: As for `log_in_to`.
    """
    secret = kept.secret_of(login)
    if now() >= secret.renew_at:
        secret = log_in_to(login, secret.credential, now=now)
        kept.save(replace(login, secret=""), secret)
    return secret.token


def fresh_token_of(kept: SavedLogins, login: SavedLogin, *, now: Callable[[], float] = time.time) -> str:
    """Return a new JWT for a saved login, and save it in place of the last one, which stays valid until it expires.

    Raises:
        NotLoggedIn: The secret is missing.
        LoginRefused, LoginUnavailable: As for `fetch_jwt`.
    """
    secret = kept.secret_of(login)
    started = now()
    lease = fetch_jwt(login, secret.credential, now=now)
    if secret.token != secret.credential:
        kept.save(replace(login, secret=""), Secret(secret.credential, lease.value, started + renew_after_s(lease)))
    return lease.value


def fetch_jwt(login: SavedLogin, credential: str, *, now: Callable[[], float] = time.time) -> Lease:
    """Return a new JWT; unlike `log_in_to` also for a personal token, which the server exchanges only without limits.

    Raises:
        LoginRefused: The server refuses the credential, or does not exchange it.
        LoginUnavailable: The server returned no token.
        UnsafeAddress: The credential would be unprotected.
    """
    server = parse_server(login.server, allow_http=login.allow_http)
    send: Send = importlib.import_module("compat_auth.client.for_requests").send_once
    presented = _credential(login, credential).present(server.origin)
    answer = send(make_request(server, presented))
    lease = read_answer(server, answer, now=now())
    presented.confirm(answer.headers.get("www-authenticate", ""))
    return lease


def log_out_of(kept: SavedLogins, login: SavedLogin, *, also_credential: bool = False) -> None:
    """Revoke the login's token at the server, then delete the login here, whatever the server answers.

    Args:
        kept: The saved logins.
        login: The login.
        also_credential: Also revoke the token that the user logged in with, which other scripts may use.

    Raises:
        LoginUnavailable: The server did not revoke the token, which is valid until it expires; the login is deleted
            here.
    """
    try:
        secret = kept.secret_of(login)
        # A personal token is both; its owner created it, and other scripts may use it.
        is_personal = secret.token == secret.credential
        ends_credential = also_credential and (is_personal or login.kind == TOKEN)
        tokens = ("" if is_personal else secret.token, secret.credential if ends_credential else "")
        for token in filter(None, tokens):
            _revoke(login, token)
    except NotLoggedIn:
        # The secret is missing, so there is nothing to revoke.
        pass
    finally:
        kept.forget(login)


def _revoke(login: SavedLogin, token: str) -> None:
    server = parse_server(login.server, allow_http=login.allow_http)
    send: Send = importlib.import_module("compat_auth.client.for_requests").send_once
    require_revoked(server, send(make_revocation(server, token)))


def _credential(login: SavedLogin, credential: str) -> Credential:
    if login.kind == PASSWORD:
        return Password(login.username, credential)
    if login.kind == KERBEROS:
        # Imported only where it is used, because gssapi is an extra.
        made: Credential = importlib.import_module("compat_auth.client.kerberos").Kerberos()
        return made
    return BearerToken(credential)
