"""`compat-auth check`: find the errors of a configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.diagnosis.checks import examine
from compat_auth.cli.diagnosis.finding import Finding
from compat_auth.config import DEFAULT_FILE, ENV_PREFIX, find_file, load_settings, overriding_variables
from compat_auth.errors import ConfigError


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of id, ok, what, where, next.")
def check(config_path: str | None, as_json: bool) -> None:
    """Show the configuration and backends in effect, and each problem: where, what, and the next step.

    Connects to everything that the configuration names, including the upstream. Exits 0 if everything is right, 78 if
    the configuration must change, 69 if something it needs is down. A line with WARN
    is about what works and may not be what was meant.
    """
    start_logging("CRITICAL")
    findings: list[Finding] = []
    for finding in _findings(config_path):
        findings.append(finding)
        if not as_json:
            mark, text = ("FAIL", finding.problem) if finding.problem else ("ok  ", finding.detail)
            mark, text = ("WARN", finding.warning) if finding.warning else (mark, text)
            click.echo(f"{mark} {finding.what}: {text}")
    if as_json:
        click.echo(json.dumps([finding.for_programs() for finding in findings], ensure_ascii=False, indent=2))
    sys.exit(max((finding.exit_code for finding in findings), default=0))


def _findings(config_path: str | None) -> Iterator[Finding]:
    path = find_file(config_path, os.environ)
    variables = sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name != f"{ENV_PREFIX}CONFIG")
    if path is None and not variables:
        yield Finding(
            "configuration",
            f"configuration: no file: {Path(DEFAULT_FILE).absolute()} does not exist, and neither --config nor "
            f"${ENV_PREFIX}CONFIG names another; create it, change to its folder, or pass --config FILE",
            ConfigError.exit_code,
        )
        return
    try:
        settings = load_settings(config_path)
    except ConfigError as error:
        yield from (Finding("configuration", line, error.exit_code) for line in str(error).splitlines())
        return
    yield Finding("configuration", detail=_sources(path, variables))
    yield from examine(settings)


def _sources(path: str | None, variables: list[str]) -> str:
    parts = [str(Path(path).absolute()) if path else "no file"]
    if variables:
        parts.append(f"{', '.join(f'${name}' for name in variables)}")
    text = " and ".join(parts)
    overriding = overriding_variables(path, os.environ) if path else []
    return text + (f"; {', '.join(overriding)}" if overriding else "")
