"""Rules as rows of the store, and back."""

from __future__ import annotations

from compat_auth.errors import BackendUnavailable, InvalidValue
from compat_auth.stages.rules import Selector, StageRule, Window, stage_named
from compat_auth.store.tables.stage_rules import StageRow


def rule_of(row: StageRow) -> StageRule:
    """Return the rule that a row holds.

    Raises:
        BackendUnavailable: Nobody understands it; it must not be skipped, since it may have switched something off.
    """
    try:
        return StageRule(
            Selector(row.backend, row.operation, row.principal),
            stage_named(row.stage),
            until=row.until,
            deprecated=row.deprecated,
            sunset=row.sunset,
            windows=tuple(Window(*window) for window in row.windows),
            status=row.status,
            per_minute=row.per_minute,
        )
    except InvalidValue as error:
        raise BackendUnavailable(f"database_url: a stage in the table cannot be read ({error})") from error


def row_of(rule: StageRule, *, now: int, by: str) -> StageRow:
    """Return the row that holds a rule, changed now by somebody."""
    selector = rule.selector
    return StageRow(
        selector.backend,
        selector.operation,
        selector.principal,
        rule.stage,
        until=rule.until,
        deprecated=rule.deprecated,
        sunset=rule.sunset,
        windows=tuple((window.start, window.length_s, window.every_s) for window in rule.windows),
        status=rule.status,
        per_minute=rule.per_minute,
        changed=now,
        changed_by=by,
    )
