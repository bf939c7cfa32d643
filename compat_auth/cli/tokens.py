"""`compat-auth tokens`: everybody's personal tokens, for whoever runs the server."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager

import click

from compat_auth.cli.options import config_option, start_logging
from compat_auth.config import load_settings
from compat_auth.personal_tokens import PersonalTokens, Wish
from compat_auth.revocation import Revocations
from compat_auth.scopes import ALL
from compat_auth.store.personal_token_rows import PersonalToken

_BY = "compat-auth tokens"


@click.group()
def tokens() -> None:
    """Keep the personal tokens of all users."""


_id = click.argument("token_id", metavar="ID")
_days = click.option("--days", type=int, help="The last day, counted from today (UTC); default [personal_tokens].")


@tokens.command()
@config_option
@click.option("--user", required=True, metavar="NAME", help="Whose token it is to be.")
@click.option("--name", required=True, metavar="LABEL", help="What to call it: 1 to 64 characters.")
@_days
@click.option(
    "--scope", "scopes", multiple=True, help="What it may do, such as read or 'GET /api/v2/dags'; default all."
)
def create(config_path: str | None, user: str, name: str, days: int | None, scopes: tuple[str, ...]) -> None:
    """Make a token and print it: it is shown this once."""
    with _opened(config_path) as service:
        owner = service.owners.canonical_name(user)
        made = service.create(owner, Wish(name, scopes or (ALL,), days), by=_BY)
    click.echo(made.text)


@tokens.command("list")
@config_option
@click.option("--user", metavar="NAME", help="Only this user's.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_tokens(config_path: str | None, user: str | None, as_json: bool) -> None:
    """Show the tokens that are not revoked: whose, what for, until when, last used."""
    with _opened(config_path) as service:
        found = service.list(user)
    if as_json:
        click.echo(json.dumps([describe(token) for token in found], ensure_ascii=False, indent=2))
        return
    for token in found:
        used = "never" if token.last_used is None else _utc(token.last_used)
        click.echo(f"{token.id}  {token.username}  {token.name}  until {_utc(token.expires)}  last used {used}")


@tokens.command()
@config_option
@_id
@_days
@click.option("--overlap", "overlap_s", type=int, default=0, help="Seconds for which the old secret works on.")
def refresh(config_path: str | None, token_id: str, days: int | None, overlap_s: int) -> None:
    """Give the token ID a new secret and a new end, and print it."""
    with _opened(config_path) as service:
        made = service.refresh(service.get(token_id), days=days, overlap_s=overlap_s)
    click.echo(made.text)


@tokens.command()
@config_option
@_id
def revoke(config_path: str | None, token_id: str) -> None:
    """Kill the token ID for good."""
    with _opened(config_path) as service:
        token = service.get(token_id)
        service.revoke(token, reason="revoked by an operator")
    click.echo(f"{token_id}: {token.name!r} of {token.username} is revoked")


def describe(token: PersonalToken) -> dict[str, object]:
    """Return a token as programs read it."""
    return {
        "id": token.id,
        "username": token.username,
        "name": token.name,
        "scopes": list(token.scopes),
        "created_at": _utc(token.created),
        "created_by": token.created_by,
        "refreshed_at": None if token.refreshed is None else _utc(token.refreshed),
        "expires_at": _utc(token.expires),
        "last_used_at": None if token.last_used is None else _utc(token.last_used),
        "last_used_address": token.last_address,
        "last_used_agent": token.last_agent,
        "role_account": token.is_role,
    }


@contextmanager
def _opened(config_path: str | None) -> Generator[PersonalTokens]:
    start_logging("WARNING")
    settings = load_settings(config_path)
    service = PersonalTokens.from_settings(settings, Revocations.from_settings(settings))
    try:
        yield service
    finally:
        service.rows.database.close()


def _utc(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
