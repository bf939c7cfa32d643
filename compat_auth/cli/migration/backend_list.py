"""Translates the old list of backends, and knows which option counts where several are set."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from compat_auth.airflow2_config.settings import LISTS
from compat_auth.cli.migration.found import Name, OldWorld
from compat_auth.cli.migration.translation import Translation

# The modules that Airflow brought itself, by what we call them.
_OWN: Final = {
    "basic_auth": "basic_auth",
    "kerberos_auth": "kerberos",
    "session": "session",
    "default": "default",
    "deny_all": "deny_all",
    "google_openid": "google_openid",
    "composer_auth": "google_openid",
}
_OWN_PACKAGES: Final = (
    "airflow.api.auth.backend.",
    "airflow.contrib.auth.backends.",
    "airflow.providers.fab.auth_manager.api.auth.backend.",
    "airflow.auth.managers.fab.api.auth.backend.",
    "airflow.providers.google.common.auth_backend.",
    "airflow.composer.api.backend.",
)
_PASSWORD_OF_1_10: Final = "airflow.contrib.auth.backends.password_auth"  # noqa: S105  # the name of a module

# Options with two names, the current one first.
_RENAMED: Final = (
    (("database", "sql_alchemy_conn"), ("core", "sql_alchemy_conn")),
    tuple((section, "google_oauth2_audience") for section in ("api", "fab", "webserver")),
)


def translate_list(world: OldWorld, into: Translation) -> None:
    """Translate the list that Airflow 2 took: `[api]` before `[fab]`, and in both a variable before the file."""
    listed = [found for options in LISTS for found in world.find_all(options)]
    chosen = next((found for found in listed if found.text), None)
    for found in listed:
        if found is not chosen:
            into.drop(found, f"{chosen.name} of {chosen.place} takes precedence" if chosen else "it is empty")
    if chosen is None:
        into.put("auth_backends", ["session"], "Airflow 2's own default: only its web pages may call the API")
        return
    if chosen.problem:
        into.put("auth_backends", ["deny_all"], "the old list is not known; write it here")
        into.give_up(chosen, f"{chosen.problem}; set auth_backends yourself, until then nobody is let in")
        return
    written = [name.strip() for name in chosen.text.split(",") if name.strip()]
    names = list(dict.fromkeys(backend_of(name) for name in written))
    foreign = [name for name in names if "." in name]
    if foreign:
        why = f"the module {', '.join(foreign)} runs as it did; it must be importable where the gateway runs"
        into.change(chosen, "auth_backends", names, why, must_act=True)
    elif _PASSWORD_OF_1_10 in written:
        why = "the passwords of 1.10 are in its table users, which is not read; give each user a password in the new Airflow"
        into.change(chosen, "auth_backends", names, why, must_act=True)
    else:
        into.take(chosen, "auth_backends", names)


def backend_of(name: str) -> str:
    """Return our name of a backend: short where it was Airflow's own, unchanged otherwise."""
    if name == _PASSWORD_OF_1_10:
        return "basic_auth"
    package, _, last = name.rpartition(".")
    return _OWN.get(last, name) if f"{package}." in _OWN_PACKAGES or not package else name


def drop_passed_over(world: OldWorld, into: Translation, known: Container[Name]) -> set[Name]:
    """Drop options that do not count, because of another name or because of a variable; return those with another name.

    Args:
        world: All options.
        into: What becomes of them.
        known: The options that are about logins.
    """
    names: set[Name] = set()
    for options in _RENAMED:
        listed = [found for found in world.find_all(options) if found.text]
        used = listed[0] if listed else None
        names |= {name for name in options if name in world.options and world.options[name] is not used}
        for found in listed[1:]:
            into.drop(found, f"{listed[0].name} of {listed[0].place} takes precedence")
    renamed = {name for options in (*_RENAMED, *LISTS) for name in options}
    for name, found in world.files.items():
        if name in known and name not in renamed and name in world.variables:
            into.drop(found, f"{world.variables[name].place} takes precedence")
    return names
