"""Reads the services of a keytab, so that Airflow's own `[kerberos] keytab` needs no second setting."""

from __future__ import annotations

import struct
from pathlib import Path

from compat_auth.errors import ConfigError

_VERSION = b"\x05\x02"  # MIT Kerberos, file format of keytabs: version 2, big endian


def services_in(path: Path) -> tuple[str, ...]:
    """Return the first components of the host-based principals in a keytab, each once, in the order of the file.

    Raises:
        ConfigError: The file cannot be read, or is not a keytab.
    """
    try:
        content = path.read_bytes()
        return tuple(dict.fromkeys(_services(content)))
    except OSError as exc:
        raise ConfigError(f"[kerberos] keytab: {path}: cannot be read ({exc.strerror}); set kerberos__keytab") from exc
    except (struct.error, ValueError) as exc:
        raise ConfigError(f"[kerberos] keytab: {path}: not a keytab") from exc


def _services(content: bytes) -> list[str]:
    if not content.startswith(_VERSION):
        raise ValueError("another format")
    found: list[str] = []
    position = len(_VERSION)
    while position < len(content):
        (size,) = struct.unpack_from(">i", content, position)
        position += 4
        if size > 0:  # a hole, left by a removed key, has a negative size
            (components,) = struct.unpack_from(">H", content, position)
            names = _texts(content, position + 2, 1 + components)
            if components > 1:
                found.append(names[1])  # the realm comes first
        position += abs(size)
    return found


def _texts(content: bytes, position: int, number: int) -> list[str]:
    texts: list[str] = []
    for _ in range(number):
        (size,) = struct.unpack_from(">H", content, position)
        texts.append(content[position + 2 : position + 2 + size].decode("utf-8"))
        position += 2 + size
    return texts
