"""`compat-auth logout`: take back what a login has yielded, and forget it."""

from __future__ import annotations

import click

from compat_auth.client.origin import parse_server
from compat_auth.client.saved_logins import KeptLogins
from compat_auth.client.shell_login import log_out_of
from compat_auth.errors import LoginUnavailable


@click.command()
@click.argument("url", required=False, default="")
@click.option(
    "--revoke-credential",
    "also_credential",
    is_flag=True,
    help="Take back the token, too, that you have logged in with: for every script that uses it.",
)
def logout(url: str, *, also_credential: bool) -> None:
    """End the login at URL, or the only one.

    The server is told to take back the JWT that it gave, and what was kept is removed from this machine. Where the server
    cannot be told, the removal is done all the same and the exit status is 69: the JWT is then good until it ends.
    """
    kept = KeptLogins()
    login = kept.find(parse_server(url, allow_http=True).base if url else "")
    try:
        log_out_of(kept, login, also_credential=also_credential)
    except LoginUnavailable as error:
        raise LoginUnavailable(
            f"forgotten on this machine, but not taken back at {login.server}: {error}; what it gave is good until it ends"
        ) from None
    click.echo(f"logged out at {login.server}")
