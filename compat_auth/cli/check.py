"""`compat-auth check`: is the configuration right?"""

from __future__ import annotations

import sys

import click

from compat_auth.cli.options import config_option, start_logging
from compat_auth.config import load_settings
from compat_auth.diagnosis import examine


@click.command()
@config_option
def check(config_path: str | None) -> None:
    """Say which backends are effective and what is wrong: file, key, remedy.

    Exits 0 when all is right, 78 when the configuration has to change, 69 when something it needs is down.
    """
    start_logging("ERROR")
    findings = list(examine(load_settings(config_path)))
    for finding in findings:
        mark, text = ("ok  ", finding.detail) if not finding.problem else ("FAIL", finding.problem)
        click.echo(f"{mark} {finding.what}: {text}", err=bool(finding.problem))
    sys.exit(max((finding.exit_code for finding in findings), default=0))
