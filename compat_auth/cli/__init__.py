"""The command `compat-auth`: thin, every verb in a module of its own."""

from __future__ import annotations

import sys

import click

from compat_auth import __version__
from compat_auth.cli.backends import backends
from compat_auth.cli.check import check
from compat_auth.cli.demo import demo
from compat_auth.cli.explain import explain_command
from compat_auth.cli.keys import keys
from compat_auth.cli.serve import serve
from compat_auth.cli.users import users
from compat_auth.errors import CompatAuthError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="compat-auth")
def commands() -> None:
    """Old clients keep the login they have; the new API gets the JWT it wants."""


for command in (backends, check, demo, explain_command, keys, serve, users):
    commands.add_command(command)


def main() -> None:
    """Run the command; an error of ours ends it with its own exit status (sysexits.h)."""
    try:
        commands.main()
    except CompatAuthError as error:
        click.echo(f"compat-auth: {error}", err=True)
        sys.exit(error.exit_code)
