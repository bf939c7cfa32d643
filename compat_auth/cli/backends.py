"""`compat-auth backends`: the installed backends and directories, and their requirements."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

import click

from compat_auth.authn import registry
from compat_auth.authn.extras import remedy_for_missing
from compat_auth.authn.users import directories


@click.command()
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="For programs: backends and directories with name, place, usable, summary; and replaced names.",
)
def backends(*, as_json: bool) -> None:
    """List the installed backends and directories, and the requirements of each."""
    if as_json:
        click.echo(
            json.dumps(
                {
                    "backends": [_describe(point) for point in _points(registry.GROUP)],
                    "directories": [_describe(point) for point in _points(directories.GROUP)],
                    "airflow_names": dict(sorted(registry.AIRFLOW_NAMES.items())),
                },
                ensure_ascii=False,
                indent=2,
            )
        )
        return
    click.echo("Backends (auth_backends):")
    for line in _lines(registry.GROUP):
        click.echo(line)
    click.echo("\nDirectories ([basic_auth] directories):")
    for line in _lines(directories.GROUP):
        click.echo(line)
    click.echo("\nAirflow's own backends, and their replacements:")
    for theirs, ours in sorted(registry.AIRFLOW_NAMES.items()):
        click.echo(f"  {theirs} -> {ours}")


def _lines(group: str) -> Iterator[str]:
    for point in _points(group):
        yield f"  {point.name:<12} {_summary(point)[1]}"
        yield f"  {'':<12} {point.value}"


def _points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: point.name)


def _describe(point: EntryPoint) -> dict[str, object]:
    is_usable, summary = _summary(point)
    return {"name": point.name, "place": point.value, "usable": is_usable, "summary": summary}


def _summary(point: EntryPoint) -> tuple[bool, str]:
    """Return whether it can be used here, and what it is and needs."""
    try:
        found = point.load()
    except ImportError as error:
        return False, f"not usable: needs {error.name}; {remedy_for_missing(point)}"
    needs = ", ".join(getattr(found, "needs", ())) or "nothing"
    return True, f"{(inspect.getdoc(found) or '').splitlines()[0]} Needs: {needs}."
