"""Revokes the personal tokens, JWTs and sessions of a user of an htpasswd file, for `compat-auth users`."""

from __future__ import annotations

import os
from pathlib import Path
from time import sleep

import click

from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.authn.session_registry import LiveSessions
from compat_auth.cli import context
from compat_auth.cli.context import opened_tokens
from compat_auth.config import load_settings
from compat_auth.config.loading import DEFAULT_FILE, ENV_PREFIX
from compat_auth.errors import BackendUnavailable, ConfigError, NoSuchUser
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.tables.denylist import DenylistRows

# Every process notices a change of the file within this time.
_FILE_S = 1.0


def found_config(config_path: str | None) -> str | None:
    """Return the configuration file that is given or at a default place; None if there is none."""
    default = DEFAULT_FILE if Path(DEFAULT_FILE).is_file() else None
    return config_path or os.environ.get(f"{ENV_PREFIX}CONFIG") or default


def required_config(config_path: str | None) -> str:
    """Return the configuration that says where tokens and sessions are.

    Raises:
        ConfigError: There is no configuration.
    """
    config = found_config(config_path)
    if config is None:
        raise ConfigError(
            f"--revoke: no configuration says where tokens and sessions are; pass --config FILE, or set {ENV_PREFIX}CONFIG"
        )
    return config


def revoke_all_of_user(config: str, name: str) -> None:
    """Revoke everything that was issued to a user whose password may be known to others."""
    _revoke_twice(config, name, reason="its owner was locked out or has another password")


def revoke_all_of_deleted_user(config_path: str | None, name: str) -> None:
    """Revoke everything that was issued to a deleted user, or warn that it stays valid."""
    config = found_config(config_path)
    if config is None:
        click.echo(
            f"warning: without a configuration the personal tokens and sessions of {name} are not revoked, and a new user "
            f"of that name within an hour inherits them; run: compat-auth tokens revoke --user {name} --config FILE",
            err=True,
        )
        return
    _revoke_twice(config, name, reason="its owner was deleted")


def _revoke_twice(config: str, name: str, *, reason: str) -> None:
    """Revoke everything at once, and again once no process caches a password check from before the change."""
    basic_auth, redis_url = load_settings(config).basic_auth, load_settings(config).redis_url
    # Redis tells every process of the first revocation, so only the change of the file may arrive late.
    wait_s = _FILE_S + (0 if redis_url.get_secret_value() else basic_auth.cache_ttl_s)
    revoked = _revoke_all(config, name, reason)
    _record(name, revoked)
    click.echo(f"waiting {wait_s:g} s, until no process caches the password of {name}", err=True)
    sleep(wait_s)
    if later := _revoke_all(config, name, reason):
        _record(name, later)
    click.echo(f"{revoked + later} personal token(s) of {name} revoked")


def revoke_all_of_former_user(config_path: str | None, name: str) -> None:
    """Revoke everything of a former user of this name, whom no directory knows, before a new user gets the name."""
    config = found_config(config_path)
    if config is None:
        return
    with opened_tokens(config) as tokens:
        is_free = tokens.rows.database.is_there and _is_free(tokens, name)
    if is_free:
        revoked = _revoke_all(config, name, "its owner was deleted")
        _record(name, revoked)
        if revoked:
            click.echo(f"{revoked} personal token(s) of a former {name} revoked")


def _record(name: str, revoked: int) -> None:
    context.record("user logged out", f"{name}: sessions, JWTs and {revoked} token(s) ended", command="users")


def _revoke_all(config_path: str, name: str, reason: str) -> int:
    """Revoke a user's sessions, issued JWTs and personal tokens; return the number of personal tokens."""
    settings = load_settings(config_path)
    sessions = LiveSessions.from_settings(settings, RevocationEvents.from_settings(settings))
    if sessions is not None:
        sessions.revoke_all(name)
    with opened_tokens(config_path) as tokens:
        DenylistRows(tokens.rows.database).revoke_issued_to(name, int(tokens.now()))
        # Last: it publishes a revocation event for the user, on which every cache of passwords and JWTs acts.
        return tokens.revoke_all(name, reason=reason)


def _is_free(tokens: PersonalTokens, name: str) -> bool:
    try:
        tokens.owners.canonical_name(name)
    except NoSuchUser:
        return True
    except BackendUnavailable as error:
        click.echo(
            f"warning: tokens and sessions of a former {name} are not revoked ({error}); run: compat-auth tokens revoke "
            f"--user {name}",
            err=True,
        )
    return False
