"""`compat-auth users pins` and `unpin`: which account of an identity provider each user is held to."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone

import click

from compat_auth.authn.revocation_events import RevocationEvent, RevocationEvents
from compat_auth.cli import context
from compat_auth.cli.context import config_option, start_logging
from compat_auth.config import load_settings
from compat_auth.errors import NoSuchUser
from compat_auth.store.migration import open_store
from compat_auth.store.tables.pinned_subjects import PinnedSubjects


@click.command()
@config_option
@click.option("--user", "username", default="", help="Of this user only, named as the upstream does.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def pins(config_path: str | None, username: str, *, as_json: bool) -> None:
    """List which account each user is held to: user, issuer, subject, since when."""
    start_logging("WARNING")
    database = open_store(load_settings(config_path).database_url.get_secret_value())
    found = PinnedSubjects(database).of_user(username)
    database.close()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(pin) for pin in found], ensure_ascii=False, indent=2))
        return
    for pin in found:
        since = datetime.fromtimestamp(pin.pinned, timezone.utc)
        click.echo(f"{pin.username}\t{pin.issuer}\t{pin.subject}\t{since:%Y-%m-%d %H:%M}Z")


@click.command()
@config_option
@click.argument("name")
@click.option("--issuer", default="", help="Of this issuer only, spelled as `pins` does.")
def unpin(config_path: str | None, name: str, issuer: str) -> None:
    """Hold the user NAME to no account any more; the next one that comes in as NAME is kept."""
    start_logging("WARNING")
    settings = load_settings(config_path)
    database = open_store(settings.database_url.get_secret_value())
    removed = PinnedSubjects(database).remove(name, issuer)
    database.close()
    if not removed:
        raise NoSuchUser(f"{name!r}: held to no account" + (f" of {issuer}" if issuer else ""))
    RevocationEvents.from_settings(settings).announce(RevocationEvent(name))
    context.record("user unpinned", f"{name}: {removed} account(s)", command="users unpin")
    click.echo(f"{name}: {removed} account(s) unpinned")
