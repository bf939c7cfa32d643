"""Finds files of the configuration that others can read, change or replace."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from compat_auth.cli.doctor.result import Result
from compat_auth.config import ENV_PREFIX, OidcIssuerSettings, Settings, find_file

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file of the configuration.

    Attributes:
        setting: The setting that names it.
        path: The file.
        is_secret: Others must not read it, either.
    """

    setting: str
    path: Path
    is_secret: bool


def files_of(settings: Settings, config_path: str | None, environ: Mapping[str, str]) -> Iterator[NamedFile]:
    """Yield the files that a configuration consists of and names, each that is set.

    Args:
        settings: The settings.
        config_path: The file of `--config`, or None.
        environ: The environment.
    """
    if path := find_file(config_path, environ):
        yield NamedFile("configuration", Path(path), is_secret=True)
    for name, text in sorted(environ.items()):
        if name.startswith(ENV_PREFIX) and name.endswith("_FILE") and name.count("__"):
            yield NamedFile(f"${name}", Path(text), is_secret=_names_secret(name))
    for setting, text in (
        ("token.key_file", settings.token.key_file),
        ("kerberos.keytab", settings.kerberos.keytab),
        ("htpasswd.file", settings.htpasswd.file),
        ("serve.tls_key", settings.serve.tls_key),
        ("database_url", _sqlite_file(settings)),
        *((f"oidc.issuers[{place}].client_secret_file", one.client_secret_file) for place, one in _issuers(settings)),
    ):
        if text:
            yield NamedFile(setting, Path(text), is_secret=True)
    for setting, text in (
        ("airflow_cfg", settings.airflow_cfg),
        ("mapping.file", settings.mapping.file),
        ("serve.tls_cert", settings.serve.tls_cert),
        ("ldap.ca_file", settings.ldap.ca_file),
        ("client_certificate.ca_file", settings.client_certificate.ca_file),
        ("upstream.verify", settings.upstream.verify if isinstance(settings.upstream.verify, str) else ""),
        *((f"token.trusted_jwks[{place}]", one) for place, one in enumerate(settings.token.trusted_jwks)),
        *((f"oidc.issuers[{place}].ca_file", one.ca_file) for place, one in _issuers(settings)),
    ):
        if text:
            yield NamedFile(setting, Path(text.partition("#")[0]), is_secret=setting == "airflow_cfg")


def examine_files(
    settings: Settings, config_path: str | None, environ: Mapping[str, str], said: str
) -> Iterator[Result]:
    """Yield a result for each file that is there; one that is missing is reported by the check that reads it.

    Args:
        settings: The settings.
        config_path: The file of `--config`, or None.
        environ: The environment.
        said: The text of all failures so far: a file that is named there is not reported again.
    """
    fine: list[str] = []
    for file in files_of(settings, config_path, environ):
        if str(file.path) in said:
            continue
        try:
            status = file.path.stat()
        except OSError:
            continue
        result = _judge(file, status)
        if result is None:
            fine.append(str(file.path))
        else:
            yield result
    yield Result.okay(
        "files", f"only their owner can change them: {', '.join(dict.fromkeys(fine))}" if fine else "none"
    )


def _judge(file: NamedFile, status: os.stat_result) -> Result | None:
    if not stat.S_ISREG(status.st_mode):
        return None  # a pipe, as of `--config <(…)`
    mode, where = stat.S_IMODE(status.st_mode), f"{file.setting}: {file.path}"
    if mode & _OTHERS_WRITE:
        text = f"{file.path}: mode {mode:04o} lets others change it ({file.setting}); run: chmod go-w {file.path}"
        return Result.failure("files", text)
    if folder := _open_folder(file.path):
        return Result.failure(
            "files", f"{file.path}: others can replace it, because they may write to {folder}; run: chmod go-w {folder}"
        )
    if file.is_secret and mode & stat.S_IROTH:
        text = f"mode {mode:04o} lets every user of this machine read the secrets in it"
        return Result("files", "warning", text, where, f"run: chmod o-rwx {file.path}")
    return None


def _open_folder(path: Path) -> str:
    """Return a folder above the file in which others may rename entries; "" if there is none."""
    for folder in path.absolute().parents:
        try:
            mode = folder.stat().st_mode
        except OSError:
            return ""
        # With the sticky bit only the owner of an entry may rename it (unlink(2)).
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return str(folder)
    return ""


def _issuers(settings: Settings) -> Iterator[tuple[int, OidcIssuerSettings]]:
    yield from enumerate(settings.oidc.issuers)


def _names_secret(variable: str) -> bool:
    return not any(word in variable for word in ("CA_FILE", "HTPASSWD__FILE", "MAPPING__FILE"))


def _sqlite_file(settings: Settings) -> str:
    try:
        url = make_url(settings.database_url.get_secret_value())
    except (ArgumentError, ValueError):
        return ""
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return url.database or "" if is_file else ""
