"""`compat-auth man`: the manual page."""

from __future__ import annotations

import click

from compat_auth import __version__
from compat_auth.cli.manual.man_page import man_page

# docs/reference/commands.md has the same.
EXIT_STATUS = (
    ("0", "success"),
    ("1", "demo --check: a command of the demo did not work as promised; audit verify: an event is missing or changed"),
    ("2", "wrong usage"),
    ("3", "import, migrate: a person must act on the lines that begin with ACT"),
    ("69", "a source is unavailable, or the front proxy of serve --front has ended"),
    ("77", "a login is refused or missing (login, logout, curl, token)"),
    ("78", "the configuration has to change, or doctor has found a failure"),
)


@click.command()
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual page of all commands.

    Example: compat-auth man > /usr/local/share/man/man1/compat-auth.1
    Example: compat-auth man | man --local-file -
    """
    root = ctx.find_root().command
    click.echo(man_page(root, name="compat-auth", version=__version__, status=EXIT_STATUS), nl=False)
