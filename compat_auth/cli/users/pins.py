"""`compat-auth users pins` and `unpin`: the links of users to accounts of identity providers."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import click

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.cli import context
from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.terminal.table import print_table
from compat_auth.config import load_settings
from compat_auth.errors import NoSuchUser
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import PinnedSubjects


@click.command()
@config_option
@click.option("--user", "username", default="", help="Only this user, by the upstream's user name.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def pins(config_path: str | None, username: str, *, as_json: bool) -> None:
    """List the account links: user, issuer, subject, since when."""
    start_logging("WARNING")
    database = open_store(load_settings(config_path).database_url.get_secret_value())
    found = PinnedSubjects(database).of_user(username)
    database.close()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(pin) for pin in found], ensure_ascii=False, indent=2))
        return
    rows = [
        (pin.username, pin.issuer, pin.subject, f"{datetime.fromtimestamp(pin.pinned, UTC):%Y-%m-%d %H:%M}Z")
        for pin in found
    ]
    print_table(("USER", "ISSUER", "SUBJECT", "SINCE"), rows, plain="{0}\t{1}\t{2}\t{3}")


@click.command()
@config_option
@click.argument("name")
@click.option("--issuer", default="", help="Only this issuer, as `pins` prints it.")
def unpin(config_path: str | None, name: str, issuer: str) -> None:
    """Remove the account links of the user NAME; the next account that logs in as NAME is linked."""
    start_logging("WARNING")
    settings = load_settings(config_path)
    database = open_store(settings.database_url.get_secret_value())
    removed = PinnedSubjects(database).remove(name, issuer)
    database.close()
    if not removed:
        raise NoSuchUser(f"{name!r}: linked to no account" + (f" of {issuer}" if issuer else ""))
    RevocationEvents.from_settings(settings).announce(RevocationEvent(name))
    context.record("user unpinned", f"{name}: {removed} account(s)", command="users unpin")
    click.echo(f"{name}: {removed} account(s) unpinned")
