"""`compat-auth workloads`: rules for the tokens of platforms."""

from __future__ import annotations

import sys

import click

from compat_auth.authn.workloads.suggestion import ACCOUNT, suggest
from compat_auth.credentials import looks_like_personal_token
from compat_auth.errors import InvalidToken
from compat_auth.tokens.jose.jwt import read_unverified

# Far above any token of a platform; who pipes a file in by mistake need not wait for all of it.
_MAX_CHARS = 64 * 1024


@click.group()
def workloads() -> None:
    """Let jobs, pods and machines in with the token that their platform gives them."""


@workloads.command("suggest")
@click.argument("token", required=False)
def suggest_command(token: str | None) -> None:
    """Print the lines of a rule for TOKEN, or for the token on standard input.

    The command reads the token without checking its signature. The person who gave it to you may have written it, so
    compare each printed value with what you know of the platform. The token itself is not printed.

    Example: compat-auth workloads suggest < token.jwt
    """
    text = token if token not in (None, "-") else sys.stdin.read(_MAX_CHARS + 1)
    text = (text or "").strip().removeprefix("Bearer ").strip()
    if not text:
        raise click.UsageError("no token: give one as the argument, or on standard input")
    if looks_like_personal_token(text):
        raise click.UsageError(
            "this is a personal token of compat_auth, which needs no rule; revoke it if others saw it"
        )
    try:
        lines = suggest(read_unverified(text))
    except InvalidToken as error:
        raise click.UsageError(f"no rule for this token: {error}; use one that the platform gave to a job") from None
    click.echo("# From a token whose signature was NOT checked: compare each value with what you know of the platform.")
    click.echo(
        f"# Then set account (compat-auth users add {ACCOUNT} --role-account --group GROUP makes one) and scopes."
    )
    for line in lines:
        click.echo(line)
