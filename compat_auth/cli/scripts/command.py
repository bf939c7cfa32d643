"""`compat-auth migrate`: the scripts of a site, rewritten for the new API."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from compat_auth.cli.scripts.scan import Script, files_below, look_into
from compat_auth.cli.terminal.progress import Step, progress
from compat_auth.errors import ConfigError

MUST_ACT = 3


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--write", is_flag=True, help="Change the files; without it nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="For programs: a list of file, line, before, after, notes.")
def migrate(paths: tuple[str, ...], *, write: bool, as_json: bool) -> None:
    """Find calls of /api/v1 and old logins in scripts, and show a patch for /api/v2 and a personal token.

    PATH is a file or a folder: Python, shell, YAML, Terraform or any other text. Lines that begin with ACT say what a
    person must change. Exits 0 if nothing is left to do, 3 if a person must act. The gateway's /api/v1 serves what stays.
    """
    with progress("files read") as step:
        found = list(_scripts(paths, step))
    if as_json:
        click.echo(json.dumps([entry for script in found for entry in _for_programs(script)], indent=2))
    else:
        for script in found:
            _show(script)
        _sum_up(found, write=write)
    if write:
        for script in found:
            _write(script)
    sys.exit(MUST_ACT if any(place.must_act for script in found for place in script.places) else 0)


def _scripts(paths: tuple[str, ...], step: Step) -> Iterator[Script]:
    files = [file for path in paths for file in files_below(Path(path))]
    for number, file in enumerate(files, start=1):
        script = look_into(file)
        step(number, len(files))
        if script is not None:
            yield script


def _show(script: Script) -> None:
    click.echo(script.patch(), nl=False)
    for place in script.places:
        for note in place.notes:
            click.echo(f"{'ACT ' if place.must_act else 'note'} {script.path}:{place.number}: {note}")


def _sum_up(found: list[Script], *, write: bool) -> None:
    places = [place for script in found for place in script.places]
    patched = sum(place.after != place.before for place in places)
    left = sum(place.must_act for place in places)
    click.echo(f"{len(places)} line(s) in {len(found)} file(s): {patched} with a patch, {left} for a person.", err=True)
    if patched and not write:
        click.echo("Nothing is written; add --write to change the files.", err=True)


def _write(script: Script) -> None:
    """Replace the file at once, with its owner, group and mode; until then its new text is for the caller alone.

    Raises:
        ConfigError: It cannot be written.
    """
    if script.patched == script.text:
        return
    path = script.path.resolve()
    try:
        old = status_of(path)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(script.patched.encode("utf-8"))
                file.flush()
                new = os.fstat(file.fileno())
                if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"{script.path}: cannot be written ({exc.strerror}); it is unchanged") from None


def status_of(path: Path) -> os.stat_result:
    """Return the owner, group and mode of a file."""
    return path.stat()


def _for_programs(script: Script) -> list[dict[str, object]]:
    return [
        {
            "file": str(script.path),
            "line": place.number,
            "before": place.before.rstrip("\r\n"),
            "after": place.after.rstrip("\r\n"),
            "notes": list(place.notes),
            "must_act": place.must_act,
        }
        for place in script.places
    ]
