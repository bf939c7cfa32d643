"""The command `compat-auth`: arguments, output and exit codes; lower rooms do the work.

A new command is a module here, or a package if it is large, and a line in `_COMMANDS` below. `import` is in `migration`,
`migrate` in `scripts`.

Imports: everything; nothing imports it.
"""

from __future__ import annotations

import importlib
import sys
from typing import cast

import click

from compat_auth import __version__
from compat_auth.errors import CompatAuthError

_COMMANDS = {
    "audit": "compat_auth.cli.audit.commands:audit",
    "backends": "compat_auth.cli.backends:backends",
    "check": "compat_auth.cli.check:check",
    "curl": "compat_auth.cli.curl:curl",
    "db": "compat_auth.cli.db:db",
    "demo": "compat_auth.cli.demo.command:demo",
    "doctor": "compat_auth.cli.doctor.command:doctor",
    "explain": "compat_auth.cli.explain:explain_command",
    "import": "compat_auth.cli.migration.command:import_command",
    "init": "compat_auth.cli.settings.init:init",
    "keys": "compat_auth.cli.keys:keys",
    "login": "compat_auth.cli.login:login",
    "logout": "compat_auth.cli.login:logout",
    "migrate": "compat_auth.cli.scripts.command:migrate",
    "proxy-config": "compat_auth.cli.proxy_config.command:proxy_config",
    "report": "compat_auth.cli.usage.command:report",
    "serve": "compat_auth.cli.serve:serve",
    "settings": "compat_auth.cli.settings.command:settings_command",
    "stages": "compat_auth.cli.stages.commands:stages",
    "token": "compat_auth.cli.login:token",
    "tokens": "compat_auth.cli.tokens:tokens",
    "users": "compat_auth.cli.users.commands:users",
    "workloads": "compat_auth.cli.workloads.commands:workloads",
}


class LazyGroup(click.Group):
    """A group that imports a command only when it runs: `keys list` must not wait for the web server's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command with this name, or None."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        return cast("click.Command", getattr(importlib.import_module(module), attribute))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="compat-auth")
def commands() -> None:
    """Old clients keep their login; the new API gets the JWT that it needs."""


def main() -> None:
    """Run the command; each of our errors sets its own exit status (sysexits.h)."""
    try:
        commands.main()
    except CompatAuthError as error:
        click.echo(f"compat-auth: {error}", err=True)
        sys.exit(error.exit_code)
