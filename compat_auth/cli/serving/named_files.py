"""Finds the files that a configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from compat_auth.config import ENV_PREFIX, Settings
from compat_auth.errors import ConfigError

_NAMES = frozenset(
    {
        "airflow_cfg",
        "ca_file",
        "client_secret_file",
        "crl_file",
        "file",
        "key_file",
        "keytab",
        "logo",
        "tls_cert",
        "tls_key",
        "token_file",
        "trusted_jwks",
        "verify",
    }
)
# Written by us.
_WRITTEN = frozenset({"audit.file"})
_READ_AGAIN = frozenset(
    {
        "client_certificate.crl_file",
        "htpasswd.file",
        "kerberos.keytab",
        "mapping.file",
        "serve.tls_cert",
        "serve.tls_key",
        "token.key_file",
    }
)
"""Settings whose files are read again by themselves when they change, without a reload."""


def named_files(settings: Settings) -> dict[str, Path]:
    """Return the files that the settings name and that we read, by the name of the setting."""
    return {name: Path(text) for name, text in _texts("", settings) if text and name not in _WRITTEN}


def watched_files(settings: Settings, config: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files of which a change needs a reload.

    Args:
        settings: The settings.
        config: The configuration file; None: there is none.
        environ: The environment; its `…_FILE` variables name files with secrets.
    """
    found = [Path(config)] if config else []
    found += [
        Path(text)
        for name, text in sorted(environ.items())
        if name.startswith(ENV_PREFIX) and name.endswith("_FILE") and text
    ]
    found += [
        path
        for name, path in named_files(settings).items()
        # A pod's token is another every hour, and read each time that it is shown.
        if name not in _READ_AGAIN and not name.endswith(".token_file")
    ]
    return tuple(dict.fromkeys(found))


def require_readable(settings: Settings) -> None:
    """Check that each file can be read that the settings name.

    Raises:
        ConfigError: One cannot.
    """
    for name, path in named_files(settings).items():
        if not path.is_file():
            raise ConfigError(f"{name}: {path}: no such file; make it, or correct {name}")
        try:
            with path.open("rb"):
                pass
        except OSError as exc:
            raise ConfigError(
                f"{name}: {path}: cannot be read ({exc.strerror}); let the service's user read it, or correct {name}"
            ) from None


def _texts(where: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(f"{where}.{name}".lstrip("."), getattr(value, name))
    elif isinstance(value, list):
        for index, each in enumerate(cast("list[object]", value)):
            if isinstance(each, BaseModel):
                yield from _texts(f"{where}[{index}]", each)
            elif isinstance(each, str) and _is_file(where, each):
                yield f"{where}[{index}]", each
    elif isinstance(value, str) and _is_file(where, value):
        yield where, value


def _is_file(where: str, value: str) -> bool:
    name = where.rpartition(".")[2]
    return name in _NAMES or (name == "jwks" and value.startswith("/"))
