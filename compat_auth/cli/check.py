"""`compat-auth check`: find the errors of a configuration."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import click

from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.diagnosis.checks import examine
from compat_auth.cli.diagnosis.configuration import read_configuration
from compat_auth.cli.diagnosis.finding import Finding


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
    settings, findings = read_configuration(config_path)
    yield from findings
    if settings is not None:
        yield from examine(settings)
