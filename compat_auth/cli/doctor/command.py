"""`compat-auth doctor`: ask every peer now, and a front proxy, and collect the answers for a helper."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.doctor.bundle import write_bundle
from compat_auth.cli.doctor.examination import Examination
from compat_auth.cli.doctor.proxy.probe import Probe
from compat_auth.cli.doctor.proxy.sending import MAX_REQUESTS, Site, basic_header
from compat_auth.cli.doctor.result import Result
from compat_auth.config import ENV_PREFIX, find_file
from compat_auth.errors import CompatAuthError, ConfigError

_NO_SETTINGS = (f"{ENV_PREFIX}CONFIG", f"{ENV_PREFIX}LOG_LEVEL")


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of id, ok, status, what, where, next.")
@click.option(
    "--probe",
    "url",
    metavar="URL",
    help="Also send headers and paths of an attacker to URL, your own front proxy, and say what gets through.",
)
@click.option(
    "--probe-path",
    default="/api/v2/dags",
    show_default=True,
    metavar="PATH",
    help="A path that needs a login, below URL.",
)
@click.option(
    "-u", "--user", metavar="NAME[:PASSWORD]", help="For --probe: also try the headers beside this credential."
)
@click.option(
    "--airflow-cfg",
    metavar="FILE",
    help="Compare with Airflow's configuration; default airflow_cfg, $AIRFLOW_CONFIG, or $AIRFLOW_HOME/airflow.cfg.",
)
@click.option("--ntp", metavar="HOST", help="Also compare this machine's clock with an NTP server.")
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write an archive for a helper (tar, gzip): results, versions, settings; no secret is in it.",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="For --bundle: add the last lines of this log.",
)
def doctor(
    config_path: str | None,
    as_json: bool,
    url: str | None,
    probe_path: str,
    user: str | None,
    airflow_cfg: str | None,
    ntp: str | None,
    bundle: Path | None,
    log: Path | None,
) -> None:
    """Ask every peer of the configuration now, in depth: keys, clocks, tables, Redis, KDC, LDAP, providers, Airflow.

    It does all that `check` does. A line begins with ok, WARN, FAIL, or -- where something was not asked. Exits 0 if
    there is no FAIL, else 78. --probe needs no configuration, and reads one if it finds it.

    Example: compat-auth doctor --probe https://airflow.example.org
    """
    start_logging("CRITICAL")
    if log is not None and bundle is None:
        raise click.UsageError("--log needs --bundle")
    if not probe_path.startswith("/"):
        raise click.BadParameter("not a path; begin with /", param_hint="--probe-path")
    credential = _credential(user)
    examination = Examination(config_path, airflow_cfg, ntp, dict(os.environ))
    results: list[Result] = []
    for result in _results(examination, url, probe_path, credential):
        results.append(result)
        if not as_json:
            click.echo(result.for_people())
    if as_json:
        click.echo(json.dumps([result.for_programs() for result in results], ensure_ascii=False, indent=2))
    if bundle is not None:
        size = write_bundle(bundle, examination, results, log)
        click.echo(f"{bundle}: {size} bytes, for a helper; read it before you send it", err=True)
    sys.exit(0 if all(result.ok for result in results) else ConfigError.exit_code)


def _results(
    examination: Examination, url: str | None, probe_path: str, credential: dict[str, str]
) -> Iterator[Result]:
    if url is None or _has_configuration(examination):
        yield from examination.run()
    if url is not None:
        yield from _probe(examination, url, probe_path, credential)


def _has_configuration(examination: Examination) -> bool:
    environ = examination.environ
    named = any(name.startswith(ENV_PREFIX) and name not in _NO_SETTINGS for name in environ)
    return named or find_file(examination.config_path, environ) is not None


def _probe(examination: Examination, url: str, path: str, credential: dict[str, str]) -> Iterator[Result]:
    try:
        site = Site.parse(url, _show_progress)
        click.echo(f"probe: at most {MAX_REQUESTS} requests, all of them GET, to {site.host} only", err=True)
        probe = Probe(site, path=path, credential=credential)
        settings = examination.settings
        if settings is not None:
            probe.prefix = settings.prefix
            probe.more = (settings.remote_user.header.lower(), *settings.client_certificate.headers)
        yield from probe.run()
    except CompatAuthError as error:
        yield Result.failure("probe", str(error))
    finally:
        _show_progress(0)


def _show_progress(sent: int) -> None:
    """Rewrite one line of a terminal; 0 clears it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[Kprobe: {sent} requests" if sent else "\r\x1b[K")
        sys.stderr.flush()


def _credential(user: str | None) -> dict[str, str]:
    if user is None:
        return {}
    name, colon, password = user.partition(":")
    return basic_header(name, password if colon else click.prompt(f"Password for {name}", hide_input=True, err=True))
