"""Says whom a rule would hit, from the recorded usage, without setting it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import click

from compat_auth.cli.stages.moments import spell_moment
from compat_auth.stages.choice import RuleSet, Use
from compat_auth.stages.rules import StageRule
from compat_auth.usage.evidence import Use as Recorded


def find_hit(
    rules: Iterable[StageRule], rule: StageRule, recorded: Iterable[Recorded], now: float
) -> Iterator[Recorded]:
    """Yield the recorded uses to which a rule would apply, and which it would not leave on.

    Args:
        rules: The rules that there are; the new one replaces one for the same uses.
        rule: The new rule.
        recorded: The usage.
        now: Seconds since the epoch.
    """
    if rule.stage == "on":
        return
    known = RuleSet([*(one for one in rules if one.selector != rule.selector), rule])
    alone = RuleSet([rule])
    for one in recorded:
        method, _, path = one.operation.partition(" ")
        if not path:
            # A lane, or a summary: nobody knows which operations, so that the rule may concern some of them.
            if alone.may_concern(one.backend, one.principal, (), now):
                yield one
        elif _may_hold(one, method, path, rule):
            if alone.may_concern(one.backend, one.principal, (), now):
                yield one
        elif known.find(Use(one.backend, one.principal, (method,), _some_path(path)), now) == rule:
            yield one


def show_hit(found: list[Recorded], days: int, *, as_json: bool) -> None:
    """Print the uses, one a line, or as a JSON array."""
    if as_json:
        rows = [
            {
                "principal": one.principal or None,
                "backend": one.backend,
                "client": one.client,
                "operation": one.operation,
                "count": one.count,
                "last_seen": spell_moment(one.last_seen),
            }
            for one in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    principals = {one.principal for one in found}
    click.echo(f"nothing is changed; in the last {days} days: {len(principals)} user(s), {len(found)} kind(s) of use")
    for one in found:
        name = one.principal or "(unknown)"
        # A name may hold what moves the cursor of a terminal.
        name = name if name.isprintable() else ascii(name)
        click.echo(f"{name}\t{one.backend}\t{one.client}\t{one.operation}\t{one.count}\t{spell_moment(one.last_seen)}")


def _may_hold(one: Recorded, method: str, path: str, rule: StageRule) -> bool:
    """Return whether a use by nobody knows whom, recorded as the API alone, may hold the operation of a rule."""
    operation = rule.operation
    if one.principal or operation is None or not path.endswith("/"):
        return False
    if operation.method not in ("", method) and (operation.method, method) != ("GET", "HEAD"):
        return False
    # What is recorded as any other path is not the API.
    is_below = operation.path != path and operation.path.startswith(path)
    return is_below and (path != "/" or not operation.path.startswith("/api/"))


def _some_path(path: str) -> str:
    """Return a path of a recorded operation; one that ends with a slash stands for what is below it."""
    return f"{path}x" if path.endswith("/") else path
