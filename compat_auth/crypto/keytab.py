"""Reads the names, numbers and kinds of the keys in a keytab, and never the keys (MIT Kerberos, keytab file format)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_VERSION = b"\x05\x02"  # version 2, big endian


@dataclass(frozen=True, slots=True)
class KeytabEntry:
    """One key.

    Attributes:
        components: The parts of the principal's name, such as ("HTTP", "host").
        realm: Its realm.
        made_at: Seconds since the epoch, as the program that wrote it says; 0 if it does not.
        kvno: Number of the key version.
        encryption_type: Number of the encryption type (RFC 3961 section 8).
    """

    components: tuple[str, ...]
    realm: str
    made_at: int
    kvno: int
    encryption_type: int

    @property
    def principal(self) -> str:
        """The whole name."""
        return f"{'/'.join(self.components)}@{self.realm}"


def read_keytab(content: bytes) -> tuple[KeytabEntry, ...]:
    """Return the entries of a keytab, in the order of the file.

    Raises:
        ValueError: It is not a keytab.
    """
    if not content.startswith(_VERSION):
        raise ValueError("another format")
    try:
        return tuple(_entries(content))
    except struct.error:
        raise ValueError("it is cut off") from None


def _entries(content: bytes) -> Iterator[KeytabEntry]:
    position = len(_VERSION)
    while position < len(content):
        (size,) = struct.unpack_from(">i", content, position)
        position += 4
        if size > 0:  # a hole, left by a removed key, has a negative size
            yield _entry(content[: position + size], position)
        position += abs(size)


def _entry(content: bytes, position: int) -> KeytabEntry:
    (components,) = struct.unpack_from(">H", content, position)
    position += 2
    texts: list[str] = []
    for _ in range(1 + components):
        (size,) = struct.unpack_from(">H", content, position)
        texts.append(content[position + 2 : position + 2 + size].decode("utf-8"))
        position += 2 + size
    _, made_at, kvno, encryption_type, key_size = struct.unpack_from(">IIBHH", content, position)
    position += 13 + key_size
    if len(content) - position >= 4:
        # The version of today, which has 32 bits; 0 counts as missing.
        (kvno_32,) = struct.unpack_from(">I", content, position)
        kvno = kvno_32 or kvno
    return KeytabEntry(tuple(texts[1:]), texts[0], made_at, kvno, encryption_type)
