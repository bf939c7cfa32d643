"""`compat-auth settings`: look a setting up without leaving the terminal."""

from __future__ import annotations

import difflib
import json

import click

from compat_auth.cli.settings.described import Described, Group, described
from compat_auth.cli.settings.example import example_text
from compat_auth.errors import InvalidValue


@click.command("settings")
@click.argument("name", required=False)
@click.option("--example", is_flag=True, help="Print a file with every setting as a comment.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of name, type, default and so on.")
def settings_command(name: str | None, example: bool, as_json: bool) -> None:
    """Say what can be set; NAME is a setting or a section, such as token.strategy or ldap.

    Without NAME, lists all of them with their defaults.
    """
    if example:
        click.echo(example_text(), nl=False)
        return
    groups = list(described()) if name is None else _found(name.strip("[]"))
    if as_json:
        click.echo(json.dumps([_for_programs(one) for group in groups for one in group.settings], indent=2))
    elif name is None:
        _list(groups)
    else:
        for group in groups:
            _explain(group)


def _found(name: str) -> list[Group]:
    """Return the groups with only the settings that the name stands for.

    Raises:
        InvalidValue: It stands for none.
    """
    every = list(described())
    inside = [group for group in every if group.name and (group.name == name or group.name.startswith(f"{name}."))]
    if inside:
        return inside
    for group in every:
        settings = tuple(setting for setting in group.settings if setting.name == name)
        if settings:
            return [Group(group.name, "", group.is_repeated, settings)]
    known = [setting.name for group in every for setting in group.settings] + [group.name for group in every]
    last = [setting for group in every for setting in group.settings if setting.path[-1] == name]
    near = [setting.name for setting in last] or difflib.get_close_matches(name, known, n=3)
    meant = f"did you mean {', '.join(near)}? " if near else ""
    raise InvalidValue(f"{name}: no such setting or section; {meant}compat-auth settings lists all of them")


def _list(groups: list[Group]) -> None:
    for group in groups:
        if group.name:
            click.secho(f"\n{group.heading}", bold=True)
        width = max(len(setting.path[-1]) for setting in group.settings)
        for setting in group.settings:
            click.echo(f"{setting.path[-1]:{width}} = {setting.default or '(must be set)'}")


def _explain(group: Group) -> None:
    if group.description:
        click.secho(group.heading, bold=True)
        click.echo(f"{group.description}\n")
    for setting in group.settings:
        click.secho(setting.name, bold=True)
        click.echo(f"  {setting.description}")
        click.echo(f"  Type: {setting.kind.replace('`', '')}. Default: {setting.default or 'none; must be set'}.")
        click.echo(f"  {setting.environment.replace('`', '')}\n")


def _for_programs(setting: Described) -> dict[str, object]:
    return {
        "name": setting.name,
        "type": setting.kind.replace("`", ""),
        "default": json.loads(setting.default) if setting.default else None,
        "is_required": not setting.default,
        "description": setting.description,
        "environment": setting.environment.replace("`", ""),
    }
