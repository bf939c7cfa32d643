"""`compat-auth completion`: the script with which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_COMPAT_AUTH_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    Example: compat-auth completion bash > /etc/bash_completion.d/compat-auth
    Example: compat-auth completion zsh > /usr/local/share/zsh/site-functions/_compat-auth
    Example: compat-auth completion fish > ~/.config/fish/completions/compat-auth.fish
    """
    click.echo(script_for(shell, ctx.find_root().command))


def script_for(shell: str, command: click.Command) -> str:
    """Return the script of a shell; it asks the program itself, so that it stays right after an upgrade."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click knows the three
    completer = kind(command, {}, "compat-auth", _VARIABLE)
    # Not source(): for bash that starts a bash, and a build machine may have none.
    return completer.source_template % completer.source_vars()
