"""`compat-auth import`: reads the configuration of an Airflow 2, and writes ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from compat_auth.cli.migration.fab_options import translate_python
from compat_auth.cli.migration.found import Fate, Found, OldWorld, Treatment
from compat_auth.cli.migration.options import MIN_SECRET_BYTES, translate_options
from compat_auth.cli.migration.sources import read_sources, read_text
from compat_auth.cli.migration.translation import Translation
from compat_auth.cli.migration.writing import text_of
from compat_auth.cli.settings.difference import difference
from compat_auth.cli.settings.new_file import introduce, require_free, write_new
from compat_auth.config import DEFAULT_FILE

MUST_ACT = 3
_PASSWORDS_ONLY = frozenset(("basic_auth", "session", "default", "deny_all"))


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--airflow-url", metavar="URL", default="http://127.0.0.1:8080", show_default=True, help="The new Airflow."
)
@click.option(
    "--profile",
    type=click.Choice(["airflow-fab", "airflow-simple"]),
    default="airflow-fab",
    show_default=True,
    help="The auth manager of the new Airflow.",
)
@click.option("--environment", is_flag=True, help="Also read AIRFLOW__* variables of this shell.")
@click.option("--output", metavar="FILE", default=DEFAULT_FILE, show_default=True, help="The file to write.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change in the file, without secrets.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def import_command(
    files: tuple[str, ...], airflow_url: str, profile: str, output: str, *, environment: bool, diff: bool, force: bool
) -> None:
    """Write a configuration from that of an Airflow 1.10 or 2.x, and say what becomes of each setting about logins.

    FILE is an airflow.cfg, a webserver_config.py (which is read and never run), a file of variables (.env), Helm values of the
    official chart, or a Compose file (.yaml). Exits 0 if nothing is left to do, 3 if a person must act; the lines that
    begin with ACT say where.
    """
    path = Path(output)
    if not diff:
        require_free(path, replaces=force)
    world = read_sources([Path(file) for file in files], os.environ if environment else {})
    translation = Translation()
    _put_upstream(translation, airflow_url, profile)
    translate_options(world, translation)
    translate_python(world, translation)
    _finish(world, translation)
    for treatment in translation.treatments:
        click.echo(f"{'ACT ' if treatment.must_act else 'ok  '} {treatment.line}")
    text = text_of(translation)
    if diff:
        click.echo(difference(read_text(path) if path.exists() else "", text, str(path)), nl=False)
    else:
        write_new(path, text, replaces=force)
        introduce(path)
    sys.exit(MUST_ACT if translation.must_act else 0)


def _put_upstream(translation: Translation, airflow_url: str, profile: str) -> None:
    translation.put("upstream.url", airflow_url.rstrip("/"), "the API of the new Airflow")
    translation.put("upstream.profile", profile, "its auth manager: FabAuthManager, or SimpleAuthManager")


def _finish(world: OldWorld, translation: Translation) -> None:
    """Choose who makes the tokens for the new Airflow, by what the old list needs."""
    backends = translation.get("auth_backends")
    names = {str(name) for name in backends} if isinstance(backends, list) else set[str]()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if translation.get("token.secret"):
        translation.put("token.strategy", "shared_secret", "the gateway signs with Airflow's own secret")
        return
    old = world.options.get(("api_auth", "jwt_secret")) or Found("[api_auth] jwt_secret", "the new Airflow", "")
    why = f"shorter than {MIN_SECRET_BYTES} bytes" if old.text and not old.problem else "not known here"
    translation.put("token.strategy", "exchange", "Airflow checks each password, and makes the token")
    if names <= _PASSWORDS_ONLY:
        translation.put("basic_auth.directories", ["upstream"], "with exchange the new Airflow checks passwords itself")
        return
    reason = f"{why}, and {', '.join(sorted(names - _PASSWORDS_ONLY))} needs it: set token.strategy and token.secret"
    translation.treatments.append(Treatment(old, Fate.IMPOSSIBLE, reason, must_act=True))
