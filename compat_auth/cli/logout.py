"""`compat-auth logout`: forget a login."""

from __future__ import annotations

import click

from compat_auth.client.kept_logins import KeptLogins
from compat_auth.client.origin import parse_server


@click.command()
@click.argument("url", required=False, default="")
def logout(url: str) -> None:
    """Forget the login at URL, or the only one.

    What was kept is removed from this machine. A personal token goes on working until it is revoked, a JWT until it
    ends.
    """
    kept = KeptLogins()
    login = kept.find(parse_server(url, allow_http=True).base if url else "")
    kept.forget(login)
    click.echo(f"logged out at {login.server}")
