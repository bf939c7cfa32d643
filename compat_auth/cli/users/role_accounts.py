"""`compat-auth users` for role accounts, which are in the database and have tokens instead of a password."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import click

from compat_auth.authn.users.directories import load_directories
from compat_auth.cli import context
from compat_auth.cli.context import opened_tokens
from compat_auth.cli.terminal.table import print_table
from compat_auth.config import Settings, load_settings
from compat_auth.directory import HashDirectory, UserDirectory
from compat_auth.errors import InvalidValue, NoSuchUser
from compat_auth.requirements import Requirements
from compat_auth.store.tables.denylist import DenylistRows
from compat_auth.store.tables.role_accounts import RoleAccount, RoleAccountRows

_KINDS = ("group:", "role:")


def add_role_account(config_path: str | None, name: str, group: str) -> None:
    """Create a role account, after a check that its tokens would work."""
    owners = group if group.startswith(_KINDS) else f"group:{group}"
    # Raises for an invalid requirement.
    Requirements(any_of=(owners,))
    warning = _warn_of_person(load_settings(config_path), name)
    with opened_tokens(config_path) as tokens:
        try:
            tokens.owners.find(name, is_role=True)
        except NoSuchUser as error:
            raise InvalidValue(
                f"{error}; the upstream must know the role account: first add the user there, or to the mapping file"
            ) from None
        RoleAccountRows(tokens.rows.database).add(RoleAccount(name, owners, int(tokens.now())))
        # The role account would inherit the JWTs and personal tokens of a former person of this name.
        DenylistRows(tokens.rows.database).revoke_issued_to(name, int(tokens.now()))
        tokens.revoke_all(name, reason="its name is a role account's now")
    context.record("role account added", f"{name}, kept by {owners}", command="users add")
    if warning:
        click.echo(warning, err=True)
    click.echo(f"{name}: role account added, its tokens are managed by {owners}")


def delete_role_account(config_path: str | None, name: str) -> None:
    """Delete a role account, and revoke all its tokens."""
    with opened_tokens(config_path) as tokens:
        # First: once the account is deleted, its tokens would belong to an ordinary user of this name.
        revoked = tokens.revoke_all(name, reason="its role account was deleted")
        if not RoleAccountRows(tokens.rows.database).delete(name):
            raise InvalidValue(f"{name!r}: no such role account")
        # JWTs that a workload got as this account are made from no personal token.
        DenylistRows(tokens.rows.database).revoke_issued_to(name, int(tokens.now()))
        revoked += tokens.revoke_all(name, reason="its role account was deleted")
    context.record("role account deleted", f"{name}, with {revoked} token(s)", command="users delete")
    click.echo(f"{name}: role account deleted, {revoked} token(s) revoked")
    if rules := ", ".join(_rules_for(load_settings(config_path), name)):
        click.echo(
            f"warning: {rules}: still names {name}, and lets a user of that name in, where a directory knows one or will; "
            "remove the rule",
            err=True,
        )


def list_role_accounts(config_path: str | None, *, as_json: bool) -> None:
    """List the role accounts, and who manages their tokens."""
    with opened_tokens(config_path) as tokens:
        accounts = RoleAccountRows(tokens.rows.database).list()
    if as_json:
        found = [{"name": one.username, "owners": one.owners, "created_at": _utc(one.created)} for one in accounts]
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    print_table(("NAME", "OWNERS"), [(one.username, one.owners) for one in accounts], plain="{0}\t{1}")


def _rules_for(settings: Settings, name: str) -> Iterator[str]:
    """Yield the rules by which somebody acts as an account of this name, or which let it act for others."""
    named = {
        "workloads": [rule.account for rule in settings.workloads],
        "airflow_task.rules": [rule.account for rule in settings.airflow_task.rules],
        "do_as": [caller for rule in settings.do_as for caller in rule.callers],
    }
    return (place for place, accounts in named.items() if name in accounts)


def _warn_of_person(settings: Settings, name: str) -> str:
    """Return a warning about a user of this name who has a password; "" if no directory knows one.

    Raises:
        InvalidValue: The upstream does not need this user, so it is a person who would be locked out.
    """
    names = [directory for directory in settings.basic_auth.directories if directory != "upstream"]
    for directory in load_directories(names, settings) if names else ():
        user = directory.find(name) if isinstance(directory, UserDirectory) else None
        if user is None or (isinstance(directory, HashDirectory) and not user.password_hash):
            continue
        if settings.upstream.profile != "airflow-fab" or not user.upstream_id:
            raise InvalidValue(
                f"{name!r}: {directory.name} has a user of this name with a password, who would be locked out; choose "
                "another name, or delete that user first"
            )
        return (
            f"warning: {directory.name} knows {name!r} with a password: it no longer works here, but Airflow's "
            "own login still accepts it; give that user a password that nobody knows"
        )
    return ""


def _utc(timestamp: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))
