"""`compat-auth tokens`: the personal tokens of all users, for the operator of the server."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import click

from compat_auth.cli import context
from compat_auth.cli.context import config_option, opened_tokens, read_certificate
from compat_auth.cli.terminal.progress import progress
from compat_auth.cli.terminal.table import print_table
from compat_auth.cli.usage.suggest import suggest
from compat_auth.client_certificates import can_see_certificates, thumbprint_of
from compat_auth.config import load_settings
from compat_auth.errors import InvalidValue
from compat_auth.personal_tokens.pruning import prune as prune_tokens
from compat_auth.personal_tokens.request import NO_CERTIFICATES, NewToken, PersonalTokenRequest, is_thumbprint
from compat_auth.scopes import ALL
from compat_auth.store.tables.personal_tokens import PersonalToken
from compat_auth.store.tables.role_accounts import RoleAccountRows

_BY = "compat-auth tokens"


@click.group()
def tokens() -> None:
    """Manage the personal tokens of all users."""


tokens.add_command(suggest)
_id = click.argument("token_id", metavar="ID")
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
_days = click.option("--days", type=int, help="The last day, counted from today (UTC); default [personal_tokens].")


@tokens.command()
@config_option
@click.option("--user", required=True, metavar="NAME", help="Whose token it is to be.")
@click.option("--name", required=True, metavar="LABEL", help="Name of the token: 1 to 64 characters.")
@_days
@click.option(
    "--scope", "scopes", multiple=True, help="What it may do, such as read or 'GET /api/v2/dags'; default all."
)
@click.option(
    "--certificate",
    metavar="FILE",
    help="PEM file of a client certificate, or its x5t#S256: the token works beside this certificate alone.",
)
@_json
def create(
    config_path: str | None,
    user: str,
    name: str,
    days: int | None,
    scopes: tuple[str, ...],
    certificate: str | None,
    *,
    as_json: bool,
) -> None:
    """Create a token and print it: it is shown only once."""
    thumbprint = "" if certificate is None else _thumbprint(certificate)
    if thumbprint and not can_see_certificates(load_settings(config_path)):
        raise InvalidValue(f"--certificate: {NO_CERTIFICATES}")
    with opened_tokens(config_path) as service:
        is_role = RoleAccountRows(service.rows.database).owners_of(user) is not None
        owner = user if is_role else service.owners.canonical_name(user)
        request = PersonalTokenRequest(name, scopes or (ALL,), days, thumbprint)
        made = service.create(owner, request, by=_BY, is_role=is_role)
    context.record("token created", f"{made.token.id} of {owner}", command="tokens create")
    _print_secret(made, as_json=as_json)


@tokens.command("list")
@config_option
@click.option("--user", metavar="NAME", help="Only this user's.")
@_json
def list_tokens(config_path: str | None, user: str | None, as_json: bool) -> None:
    """List the tokens that are not revoked: user, name, last day, last use."""
    with opened_tokens(config_path) as service:
        found = service.list(user)
    if as_json:
        click.echo(json.dumps([describe(token) for token in found], ensure_ascii=False, indent=2))
        return
    rows = [
        (
            token.id,
            token.username,
            token.name,
            _utc(token.expires),
            "never" if token.last_used is None else _utc(token.last_used),
        )
        for token in found
    ]
    print_table(("ID", "USER", "NAME", "UNTIL", "LAST USED"), rows, plain="{0}  {1}  {2}  until {3}  last used {4}")


@tokens.command()
@config_option
@_id
@click.option("--days", type=int, help="The last day, counted from today (UTC); default: as many days as it had.")
@click.option("--overlap", "overlap_s", type=int, default=0, help="Seconds for which the old secret still works.")
@_json
def refresh(config_path: str | None, token_id: str, days: int | None, overlap_s: int, *, as_json: bool) -> None:
    """Give the token ID a new secret and a new last day, and print it."""
    with opened_tokens(config_path) as service:
        made = service.refresh(service.get(token_id), days=days, overlap_s=overlap_s)
    context.record("token refreshed", f"{token_id} of {made.token.username}", command="tokens refresh")
    _print_secret(made, as_json=as_json)


@tokens.command()
@config_option
@click.argument("token_id", metavar="ID", required=False)
@click.option("--user", metavar="NAME", help="Revoke all tokens of this user, instead of ID.")
def revoke(config_path: str | None, token_id: str | None, user: str | None) -> None:
    """Revoke the token ID, or all tokens of a user."""
    if (token_id is None) == (user is None):
        raise click.UsageError("give the ID of a token, or --user")
    with opened_tokens(config_path) as service:
        if user is not None:
            revoked = service.revoke_all(user, reason="revoked by an operator")
            context.record("token revoked", f"all of {user}: {revoked}", command="tokens revoke")
            click.echo(f"{revoked} token(s) of {user} revoked")
            return
        assert token_id is not None  # noqa: S101  # for the type checkers: one of the two is given
        token = service.get(token_id)
        service.revoke(token, reason="revoked by an operator")
    context.record("token revoked", f"{token_id} of {token.username}", command="tokens revoke")
    click.echo(f"{token_id}: {token.name!r} of {token.username} is revoked")


@tokens.command()
@config_option
@click.option(
    "--keep-days",
    type=click.IntRange(0),
    default=90,
    show_default=True,
    help="How long to keep revoked and expired tokens.",
)
@_json
def prune(config_path: str | None, keep_days: int, *, as_json: bool) -> None:
    """Revoke the tokens of deleted users, and delete those that were revoked or expired long ago; for a daily timer."""
    with opened_tokens(config_path) as service, progress("owners asked") as step:
        service.owners.require_some()
        done = prune_tokens(service, keep_days=keep_days, step=step)
    about = f"{done.revoked} of deleted users revoked, {done.deleted} dead ones deleted"
    context.record("tokens pruned", about, command="tokens prune")
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(done)))
        return
    click.echo(
        f"{done.revoked} of deleted users revoked, {done.waiting} of disabled or missing users rejected, "
        f"{done.deleted} old ones deleted"
    )


def _print_secret(made: NewToken, *, as_json: bool) -> None:
    """Print a token that is shown only once; for programs with what is known about it."""
    click.echo(json.dumps({"token": made.text, **describe(made.token)}, ensure_ascii=False) if as_json else made.text)


def describe(token: PersonalToken) -> dict[str, object]:
    """Return a token as a JSON object for programs."""
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
        "certificate": token.certificate,
    }


def _thumbprint(text: str) -> str:
    """Return the `x5t#S256` that an option names, or that of the first certificate in the file that it names."""
    if not Path(text).exists() and is_thumbprint(text):
        return text
    return thumbprint_of(read_certificate(text, option="--certificate"))


def _utc(timestamp: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
