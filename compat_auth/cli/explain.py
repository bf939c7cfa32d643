"""`compat-auth explain`: explain why a request gets its answer."""

from __future__ import annotations

import base64

import click

from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.diagnosis.explanation import Replay, explain
from compat_auth.config import load_settings


@click.command("explain")
@config_option
@click.option(
    "-u", "--user", metavar="NAME[:PASSWORD]", help="Basic credential; asks for the password if it is missing."
)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME: VALUE", help="A request header; may be repeated."
)
@click.option(
    "-d", "--data", default="", metavar="JSON", help="Body of the request, if scopes or the translation need it."
)
@click.argument("method", metavar="METHOD")
@click.argument("target", metavar="PATH")
def explain_command(
    config_path: str | None, user: str | None, headers: tuple[str, ...], data: str, method: str, target: str
) -> None:
    """Replay a request through the chain: each backend's decision and its reason, with secrets masked.

    For a path below /api/v1 it also prints every call to /api/v2 that the request may make, which of them
    write, and the answers that optional calls depend on.

    It sends nothing to the upstream, unless a directory or strategy of the configuration checks a password there.

    Example: compat-auth explain -u alice GET /api/v2/dags
    """
    start_logging("ERROR")
    pairs = [_pair(header) for header in headers]
    if user is not None:
        name, colon, password = user.partition(":")
        secret = password if colon else click.prompt(f"Password for {name}", hide_input=True, err=True)
        pairs.append(("Authorization", "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode("ascii")))
    for line in explain(load_settings(config_path), Replay(method.upper(), target, tuple(pairs), data.encode())):
        click.echo(line)


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{name!r}: not NAME: VALUE", param_hint="--header")
    return name.strip(), value.strip()
