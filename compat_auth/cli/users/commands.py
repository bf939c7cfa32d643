"""`compat-auth users`: the users of an htpasswd file, role accounts, and account links."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from compat_auth.authn.passwords import htpasswd
from compat_auth.authn.passwords.hashes import MAX_PASSWORD_BYTES, new_hasher
from compat_auth.cli import context
from compat_auth.cli.context import config_option
from compat_auth.cli.terminal.table import print_table
from compat_auth.cli.users.departures import (
    required_config,
    revoke_all_of_deleted_user,
    revoke_all_of_former_user,
    revoke_all_of_user,
)
from compat_auth.cli.users.pins import pins, unpin
from compat_auth.cli.users.role_accounts import add_role_account, delete_role_account, list_role_accounts

SHORT_PASSWORD_CHARS = 15  # NIST SP 800-63B-4 3.1.1.2, for a password that is the only factor


def _check_name(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not htpasswd.is_valid_name(name):
        raise click.BadParameter(
            "must not contain a colon or control characters, begin with '#', or begin or end with a space"
        )
    return name


_name = click.argument("name", callback=_check_name)
_file = click.option(
    "--file", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The htpasswd file."
)
_some_file = click.option(
    "--file", "path", type=click.Path(path_type=Path, dir_okay=False), help="The htpasswd file; not for role accounts."
)
_role = click.option("--role-account", is_flag=True, help="An account for a service, without a password: tokens only.")
_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from one line of standard input.")
_revoke = click.option(
    "--revoke",
    is_flag=True,
    help="Also revoke the user's personal tokens, JWTs and sessions: for a leaked password.",
)


@click.group()
def users() -> None:
    """Manage the users of an htpasswd file, role accounts, and links to accounts of identity providers."""


users.add_command(pins)
users.add_command(unpin)


@users.command()
@config_option
@_name
@_some_file
@_stdin
@_role
@click.option(
    "--group",
    metavar="GROUP",
    help="For role accounts: the group whose members manage its tokens; role:NAME is a role.",
)
def add(
    config_path: str | None,
    name: str,
    path: Path | None,
    *,
    password_stdin: bool,
    role_account: bool,
    group: str | None,
) -> None:
    """Add the user NAME to the file, and create the file if it is missing; or add a role account to the database."""
    if role_account:
        if path is not None or password_stdin or not group:
            raise click.UsageError("a role account needs --group, and takes neither --file nor a password")
        add_role_account(config_path, name, group)
        return
    path = _required(path)
    if group:
        raise click.UsageError("--group is only for role accounts; add --role-account")
    # Check before the user types a password in vain; the check runs again under the lock.
    htpasswd.check_absent(path, name)
    password_hash = _ask_hash(from_stdin=password_stdin)
    revoke_all_of_former_user(config_path, name)
    htpasswd.add_user(path, name, password_hash)
    context.record("user added", f"{path}: {name}", command="users add")
    click.echo(f"{path}: {name} added")


@users.command("set-password")
@config_option
@_name
@_file
@_stdin
@_revoke
def set_password(config_path: str | None, name: str, path: Path, *, password_stdin: bool, revoke: bool) -> None:
    """Change the password of the user NAME; a disabled user stays disabled."""
    config = required_config(config_path) if revoke else None
    htpasswd.set_hash(path, name, _ask_hash(from_stdin=password_stdin))
    context.record("password changed", f"{path}: {name}", command="users set-password")
    click.echo(f"{path}: password of {name} changed")
    if config is not None:
        # After the change: nobody can create a token with the old password any more.
        revoke_all_of_user(config, name)


@users.command()
@config_option
@_name
@_file
@_revoke
def disable(config_path: str | None, name: str, path: Path, *, revoke: bool) -> None:
    """Disable the user NAME, but keep the password for `enable`."""
    config = required_config(config_path) if revoke else None
    htpasswd.disable_user(path, name)
    context.record("user disabled", f"{path}: {name}", command="users disable")
    click.echo(f"{path}: {name} disabled")
    if config is not None:
        revoke_all_of_user(config, name)


@users.command()
@_name
@_file
def enable(name: str, path: Path) -> None:
    """Enable the disabled user NAME again."""
    htpasswd.enable_user(path, name)
    context.record("user enabled", f"{path}: {name}", command="users enable")
    click.echo(f"{path}: {name} enabled")


@users.command()
@config_option
@_name
@_some_file
@_role
def delete(config_path: str | None, name: str, path: Path | None, *, role_account: bool) -> None:
    """Delete the user NAME from the file, or a role account from the database, and revoke all tokens and sessions.

    Without a configuration it cannot find the tokens and sessions, and warns about it.
    """
    if role_account:
        if path is not None:
            raise click.UsageError("--file is not for role accounts; remove it")
        delete_role_account(config_path, name)
        return
    path = _required(path)
    htpasswd.delete_user(path, name)
    context.record("user deleted", f"{path}: {name}", command="users delete")
    click.echo(f"{path}: {name} deleted")
    revoke_all_of_deleted_user(config_path, name)


@users.command("list")
@config_option
@_some_file
@click.option("--role-accounts", is_flag=True, help="List the role accounts.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of name, state and scheme.")
def list_users(config_path: str | None, path: Path | None, *, role_accounts: bool, as_json: bool) -> None:
    """List the users with state and hash scheme; or the role accounts and who manages their tokens."""
    if role_accounts:
        list_role_accounts(config_path, as_json=as_json)
        return
    path = _required(path)
    entries = htpasswd.list_entries(path)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], ensure_ascii=False, indent=2))
        return
    rows = [(entry.name, entry.state, entry.scheme or "-") for entry in entries]
    print_table(("NAME", "STATE", "SCHEME"), rows, plain="{0}\t{1}\t{2}")


def _required(path: Path | None) -> Path:
    if path is None:
        raise click.UsageError("missing option '--file'")
    return path


def _ask_hash(*, from_stdin: bool) -> str:
    password = _read_line() if from_stdin else _ask_twice()
    if not password:
        raise click.UsageError("the password is empty")
    if not password.isprintable():
        raise click.UsageError("the password contains control characters, which HTTP Basic cannot transport")
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        raise click.UsageError(f"the password is longer than {MAX_PASSWORD_BYTES} bytes")
    if len(password) < SHORT_PASSWORD_CHARS:
        click.echo(
            f"warning: shorter than {SHORT_PASSWORD_CHARS} characters, and nothing else protects this user", err=True
        )
    return new_hasher().hash(password)


def _read_line() -> str:
    line = sys.stdin.buffer.readline(MAX_PASSWORD_BYTES + 3)
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("the password on standard input is not UTF-8") from None


def _ask_twice() -> str:
    if not _is_terminal():
        raise click.UsageError(
            "no terminal to ask for the password; pass --password-stdin and one line on standard input"
        )
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Again"))


def _is_terminal() -> bool:
    return sys.stdin.isatty()
