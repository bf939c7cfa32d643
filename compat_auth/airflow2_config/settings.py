"""Settings for logins to the API, in the configuration of Airflow 1.10 to 2.11. Every process of Airflow imports it.

Precedence is Airflow's own: an environment variable before the file, and in both the current name before the deprecated
one (`airflow.configuration.AirflowConfigParser.get`, `deprecated_options`).
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

Option = tuple[str, str]
"""Section and key in Airflow's configuration."""

LISTS: tuple[tuple[Option, ...], ...] = (
    (("api", "auth_backends"), ("api", "auth_backend")),
    (("fab", "auth_backends"), ("fab", "auth_backend")),
)
"""Where the list of backends can be: `[api]` before `[fab]`; the singular is the name in 1.10 to 2.2."""
GENERATED = "airflow.providers.fab.auth_manager.api.auth.backend.session"
"""The value of `[fab] auth_backends` in the airflow.cfg that Airflow 3 itself generates."""
# Values that `getboolean` of Airflow's parser reads as false; an empty option counts as none.
_OFF = frozenset(("", "none", "false", "f", "0"))
# A variable that names itself would never end.
_MAX_NESTED = 8
_INDIRECT = ("_cmd", "_secret")
_LIST_OPTIONS = tuple(option for options in LISTS for option in options)
# Options that an auth backend of 1.10 to 2.11 read, and what an operator has to do about each.
_UNUSED: Mapping[Option, str] = {
    ("api", "google_key_path"): "only Airflow's own client read it; give the client its key file directly",
    ("api", "enable_experimental_api"): "the experimental API of 1.10 is not supported; call /api/v1",
    ("webserver", "authenticate"): "it was for the web login of 1.10; set auth_backends for the API",
    ("webserver", "auth_backend"): "it was for the web login of 1.10; set auth_backends for the API",
    ("ldap", "uri"): "it was for the web login of 1.10; set [ldap] of compat_auth",
}


@dataclass(frozen=True, slots=True)
class Written:
    """An option that an operator has set.

    Attributes:
        text: Its value, variables and `~` expanded.
        place: Where it is set, for messages.
    """

    text: str
    place: str


class OldSettings:
    """The options that an operator has set in Airflow's configuration; defaults do not count.

    Args:
        environ: The environment.
        in_file: Returns the value of a section's key in airflow.cfg, or None.
        file: Name of the file, for messages.
    """

    def __init__(
        self, environ: Mapping[str, str], in_file: Callable[[str, str], str | None], *, file: str = ""
    ) -> None:
        self._environ = environ
        self._in_file = in_file
        self._file = file

    def find(self, *options: Option) -> Written | None:
        """Return the first of these options that is set: in the environment, else in the file; None where none is."""
        return next(self._find_all(options), None)

    def _find_all(self, options: Iterable[Option]) -> Iterator[Written]:
        names = tuple(options)
        for section, key in names:
            variable = _variable(section, key)
            if variable in self._environ:
                yield Written(_expanded(self._environ[variable]), f"${variable}")
        for section, key in names:
            text = self._in_file(section, key)
            if text is not None:
                yield Written(_expanded(text), self._place(section, key))

    def find_list(self) -> Written | None:
        """Return the list of backends; an empty one only where no other is set."""
        found = [written for options in LISTS for written in self._find_all(options)]
        return next((written for written in found if written.text.strip()), found[0] if found else None)

    def find_chosen_list(self) -> Written | None:
        """Return the list, unless it is the line that Airflow 3 generates in airflow.cfg."""
        written = self.find_list()
        is_generated = (
            written is not None
            and written.place == self._place("fab", "auth_backends")
            and written.text.strip() == GENERATED
        )
        return None if is_generated else written

    def find_keytab(self) -> Written | None:
        """Return the keytab as Airflow 2's Kerberos backend found it: `KRB5_KTNAME`, else `[kerberos] keytab`."""
        named = self._environ.get("KRB5_KTNAME", "").removeprefix("FILE:")
        return Written(named, "$KRB5_KTNAME") if named else self.find(("kerberos", "keytab"))

    def unused(self) -> Iterator[str]:
        """Yield a line for each option about logins that is set and has no effect: what, where, next step."""
        used = self.find_list()
        for option in _LIST_OPTIONS:
            for place, text in self._settings_of(option):
                if used is not None and place != used.place and text.strip() not in ("", GENERATED):
                    yield f"{place}: not used, because {used.place} takes precedence; remove one of the two"
        for section, key in (*_LIST_OPTIONS, ("api", "google_oauth2_audience"), ("kerberos", "keytab")):
            for suffix in _INDIRECT:
                for place, _ in self._settings_of((section, key + suffix)):
                    yield f"{place}: not used, and Airflow 2 did not use it either; set [{section}] {key} itself"
        for option, advice in _UNUSED.items():
            for place, text in self._settings_of(option):
                if text.strip().lower() not in _OFF:
                    yield f"{place}: not used; {advice}"

    def _settings_of(self, option: Option) -> Iterator[tuple[str, str]]:
        section, key = option
        variable = _variable(section, key)
        if variable in self._environ:
            yield f"${variable}", self._environ[variable]
        text = self._in_file(section, key)
        if text is not None:
            yield self._place(section, key), text

    def _place(self, section: str, key: str) -> str:
        return (f"{self._file}: " if self._file else "") + f"[{section}] {key}"


