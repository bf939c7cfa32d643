"""`compat-auth init`: from nothing to a configuration that serves, in at most five questions."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from compat_auth.cli.settings.discovery import (
    OldAirflow,
    look_at,
    read_old,
    suggested_cfg,
    suggested_keytab,
    suggested_url,
)
from compat_auth.cli.settings.first_file import Choices, problem_of, text_of
from compat_auth.cli.settings.new_file import introduce, require_free, write_new
from compat_auth.config import DEFAULT_FILE
from compat_auth.crypto.file_modes import read_unwritable
from compat_auth.errors import AddressTaken, CompatAuthError, ConfigError
from compat_auth.gateway.server.server import bind_socket

_NONE = "none"


@click.command()
@click.option("--output", metavar="FILE", default=DEFAULT_FILE, show_default=True, help="The file to write.")
@click.option("--airflow-url", metavar="URL", help="Base URL of Airflow 3's API.")
@click.option("--airflow-cfg", metavar="FILE", help="The old airflow.cfg with auth_backends; none: no old list.")
@click.option(
    "--jwt-secret-file", metavar="FILE", help="File with Airflow's [api_auth] jwt_secret; none: passwords only."
)
@click.option("--airflow-database-url", metavar="URL", help="Airflow's [database] sql_alchemy_conn; none: no database.")
@click.option("--keytab", metavar="FILE", help="Keytab with a key for HTTP; none: no tickets.")
@click.option("--bind", metavar="HOST:PORT", default="127.0.0.1:8088", show_default=True, help="Address to listen on.")
@click.option("--yes", is_flag=True, help="Ask nothing: take what is found and what is given.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def init(
    output: str,
    airflow_url: str | None,
    airflow_cfg: str | None,
    jwt_secret_file: str | None,
    airflow_database_url: str | None,
    keytab: str | None,
    bind: str,
    *,
    yes: bool,
    force: bool,
) -> None:
    """Write a first configuration, from what this machine says about Airflow and from at most five answers.

    Looks at airflow.cfg, a running Airflow and a keytab by itself, and asks what it cannot find. The file may have
    secrets in it, so only you can read it. Answer `none` to leave something out.
    """
    path = Path(output)
    _try_address(bind)
    require_free(path, replaces=force)
    asks = not yes and sys.stdin.isatty()
    cfg = _answer(asks, airflow_cfg, "airflow.cfg with the old auth_backends", suggested_cfg(os.environ))
    old = read_old(cfg, os.environ)
    # The gateway may start in another folder.
    cfg = _absolute(cfg)
    url = _answer(asks, airflow_url, "URL of Airflow 3", suggested_url(old)).rstrip("/")
    choices = Choices(url, _profile(url), cfg if old.backends else "", old.backends, "", "", "", bind)
    if cfg and not old.backends:
        click.echo(f"{cfg}: no auth_backends of Airflow 2 in it; the new file has a list of its own.", err=True)
    choices = _completed(choices, old, asks, jwt_secret_file, airflow_database_url, keytab)
    problem = problem_of(choices)
    if problem:
        raise ConfigError(problem)
    write_new(path, text_of(choices), replaces=force)
    introduce(path)


def _completed(
    choices: Choices,
    old: OldAirflow,
    asks: bool,
    jwt_secret_file: str | None,
    airflow_database_url: str | None,
    keytab: str | None,
) -> Choices:
    """Return the choices with what only a gateway that signs tokens itself needs."""
    found = old.text("api_auth", "jwt_secret")
    if jwt_secret_file is None and found:
        click.echo("[api_auth] jwt_secret: taken from Airflow's configuration.", err=True)
        secret = found
    else:
        question = "File with Airflow's [api_auth] jwt_secret (for tickets, tokens and sessions; none: passwords only)"
        secret = _read_secret(_answer(asks, jwt_secret_file, question, ""))
    if not secret:
        return replace(choices, keytab=_absolute(_given(keytab)))
    database = _answer(
        asks,
        airflow_database_url,
        "URL of Airflow's database",
        old.text("database", "sql_alchemy_conn"),
        is_secret=True,
    )
    tickets = _answer(asks, keytab, "Keytab for tickets", suggested_keytab(old))
    return replace(choices, jwt_secret=secret, airflow_database_url=database, keytab=_absolute(tickets))


def _absolute(path: str) -> str:
    # A keytab may be in another kind of place, such as KEYRING:name.
    return path if not path or ":" in path else str(Path(path).expanduser().absolute())


def _given(value: str | None) -> str:
    return "" if value is None or value == _NONE else value


def _answer(asks: bool, given: str | None, question: str, suggested: str, *, is_secret: bool = False) -> str:
    """Return the value of an option, else a person's answer, else the suggestion; empty for none."""
    if given is not None:
        return _given(given)
    if not asks:
        return suggested
    shown = "what was found" if is_secret and suggested else suggested or _NONE
    answer = str(click.prompt(question, default=shown))
    return suggested if answer == shown else _given(answer)


def _read_secret(path: str) -> str:
    if not path:
        return ""
    try:
        return read_unwritable(Path(path)).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"--jwt-secret-file: {path}: cannot be read ({exc}); name a file with the secret in it"
        ) from None


def _try_address(bind: str) -> None:
    """Listen for a moment where the gateway will.

    Raises:
        ConfigError: The address is malformed, or this machine does not have it.
    """
    try:
        bind_socket(bind, "--bind").close()
    except AddressTaken as error:
        click.echo(f"warning: {error}", err=True)


def _profile(url: str) -> str:
    found = look_at(url)
    if isinstance(found, ConfigError):
        raise found
    if isinstance(found, CompatAuthError):
        click.echo(
            f"warning: {found}\nThe file assumes FabAuthManager; `compat-auth check` says if that is wrong.", err=True
        )
        return "airflow-fab"
    click.echo(f"Found Airflow {found.version} at {url}.", err=True)
    return found.settings.upstream.profile
