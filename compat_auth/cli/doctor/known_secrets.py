"""Finds the secrets that this process can know: in its settings, its environment, and Airflow's configuration."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr

from compat_auth.cli.doctor.redaction import is_secretly_named
from compat_auth.config import Settings

_OURS = "COMPAT_AUTH_"
_FOLDERS = frozenset(("PWD", "OLDPWD"))
# Words that are no secret whatever they are the value of, and would be found in every file.
_PLAIN = frozenset(("true", "false", "none", "null", "yes", "no", "on", "off"))
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_MAY_BE_A_NUMBER = re.compile(r"(secret|passwd|password|passphrase|pwd|pepper|token|key)s?$", re.IGNORECASE)
_NEXT_URL = re.compile(r"[\s,;|]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_Named = tuple[str, str]


def secrets_of(
    settings: Settings | None, content: Mapping[str, Any], environ: Mapping[str, str], airflow_cfg: str
) -> Iterator[str]:
    """Yield every known secret, and the passwords in all that are URLs.

    Args:
        settings: None if they are wrong.
        content: The TOML file.
        environ: The environment.
        airflow_cfg: A file, or "".
    """
    named = [*_in_environment(environ), *_in_toml(content), *_in_airflow_cfg(airflow_cfg)]
    found = [text for name, text in named if _tells(name) and not _is_plain(name, text)]
    urls = [text for _, text in named if "://" in text]
    if settings is not None:
        found += _secrets_in(settings)
        found += [text for _, text in _leaves(settings.backends)]
        files = [one.client_secret_file for one in settings.oidc.issuers] + [
            one.token_file for one in settings.workloads
        ]
        found += [_content_of(file) for file in files if file]
    found += [
        _content_of(text) for name, text in environ.items() if name.endswith("_FILE") and is_secretly_named(name[:-5])
    ]
    for text in found:
        yield text
        yield text.strip()
    for text in (*found, *urls):
        for url in (text, *_NEXT_URL.split(text)):
            yield from _passwords_in(url)


def _tells(name: str) -> bool:
    """Return whether a name says that its value is secret; all that is below `backends` counts."""
    return name == "secret" or is_secretly_named(name)


def _is_plain(name: str, text: str) -> bool:
    """Return whether a value is no secret, although its name says so."""
    value = text.strip().lower()
    return value in _PLAIN or (bool(_NUMBER.fullmatch(value)) and not _MAY_BE_A_NUMBER.search(name))


def _in_environment(environ: Mapping[str, str]) -> Iterator[_Named]:
    """Yield variables, with that in the name of each which tells of a secret."""
    for name, text in environ.items():
        if name in _FOLDERS:
            continue
        section, mark, rest = name.removeprefix(_OURS).partition("__")
        if not name.startswith(_OURS):
            yield name, text
            continue
        # The name of a section, such as PERSONAL_TOKENS, says nothing of a setting in it.
        told = rest if mark and section.lower() in Settings.model_fields else name
        told = "secret" if section.lower() == "backends" else told
        yield told, text
        yield from ((told, one) for one in text.split(","))
        yield from _in_json(text)


def _in_json(text: str) -> Iterator[_Named]:
    if text.strip()[:1] not in ("[", "{"):
        return
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from ((keys[-1], one) for keys, one in _leaves(value))


def _in_toml(content: Mapping[str, Any]) -> Iterator[_Named]:
    for keys, text in _leaves(content):
        yield "secret" if keys[0] == "backends" else keys[-1], text


def _in_airflow_cfg(path: str) -> Iterator[_Named]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8-sig") if path else "")
    except (OSError, UnicodeDecodeError, configparser.Error):
        return
    for section in parser.sections():
        yield from parser.items(section)


def _secrets_in(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value: object = getattr(model, name)
        for one in cast("list[object]", value) if isinstance(value, list) else [value]:
            if isinstance(one, SecretStr):
                yield one.get_secret_value()
            elif isinstance(one, BaseModel):
                yield from _secrets_in(one)


def _leaves(value: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, Mapping):
        for key, one in cast("Mapping[object, object]", value).items():
            yield from _leaves(one, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for one in cast("list[object]", value):
            yield from _leaves(one, keys)
    elif isinstance(value, str) and keys:
        yield keys, value


def _content_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError, ValueError):
        return ""


def _passwords_in(text: str) -> Iterator[str]:
    """Yield the password in a URL, and the values in its query, however badly it is written."""
    _, mark, rest = text.partition("://")
    user, _, place = rest.rpartition("@")
    query = place.partition("?")[2].split("&")
    for found in (
        user.partition(":")[2],
        *(one.partition("=")[2] for one in query if is_secretly_named(one.partition("=")[0])),
    ):
        if mark and found:
            yield found
            yield unquote(found)
