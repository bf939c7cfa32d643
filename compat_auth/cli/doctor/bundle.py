"""`doctor --bundle`: an archive for a helper, without a secret in it, that only its owner can read."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compat_auth.cli.doctor.airflow_settings import find_airflow_cfg
from compat_auth.cli.doctor.examination import Examination
from compat_auth.cli.doctor.files import files_of
from compat_auth.cli.doctor.known_secrets import secrets_of
from compat_auth.cli.doctor.redaction import Redaction, masked, masked_strictly
from compat_auth.cli.doctor.result import Result
from compat_auth.cli.doctor.versions import versions
from compat_auth.config import find_file
from compat_auth.crypto.private_file import written_aside
from compat_auth.errors import InvalidValue

_LOG_LINES = 500
_LOG_BYTES = 256 * 1024
_PREFIXES = ("COMPAT_AUTH_", "AIRFLOW_", "KRB5", "SSL_CERT", "LDAP")
# The same on every machine but for names and versions, so that a password which is a common word may be in them.
_FIXED = frozenset(("README.txt", "environment.txt", "versions.json"))
_README = """`compat-auth doctor --bundle` has collected this, to send to a helper.

The results of doctor are in findings.json.
The versions of the program, of Python and of its packages are in versions.json.
The settings in effect are in configuration.json; each secret is replaced by (hidden).
The names of variables are in environment.txt, without their values.
The modes and owners of the files that the configuration names are in files.txt, without their content.
The last lines of the log are in log.txt, if --log named one; credentials and keys are replaced by (hidden).

Read it before you send it: names of users, hosts and groups are in it.
"""


def write_bundle(path: Path, examination: Examination, results: Sequence[Result], log: Path | None) -> int:
    """Write the archive, a gzipped tar file with mode 0600, and return its size in bytes.

    Args:
        path: Must not exist.
        examination: After its run.
        results: All results, those of the probe too.
        log: The log file, or None.

    Raises:
        InvalidValue: The file exists already, or the log cannot be read.
        KeyFileError: The folder cannot be written.
    """
    environ = examination.environ
    content = _toml(find_file(examination.config_path, environ))
    airflow_cfg = find_airflow_cfg(examination.settings, examination.airflow_cfg, environ)
    redaction = Redaction(secrets_of(examination.settings, content, environ, airflow_cfg))
    configuration = masked_strictly(content) if examination.settings is None else masked(examination.settings)
    texts = {
        "README.txt": _README,
        "findings.json": _json(redaction.clean_data([result.for_programs() for result in results])),
        "versions.json": _json(versions()),
        "configuration.json": _json(redaction.clean_data(configuration)),
        "environment.txt": "".join(f"{name}\n" for name in sorted(environ) if name.startswith(_PREFIXES)),
        "files.txt": redaction.clean(_files(examination)),
    }
    if log is not None:
        texts["log.txt"] = redaction.clean_log(_last_lines(log))
    for name, text in texts.items():
        if name not in _FIXED and redaction.remains_in(text.encode("utf-8", "surrogatepass")):
            raise InvalidValue(f"--bundle: {name} would contain a secret, so nothing was written; report this mistake")
    archive = _archive(texts)
    with written_aside(path, archive) as temporary:
        try:
            # link() fails where rename() would overwrite.
            os.link(temporary, path)
        except FileExistsError:
            raise InvalidValue(f"--bundle: {path}: exists already; name another file") from None
    return len(archive)


def _archive(texts: Mapping[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in texts.items():
            content = text.encode("utf-8", "backslashreplace")
            member = tarfile.TarInfo(f"compat-auth-bundle/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _toml(path: str | None) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig")) if path else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _files(examination: Examination) -> str:
    if examination.settings is None:
        return "the settings are wrong, so that no files are known\n"
    lines: list[str] = []
    for file in files_of(examination.settings, examination.config_path, examination.environ):
        try:
            found = file.path.stat()
            facts = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {found.st_size} bytes"
        except OSError as exc:
            facts = exc.strerror or "cannot be read"
        lines.append(f"{file.setting}: {file.path}: {facts}\n")
    return "".join(lines)


def _last_lines(log: Path) -> str:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOG_BYTES))
            content = file.read(_LOG_BYTES)
    except OSError as exc:
        raise InvalidValue(
            f"--log: {log}: cannot be read ({exc.strerror}); name the log of `compat-auth serve`"
        ) from None
    # The first line may be cut off, so that nothing in it can be recognised.
    whole = content if size <= _LOG_BYTES else content.partition(b"\n")[2]
    lines = whole.decode("utf-8", "backslashreplace").splitlines()[-_LOG_LINES:]
    return "".join(f"{line}\n" for line in lines)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
