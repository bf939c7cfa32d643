"""`compat-auth backends`: the installed backends and directories, and their requirements."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

import click

from compat_auth.authn import registry
from compat_auth.authn.extras import remedy_for_missing
from compat_auth.authn.users import directories


@click.command()
def backends() -> None:
    """List the installed backends and directories, and the requirements of each."""
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
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        yield f"  {point.name:<12} {_summary(point)}"
        yield f"  {'':<12} {point.value}"


def _summary(point: EntryPoint) -> str:
    try:
        found = point.load()
    except ImportError as error:
        return f"not usable: needs {error.name}; {remedy_for_missing(point)}"
    needs = ", ".join(getattr(found, "needs", ())) or "nothing"
    return f"{(inspect.getdoc(found) or '').splitlines()[0]} Needs: {needs}."