def read_airflow_cfg(path: str, environ: Mapping[str, str]) -> OldSettings:
    """Return the settings in an airflow.cfg and the environment.

    Args:
        path: The file; "" means the environment alone.
        environ: The environment.

    Raises:
        OSError, UnicodeDecodeError, configparser.Error: The file cannot be read.
    """
    parser = configparser.RawConfigParser(strict=False)
    if path:
        with open(path, encoding="utf-8-sig") as lines:  # noqa: PTH123  # pathlib is one import more in every process
            parser.read_file(lines)

    def in_file(section: str, key: str) -> str | None:
        # Airflow's parser interpolates, so a percent sign is written twice.
        return parser.get(section, key).replace("%%", "%") if parser.has_option(section, key) else None

    return OldSettings(environ, in_file, file=path)


def adopted(old: OldSettings, chain: str) -> dict[str, dict[str, str]]:
    """Return sections of our settings with what the backends of a chain read in Airflow's configuration.

    Args:
        old: Airflow's configuration.
        chain: The list of backends, as one text.
    """
    found: dict[str, dict[str, str]] = {}
    audience = old.find(*((section, "google_oauth2_audience") for section in ("api", "fab", "webserver")))
    if "google_openid" in chain and audience is not None and audience.text.strip():
        found["google_openid"] = {"audience": audience.text.strip()}
    keytab = old.find_keytab()
    if "kerberos" in chain and keytab is not None and keytab.text.strip():
        found["kerberos"] = adopted_kerberos(old, keytab.text.strip())
    return found


def adopted_kerberos(old: OldSettings, keytab: str) -> dict[str, str]:
    """Return our section for Airflow's keytab: each service counts once the keytab has a key for it."""
    return {"keytab": keytab, "service": "", "service_if_keyed": ",".join(kerberos_services(old))}


def add_missing(content: dict[str, Any], sections: Mapping[str, Mapping[str, str]]) -> None:
    """Add sections to settings that lack their first key; existing values stay."""
    for name, section in sections.items():
        found: object = content.get(name, {})
        if not isinstance(found, dict):
            continue  # a value that is no section: the settings report it
        ours = cast("dict[str, object]", found)
        if not ours.get(next(iter(section))):
            content[name] = {**section, **{key: value for key, value in ours.items() if value or key not in section}}


def kerberos_services(old: OldSettings) -> tuple[str, ...]:
    """Return the services that tickets may be for: those of browsers, of Airflow 2's client, and the principal's."""
    principal = old.find(("kerberos", "principal"))
    service, slash, _ = ("" if principal is None else principal.text.strip()).partition("/")
    return tuple(dict.fromkeys(("HTTP", "airflow", *([service] if slash and service else []))))


def _variable(section: str, key: str) -> str:
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{key.upper()}"


def _expanded(text: str) -> str:
    """Return the text with variables and `~` expanded, repeatedly, as Airflow's `expand_env_var` does."""
    for _ in range(_MAX_NESTED):
        expanded = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111  # as Airflow does
        if expanded == text:
            break
        text = expanded
    return text
