"""`compat-auth tokens suggest`: the fewest scopes that cover what a user's requests used."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.usage.command import MAX_DAYS
from compat_auth.config import load_settings
from compat_auth.store.migration import open_store
from compat_auth.usage.suggestion import suggest as suggest_for
from compat_auth.usage.texts import one_line


@click.command()
@config_option
@click.option("--user", required=True, metavar="NAME", help="Whose requests count.")
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=90, show_default=True, help="Days up to today (UTC).")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def suggest(config_path: str | None, user: str, days: int, as_json: bool) -> None:
    """Suggest the fewest scopes that cover what the user's requests of the last days used."""
    start_logging("WARNING")
    database = open_store(load_settings(config_path).database_url.get_secret_value())
    try:
        found = suggest_for(database, user, days=days)
    finally:
        database.close()
    if as_json:
        click.echo(json.dumps({**asdict(found), "command": found.command}, indent=2))
        return
    if not found.scopes:
        click.echo(f"{one_line(user)}: no requests in the last {days} days; nothing to suggest")
    for scope in found.scopes:
        click.echo(scope)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if found.command:
        click.echo(f"\n{one_line(found.command)}")
