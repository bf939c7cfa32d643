"""`compat-auth report`."""

from __future__ import annotations

import click

from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.usage.markdown import as_markdown
from compat_auth.cli.usage.terminal import as_lines
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import load_settings
from compat_auth.store.migration import open_store
from compat_auth.store.tables.usage import UsageRows
from compat_auth.usage.report import MAX_EXPORTED, Filters, export, make_report
from compat_auth.usage.texts import as_csv, as_json

MAX_DAYS = 3660
"""Most days of a report."""


@click.command()
@config_option
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=90, show_default=True, help="Days up to today (UTC).")
@click.option("--user", default="", metavar="NAME", help="Only this user's requests.")
@click.option("--backend", default="", metavar="NAME", help="Only this backend, such as basic_auth.")
@click.option("--client", default="", metavar="NAME", help="Only this kind of client, such as curl.")
@click.option("--network", default="", metavar="RANGE", help="Only this range of addresses, such as 10.1.2.0/24.")
@click.option(
    "--operation",
    default="",
    metavar="TEXT",
    help="Only this operation, such as 'GET /api/v1/dags', or all below a path, such as /api/v1/.",
)
@click.option("--json", "form", flag_value="json", help="For programs.")
@click.option("--csv", "form", flag_value="csv", help="For a spreadsheet: one row for each kind of request.")
@click.option("--markdown", "form", flag_value="markdown", help="For an e-mail.")
def report(
    config_path: str | None,
    days: int,
    user: str,
    backend: str,
    client: str,
    network: str,
    operation: str,
    form: str | None,
) -> None:
    """Say who still uses which login and which part of the old API, and who would fail without it."""
    start_logging("WARNING")
    settings = load_settings(config_path)
    rows = UsageRows(open_store(settings.database_url.get_secret_value()))
    filters = Filters(days, user, backend, client, network, operation)
    now = unix_now()
    try:
        if form == "csv":
            found = export(rows, filters, now, limit=MAX_EXPORTED + 1)
            click.echo(as_csv(found[:MAX_EXPORTED]), nl=False)
            if len(found) > MAX_EXPORTED:
                click.echo(
                    f"warning: incomplete: only the {MAX_EXPORTED} most frequent kinds of request are listed; "
                    "choose fewer with --days or a filter",
                    err=True,
                )
            return
        made = make_report(rows, filters, now)
    finally:
        rows.close()
    if form == "json":
        click.echo(as_json(made))
    elif form == "markdown":
        click.echo(as_markdown(made), nl=False)
    else:
        for line in as_lines(made, is_on=settings.usage.enabled):
            click.echo(line)
