"""`compat-auth explain`: explain why a request gets its answer."""

from __future__ import annotations

import base64
import ipaddress

import click

from compat_auth.cli.context import config_option, read_certificate, start_logging
from compat_auth.cli.diagnosis.connection import Connection
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
@click.option(
    "--from",
    "address",
    metavar="ADDRESS",
    help="Address that the connection comes from, such as a front proxy's; default 127.0.0.1.",
)
@click.option(
    "--certificate",
    metavar="FILE",
    help="PEM file of the client's certificate: shown in TLS, or forwarded if --from is in client_certificate.proxies.",
)
@click.argument("method", metavar="METHOD")
@click.argument("target", metavar="PATH")
def explain_command(
    config_path: str | None,
    user: str | None,
    headers: tuple[str, ...],
    data: str,
    address: str | None,
    certificate: str | None,
    method: str,
    target: str,
) -> None:
    """Replay a request through the chain: each backend's decision and its reason, with secrets masked.

    For a path below /api/v1 it also prints every call to /api/v2 that the request may make, which of them
    write, and the answers that optional calls depend on.

    It sends nothing to the upstream, unless a directory or strategy of the configuration checks a password there.

    It also says for each header about the caller, and for a client's certificate, which backend believes it, or why
    none does.

    Example: compat-auth explain -u alice GET /api/v2/dags
    Example: compat-auth explain --from 10.0.0.5 -H 'X-Forwarded-User: alice' GET /api/v2/dags
    """
    start_logging("ERROR")
    pairs = [_pair(header) for header in headers]
    if user is not None:
        name, colon, password = user.partition(":")
        secret = password if colon else click.prompt(f"Password for {name}", hide_input=True, err=True)
        pairs.append(("Authorization", "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode("ascii")))
    connection = _connection(address, certificate)
    replay = Replay(method.upper(), target, tuple(pairs), data.encode(), connection)
    for line in explain(load_settings(config_path), replay):
        click.echo(line)


def _connection(address: str | None, certificate: str | None) -> Connection:
    try:
        shown = str(ipaddress.ip_address(Connection().address if address is None else address))
    except ValueError:
        raise click.BadParameter(f"{address!r}: not an IP address", param_hint="--from") from None
    der = b"" if certificate is None else read_certificate(certificate, option="--certificate")
    return Connection(shown, der, is_given=address is not None or certificate is not None)


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{name!r}: not NAME: VALUE", param_hint="--header")
    return name.strip(), value.strip()
