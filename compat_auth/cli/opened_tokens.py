"""The personal tokens of a configuration, for a command: what ends there ends at the upstream, too."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager

import click

from compat_auth.authn.revocation_events import Revocations
from compat_auth.cli.options import start_logging
from compat_auth.config import Settings, load_settings
from compat_auth.errors import CompatAuthError
from compat_auth.personal_tokens.service import PersonalTokens
from compat_auth.store.tables.denylist import DenialRows
from compat_auth.tokens.denylist import Denials
from compat_auth.tokens.strategies import build_strategy


@contextmanager
def opened_tokens(config_path: str | None) -> Generator[PersonalTokens]:
    """Give the personal tokens of a configuration."""
    start_logging("WARNING")
    settings = load_settings(config_path)
    tokens = PersonalTokens.from_settings(settings, Revocations.from_settings(settings))
    tokens.take_back = lambda credential_id: _tell_upstream(settings, tokens, credential_id)
    try:
        yield tokens
    finally:
        tokens.rows.database.close()


def _tell_upstream(settings: Settings, tokens: PersonalTokens, credential_id: str) -> None:
    """Have the upstream refuse what was made from a token; the gateways do already."""
    if not DenialRows(tokens.rows.database).deny_made_from(credential_id, int(tokens.now())):
        return
    try:
        denials = Denials.from_settings(settings, Revocations())
        # Only where it is used: it is the whole server.
        app = importlib.import_module("compat_auth.app")
        app.build_given_tokens(settings, build_strategy(settings), denials).end(tokens=(), credential_id=credential_id)
    except CompatAuthError as error:
        click.echo(
            f"warning: JWTs that were made from it stay good at the upstream itself until they end: {error}", err=True
        )
