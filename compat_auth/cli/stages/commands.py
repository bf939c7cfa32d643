"""`compat-auth stages`: lists and changes the stages of logins."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import click

from compat_auth.cli import context
from compat_auth.cli.context import config_option, start_logging
from compat_auth.cli.stages.dry_run import find_hit, show_hit
from compat_auth.cli.stages.moments import parse_moment, parse_window, spell_moment, spell_window
from compat_auth.concurrency.clock import unix_now
from compat_auth.config import Settings, load_settings
from compat_auth.errors import InvalidValue
from compat_auth.stages.rules import GONE, STAGES, UPSTREAM, Selector, StageRule, spelled, stage_named
from compat_auth.stages.stored import row_of, rule_of
from compat_auth.store.migration import open_store
from compat_auth.store.tables.stage_rules import StageRow, StageRuleRows
from compat_auth.usage.evidence import MAX_USES, used_by
from compat_auth.usage.evidence import Use as Recorded

_backend = click.option("--backend", default="", metavar="NAME", help="Uses of this backend, such as basic_auth.")
_operation = click.option(
    "--operation",
    default="",
    metavar="OPERATION",
    help="Only 'METHOD /path' as a scope has it, such as 'POST /api/v2/dags/{dag_id}/dagRuns', '/path/', or v1.",
)
_principal = click.option("--principal", default="", metavar="NAME", help="Only this user; names compare without case.")


@click.group()
def stages() -> None:
    """Switch logins off in stages: on, warn, brownout, throttle, off."""


@stages.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_stages(config_path: str | None, as_json: bool) -> None:
    """List the rules; every use that no rule covers is on."""
    start_logging("WARNING")
    with _opened(load_settings(config_path)) as rows:
        found = rows.list()
    if as_json:
        click.echo(json.dumps([describe(row) for row in found], indent=2))
        return
    for row in found:
        click.echo(summarise(rule_of(row)))


@stages.command("set")
@config_option
@click.argument("stage", metavar="STAGE", type=click.Choice(STAGES))
@_backend
@_operation
@_principal
@click.option("--until", metavar="DATE", help="The rule ends then: the end of an exception. A date, or a UTC time.")
@click.option("--deprecated", metavar="DATE", help="Since when the use is deprecated; default now.")
@click.option("--sunset", metavar="DATE", help="When the use is going to end.")
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar="WINDOW",
    help="When a brownout refuses, in UTC: START/END, 'daily 09:00 15m' or 'weekly mon 09:00 1h'; may be repeated.",
)
@click.option(
    "--status", type=click.Choice(("410", "401")), default=str(GONE), show_default=True, help="Answer of a brownout."
)
@click.option(
    "--per-minute", type=click.IntRange(1, 1_000_000), help="How many requests a minute a throttle lets through."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; list who used what the rule would not leave on.")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=90, show_default=True, help="Days of usage for the dry run."
)
@click.option("--json", "as_json", is_flag=True, help="Print the dry run as a JSON array.")
def set_stage(
    config_path: str | None,
    stage: str,
    backend: str,
    operation: str,
    principal: str,
    until: str | None,
    deprecated: str | None,
    sunset: str | None,
    windows: tuple[str, ...],
    status: str,
    per_minute: int | None,
    dry_run: bool,
    days: int,
    as_json: bool,
) -> None:
    """Set the STAGE of some uses; the rule replaces an earlier one for the same uses.

    Every gateway and Airflow plugin with the same database_url applies it within a second. The most specific rule
    applies: one with --principal before one without, then one with --operation, then one with --backend.
    """
    now = unix_now()
    rule = StageRule(
        _selector(backend, operation, principal),
        stage_named(stage),
        until=None if until is None else parse_moment(until, option="--until"),
        deprecated=_deprecated(stage, deprecated, now),
        sunset=None if sunset is None else parse_moment(sunset, option="--sunset"),
        windows=tuple(map(parse_window, windows)),
        status=int(status),
        per_minute=per_minute or 0,
    )
    if not rule.holds(now):
        raise InvalidValue("--until: it is in the past, so the rule would never count")
    if rule.stage == "brownout" and rule.window_end(now) is None and rule.next_window(now) is None:
        raise InvalidValue("--window: every window is in the past")
    start_logging("WARNING")
    settings = load_settings(config_path)
    if dry_run:
        show_hit(_hit_by(rule, settings, days=days, now=now), days, as_json=as_json)
        return
    with _opened(settings) as rows:
        before = rows.set(row_of(rule, now=now, by=context.operator()))
    was = "on" if before is None else before.stage
    context.record("stage set", f"{summarise(rule)} (was {was})", command="stages set")
    click.echo(summarise(rule))
    if warning := _warning(rule, settings):
        click.echo(warning, err=True)


@stages.command()
@config_option
@_backend
@_operation
@_principal
def remove(config_path: str | None, backend: str, operation: str, principal: str) -> None:
    """Remove the rule for exactly these uses; less specific rules, or none, then apply to them."""
    selector = _selector(backend, operation, principal)
    start_logging("WARNING")
    with _opened(load_settings(config_path)) as rows:
        if not rows.remove(selector.backend, selector.operation, selector.principal):
            raise InvalidValue(f"{selector}: no such rule; see: compat-auth stages list")
    context.record("stage removed", str(selector), command="stages remove")
    click.echo(f"{selector}: removed")


def describe(row: StageRow) -> dict[str, Any]:
    """Return a rule as JSON has it."""
    rule = rule_of(row)
    end = rule.next_window(time.time())
    return {
        "backend": row.backend or None,
        "operation": row.operation or None,
        "principal": row.principal or None,
        "stage": rule.stage,
        "until": _moment(rule.until),
        "deprecated": _moment(rule.deprecated),
        "sunset": _moment(rule.sunset),
        "windows": [spell_window(window) for window in rule.windows],
        "next_window": _moment(end),
        "status": rule.status if rule.stage == "brownout" else None,
        "per_minute": rule.per_minute or None,
        "changed_at": _moment(row.changed),
        "changed_by": row.changed_by,
    }


def summarise(rule: StageRule) -> str:
    """Return a rule in one line."""
    parts = [f"{rule.selector}: {rule.stage}"]
    if rule.windows:
        parts.append(f"{rule.status} in " + ", ".join(map(spell_window, rule.windows)))
    if rule.per_minute:
        parts.append(f"{rule.per_minute} a minute")
    if rule.sunset is not None:
        parts.append(f"sunset {spell_moment(rule.sunset)}")
    if rule.until is not None:
        parts.append(f"until {spell_moment(rule.until)}")
    return "; ".join(parts)


def _moment(second: int | None) -> str | None:
    return None if second is None else spell_moment(second)


def _deprecated(stage: str, deprecated: str | None, now: int) -> int | None:
    if deprecated is not None:
        return parse_moment(deprecated, option="--deprecated")
    return None if stage == "on" else now


def _selector(backend: str, operation: str, principal: str) -> Selector:
    if not (backend or operation or principal):
        raise click.UsageError("name at least one of --backend, --operation and --principal")
    return Selector(backend, spelled(operation), principal)


def _hit_by(rule: StageRule, settings: Settings, *, days: int, now: int) -> list[Recorded]:
    with _opened(settings) as rows:
        rules = map(rule_of, rows.list())
        recorded = used_by(rows.database, backend=rule.selector.backend or None, days=days, now=now, limit=MAX_USES + 1)
        if len(recorded) > MAX_USES:
            del recorded[MAX_USES:]
            click.echo(
                f"warning: incomplete: only the {MAX_USES} most frequent kinds of use are considered; "
                "look back fewer days with --days",
                err=True,
            )
        return list(find_hit(rules, rule, recorded, now))


def _warning(rule: StageRule, settings: Settings) -> str:
    named = rule.selector.backend
    known = {name.rpartition(".")[2] for name in settings.auth_backends} | {UPSTREAM}
    if named and named not in known:
        return f"warning: auth_backends has no {named!r}; it has {', '.join(sorted(known))}"
    return ""


@contextmanager
def _opened(settings: Settings) -> Generator[StageRuleRows]:
    rows = StageRuleRows(open_store(settings.database_url.get_secret_value()))
    try:
        yield rows
    finally:
        rows.close()
