"""`compat-auth login` and `logout`: the saved logins of `compat-auth curl`; and `token`, one JWT for another program."""

from __future__ import annotations

import os
import sys

import click

from compat_auth.client.origin import parse_server
from compat_auth.client.saved_logins import FILE, KERBEROS, KEYRING, PASSWORD, TOKEN, SavedLogin, SavedLogins
from compat_auth.client.shell_login import fetch_jwt, fresh_token_of, log_in_to, log_out_of
from compat_auth.errors import LoginUnavailable


@click.command()
@click.argument("url")
@click.option("-u", "--user", metavar="NAME", help="User name; asks for it if it is missing.")
@click.option("--token", "with_token", is_flag=True, help="Log in with a personal, ID or access token.")
@click.option("--kerberos", "with_ticket", is_flag=True, help="Log in with your Kerberos ticket.")
@click.option("--secret-stdin", is_flag=True, help="Read the password or token from one line of standard input.")
@click.option(
    "--keep-in",
    type=click.Choice([KEYRING, FILE]),
    default=KEYRING,
    show_default=True,
    help="Where to save the secret: the system's keyring, or a file that only you can read.",
)
@click.option("--allow-http", is_flag=True, help="Allow secrets to cross the network unencrypted.")
def login(
    url: str,
    user: str | None,
    keep_in: str,
    *,
    with_token: bool,
    with_ticket: bool,
    secret_stdin: bool,
    allow_http: bool,
) -> None:
    """Log in at the gateway or the Airflow 3 at URL, and save the login for `compat-auth curl`.

    Asks for user name and password, unless you pass --token or --kerberos. It saves the password or token itself and
    the last JWT, so that `curl` can get the next JWT without asking you.
    """
    if with_token + with_ticket + (user is not None) > 1:
        raise click.UsageError("--user, --token and --kerberos exclude each other; choose one")
    server = parse_server(url, allow_http=allow_http)
    kind = TOKEN if with_token else KERBEROS if with_ticket else PASSWORD
    username = ""
    if kind == PASSWORD:
        username = user if user is not None else str(click.prompt("User name", err=True))
    saved = SavedLogin(server.base, kind, username, keep_in, allow_http)
    secret = log_in_to(saved, "" if kind == KERBEROS else _ask(kind, from_stdin=secret_stdin))
    SavedLogins().save(saved, secret)
    click.echo(f"logged in at {server.base}; saved in the {'system keyring' if keep_in == KEYRING else 'file'}")


def _ask(kind: str, *, from_stdin: bool) -> str:
    if from_stdin:
        secret = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        secret = str(click.prompt("Password" if kind == PASSWORD else "Token", hide_input=True, err=True))
    else:
        raise click.UsageError("no terminal to ask for the secret; pass --secret-stdin and one line on standard input")
    if not secret:
        raise click.UsageError("nothing was given")
    return secret


@click.command()
@click.argument("url", required=False, default="")
@click.option("-u", "--user", metavar="NAME", help="Log in with this user name and a password.")
@click.option("--kerberos", "with_ticket", is_flag=True, help="Log in with your Kerberos ticket.")
@click.option("--token-env", "variable", metavar="VARIABLE", help="Log in with the token in this environment variable.")
@click.option("--secret-stdin", is_flag=True, help="Read the password from one line of standard input.")
@click.option("--allow-http", is_flag=True, help="Allow secrets to cross the network unencrypted.")
def token(
    url: str, user: str | None, variable: str | None, *, with_ticket: bool, secret_stdin: bool, allow_http: bool
) -> None:
    """Print a fresh JWT, and nothing else, on standard output.

    Without an option it uses your saved login at URL, or your only one (`compat-auth login`). With --user, --kerberos or
    --token-env it logs in at URL with that credential and saves nothing.

    Example: AIRFLOW_CLI_TOKEN=$(compat-auth token https://airflow.example.com) airflowctl dags list
    """
    if with_ticket + (user is not None) + (variable is not None) > 1:
        raise click.UsageError("--user, --token-env and --kerberos exclude each other; choose one")
    if secret_stdin and user is None:
        raise click.UsageError("--secret-stdin reads the password of --user NAME; add it")
    kind = KERBEROS if with_ticket else PASSWORD if user is not None else TOKEN if variable is not None else ""
    if not kind:
        if allow_http:
            raise click.UsageError("--allow-http is for a credential that you give here; a saved login has its own")
        saved = SavedLogins()
        server = parse_server(url, allow_http=True).base if url else ""
        click.echo(fresh_token_of(saved, saved.find(server)))
        return
    if not url:
        raise click.UsageError("no URL; name the gateway or the Airflow 3 at which to log in")
    login = SavedLogin(parse_server(url, allow_http=allow_http).base, kind, user or "", FILE, allow_http)
    click.echo(fetch_jwt(login, _given(kind, variable or "", from_stdin=secret_stdin)).value)


def _given(kind: str, variable: str, *, from_stdin: bool) -> str:
    if kind == KERBEROS:
        return ""
    if kind == PASSWORD:
        return _ask(kind, from_stdin=from_stdin)
    found = os.environ.get(variable, "").strip()
    if not found:
        raise click.UsageError(f"${variable} is empty or not set; put the token there")
    return found


@click.command()
@click.argument("url", required=False, default="")
@click.option(
    "--revoke-credential",
    "also_credential",
    is_flag=True,
    help="Also revoke the token that you logged in with, for every script that uses it.",
)
def logout(url: str, *, also_credential: bool) -> None:
    """Log out at URL, or at the only server with a saved login.

    Revokes the JWT at the server, and removes the saved login from this machine. If the server cannot be reached, it
    removes the login anyway, and the exit status is 69: the JWT then stays valid until it expires.
    """
    saved = SavedLogins()
    login = saved.find(parse_server(url, allow_http=True).base if url else "")
    try:
        log_out_of(saved, login, also_credential=also_credential)
    except LoginUnavailable as error:
        raise LoginUnavailable(
            f"removed from this machine, but not revoked at {login.server}: {error}; its JWT stays valid until it expires"
        ) from None
    click.echo(f"logged out at {login.server}")
