"""Reads the services of a keytab, so that Airflow's own `[kerberos] keytab` needs no second setting."""

from __future__ import annotations

from pathlib import Path

from compat_auth.crypto.keytab import read_keytab
from compat_auth.errors import ConfigError


def services_in(path: Path) -> tuple[str, ...]:
    """Return the first components of the host-based principals in a keytab, each once, in the order of the file.

    Raises:
        ConfigError: The file cannot be read, or is not a keytab.
    """
    try:
        entries = read_keytab(path.read_bytes())
        return tuple(dict.fromkeys(entry.components[0] for entry in entries if len(entry.components) > 1))
    except OSError as exc:
        raise ConfigError(f"[kerberos] keytab: {path}: cannot be read ({exc.strerror}); set kerberos__keytab") from exc
    except ValueError as exc:
        raise ConfigError(f"[kerberos] keytab: {path}: not a keytab") from exc
