"""What ends with a user of an htpasswd file: personal tokens, JWTs and sessions; for `compat-auth users`."""

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

# Within this a change of the file is seen.
_FILE_S = 1.0


def found_config(config_path: str | None) -> str | None:
    """Return the configuration that is named, or is where one is looked for; None: there is none."""
    default = DEFAULT_FILE if Path(DEFAULT_FILE).is_file() else None
    return config_path or os.environ.get(f"{ENV_PREFIX}CONFIG") or default


def required_config(config_path: str | None) -> str:
    """Return the configuration that says where tokens and sessions are.

    Raises:
        ConfigError: There is none.
    """
    config = found_config(config_path)
    if config is None:
        raise ConfigError(
            f"--revoke: no configuration says where tokens and sessions are; pass --config FILE, or set {ENV_PREFIX}CONFIG"
        )
    return config


def end_of_lost_user(config: str, name: str) -> None:
    """End all that was made for a user with what somebody else may know."""
    _end_for_good(config, name, reason="its owner was locked out or has another password")


def end_with_user(config_path: str | None, name: str) -> None:
    """End all that a user who was deleted has left, or say that it lives on."""
    config = found_config(config_path)
    if config is None:
        click.echo(
            f"warning: the personal tokens and sessions of {name} are not ended, for want of a configuration, and a later "
            f"user of that name within an hour inherits them; run: compat-auth tokens revoke --user {name} --config FILE",
            err=True,
        )
        return
    _end_for_good(config, name, reason="its owner was deleted")


def _end_for_good(config: str, name: str, *, reason: str) -> None:
    """End all at once, and again when no process believes a password any more that it has checked before the change."""
    basic_auth, redis_url = load_settings(config).basic_auth, load_settings(config).redis_url
    # By Redis every process hears of the first time, and only reads the file late.
    wait_s = _FILE_S + (0 if redis_url.get_secret_value() else basic_auth.cache_ttl_s)
    revoked = _revoke_all(config, name, reason)
    _record(name, revoked)
    click.echo(f"waiting {wait_s:g} s, until no process remembers the password of {name}", err=True)
    sleep(wait_s)
    if later := _revoke_all(config, name, reason):
        _record(name, later)
    click.echo(f"{revoked + later} personal token(s) of {name} revoked")


def end_of_former_user(config_path: str | None, name: str) -> None:
    """End what a former user of a name has left, whom no directory knows any more; before another gets that name."""
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
    """End a user's sessions, the JWTs that we have given, and the personal tokens; return how many of these there were."""
    settings = load_settings(config_path)
    sessions = LiveSessions.from_settings(settings, RevocationEvents.from_settings(settings))
    if sessions is not None:
        sessions.revoke_all(name)
    with opened_tokens(config_path) as tokens:
        DenylistRows(tokens.rows.database).revoke_issued_to(name, int(tokens.now()))
        # Last: it announces the user, and that is heard by whatever remembers a password or a JWT, too.
        return tokens.revoke_all(name, reason=reason)


def _is_free(tokens: PersonalTokens, name: str) -> bool:
    try:
        tokens.owners.canonical_name(name)
    except NoSuchUser:
        return True
    except BackendUnavailable as error:
        click.echo(
            f"warning: what a former {name} may have left is not ended ({error}); run: compat-auth tokens revoke "
            f"--user {name}",
            err=True,
        )
    return False
