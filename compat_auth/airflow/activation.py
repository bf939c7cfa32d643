"""Reads what Airflow's own configuration says about us. Light: every process of Airflow imports it.

A setting is `AIRFLOW__COMPAT_AUTH__SECTION__KEY` in the environment, or `section__key` in `[compat_auth]` of airflow.cfg.
Without any, Airflow 2's list, `[api] auth_backends` or `[fab] auth_backends`, switches us on. Airflow's
own default for it does not, nor does the line that Airflow 3 writes into an airflow.cfg that it generates.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from compat_auth.airflow2_config.settings import OldSettings

SECTION = "compat_auth"
PREFIX = "AIRFLOW__COMPAT_AUTH__"
ENABLED = f"{PREFIX}ENABLED"
CONFIG = f"{PREFIX}CONFIG"
_PREFIX_PATH = "/compat-auth/"
_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)*/?\Z")
_TRUTHS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def own_variables(conf: Any, environ: Mapping[str, str]) -> dict[str, str]:
    """Return our settings as variables, whether they stand in the environment or in airflow.cfg; the environment wins."""
    in_file = {f"{PREFIX}{key.upper()}": str(conf.get(SECTION, key)) for key in _options(conf, SECTION)}
    return in_file | {name: text for name, text in environ.items() if name.startswith(PREFIX)}


def old_settings(conf: Any, environ: Mapping[str, str]) -> OldSettings:
    """Return the settings that somebody wrote for Airflow 2's backends, in airflow.cfg or the environment."""

    def in_file(section: str, key: str) -> str | None:
        if key not in _options(conf, section):
            return None
        # As it stands there, by the class that Airflow's builds on: Airflow's own get() looks at the environment first.
        return str(configparser.RawConfigParser.get(conf, section, key, raw=True)).replace("%%", "%")

    return OldSettings(environ, in_file)


def old_list(conf: Any, environ: Mapping[str, str]) -> str | None:
    """Return the value that somebody chose for Airflow 2's list of backends, or None; `[api]` before `[fab]`."""
    written = old_settings(conf, environ).find_chosen_list()
    return None if written is None else written.text


def is_switched_on(conf: Any, environ: Mapping[str, str]) -> bool:
    """Return whether we have anything to do; when in doubt, yes, so that what is wrong is found where it is built."""
    variables = own_variables(conf, environ)
    enabled = variables.get(ENABLED)
    if enabled is not None:
        return _TRUTHS.get(enabled.strip().lower(), True)
    return bool(variables) or old_list(conf, environ) is not None


def user_menu(conf: Any, environ: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the entries for Airflow's user menu that lead to our pages, as `external_views` (Airflow 3.1 and later).

    There are none without our login page. An unreadable setting is an error elsewhere, where the gate is built.
    """
    if not is_switched_on(conf, environ):
        return []
    variables = own_variables(conf, environ)
    content = _read_file(variables.get(CONFIG, ""))
    session, names = content.get("session"), content.get("auth_backends")
    of_file: set[str] = set(cast("dict[str, object]", session)) if isinstance(session, dict) else set()
    of_variables = {name.removeprefix(f"{PREFIX}SESSION__").lower() for name in variables}
    if not (of_file | of_variables) & {"secret", "secrets", "secret_file", "secrets_file"}:
        return []
    chain = variables.get(f"{PREFIX}AUTH_BACKENDS") or names or old_list(conf, environ)
    prefix = variables.get(f"{PREFIX}PREFIX") or content.get("prefix") or _PREFIX_PATH
    start = urlsplit(str(conf.get("api", "base_url", fallback="") or "")).path.rstrip("/")
    if not _PATH.match(start) or not isinstance(prefix, str) or not _PATH.match(prefix):
        return []
    pages = [("Personal tokens", "tokens")] if "personal_token" in str(chain) else []
    return [
        {"name": name, "href": f"{start}{prefix}{path}", "destination": "nav", "category": "user"}
        for name, path in (*pages, ("Login sessions", "sessions"))
    ]


def _read_file(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8")) if path else {}
    except (OSError, ValueError):
        return {}


def is_truth(text: str) -> bool:
    """Return whether a text is one of those that Airflow takes for true or false."""
    return text.strip().lower() in _TRUTHS


def _options(conf: Any, section: str) -> Iterator[str]:
    # The class that Airflow's builds on knows only the file: Airflow's own has_option() counts the defaults, too.
    if configparser.RawConfigParser.has_section(conf, section):
        yield from configparser.RawConfigParser.options(conf, section)
