"""The command `compat-auth`: thin, every verb in a module of its own."""

from __future__ import annotations

import sys

import click

from compat_auth import __version__
from compat_auth.cli.serve import serve
from compat_auth.errors import CompatAuthError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="compat-auth")
def commands() -> None:
    """Old clients keep the login they have; the new API gets the JWT it wants."""


commands.add_command(serve)


def main() -> None:
    """Run the command; an error of ours ends it with its own exit status (sysexits.h)."""
    try:
        commands.main()
    except CompatAuthError as error:
        click.echo(f"compat-auth: {error}", err=True)
        sys.exit(error.exit_code)
