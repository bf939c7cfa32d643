"""`compat-auth users`: the users of an htpasswd file, and the accounts that users are held to."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from compat_auth import password_file
from compat_auth.cli.pins import pins, unpin
from compat_auth.hashing import MAX_PASSWORD_BYTES, new_hasher

SHORT_PASSWORD_CHARS = 15  # NIST SP 800-63B-4 3.1.1.2, for a password that is the only factor


def _check_name(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not password_file.is_valid_name(name):
        raise click.BadParameter("no colon, no control characters, no '#' at the beginning, no space at either end")
    return name


_name = click.argument("name", callback=_check_name)
_file = click.option(
    "--file", "path", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The htpasswd file."
)
_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from one line of standard input.")


@click.group()
def users() -> None:
    """Keep the users of an htpasswd file, and the accounts elsewhere that users are held to."""


users.add_command(pins)
users.add_command(unpin)


@users.command()
@_name
@_file
@_stdin
def add(name: str, path: Path, *, password_stdin: bool) -> None:
    """Add the user NAME; makes the file where there is none."""
    # Before anybody types a password in vain; decided again under the lock.
    password_file.check_absent(path, name)
    password_file.add_user(path, name, _ask_hash(from_stdin=password_stdin))
    click.echo(f"{path}: {name} added")


@users.command("set-password")
@_name
@_file
@_stdin
def set_password(name: str, path: Path, *, password_stdin: bool) -> None:
    """Give the user NAME another password; a disabled user stays disabled."""
    password_file.set_hash(path, name, _ask_hash(from_stdin=password_stdin))
    click.echo(f"{path}: password of {name} changed")


@users.command()
@_name
@_file
def disable(name: str, path: Path) -> None:
    """Lock the user NAME out, keeping the password for `enable`."""
    password_file.disable_user(path, name)
    click.echo(f"{path}: {name} disabled")


@users.command()
@_name
@_file
def enable(name: str, path: Path) -> None:
    """Let the disabled user NAME in again."""
    password_file.enable_user(path, name)
    click.echo(f"{path}: {name} enabled")


@users.command()
@_name
@_file
def delete(name: str, path: Path) -> None:
    """Take the user NAME out of the file."""
    password_file.delete_user(path, name)
    click.echo(f"{path}: {name} deleted")


@users.command("list")
@_file
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of name, state and scheme.")
def list_users(path: Path, *, as_json: bool) -> None:
    """List the users: name, state, and the scheme of the hash."""
    entries = password_file.list_entries(path)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], ensure_ascii=False, indent=2))
        return
    for entry in entries:
        click.echo(f"{entry.name}\t{entry.state}\t{entry.scheme or '-'}")


def _ask_hash(*, from_stdin: bool) -> str:
    password = _read_line() if from_stdin else _ask_twice()
    if not password:
        raise click.UsageError("the password is empty")
    if not password.isprintable():
        raise click.UsageError("the password holds control characters, which Basic authentication cannot carry")
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
