"""The names and numbers of a keytab's keys, as MIT's tools write them."""

from __future__ import annotations

import struct

import pytest

from compat_auth.crypto.keytab import read_keytab


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def entry(*components: str, kvno: int, kvno_32: int | None, key: bytes = b"k" * 32) -> bytes:
    content = struct.pack(">H", len(components)) + text("LAB.TEST") + b"".join(map(text, components))
    content += struct.pack(">IIBHH", 1, 1_700_000_000, kvno & 0xFF, 18, len(key)) + key
    content += b"" if kvno_32 is None else struct.pack(">I", kvno_32)
    return struct.pack(">i", len(content)) + content


@pytest.mark.parametrize(
    ("written", "kvno"),
    [
        pytest.param(entry("HTTP", "host", kvno=3, kvno_32=None), 3, id="8-bits"),
        pytest.param(entry("HTTP", "host", kvno=300, kvno_32=300), 300, id="32-bits"),
        pytest.param(entry("HTTP", "host", kvno=7, kvno_32=0), 7, id="32-bits-unset"),
    ],
)
def test_an_entry_has_name_number_kind_and_date(written: bytes, kvno: int) -> None:
    (found,) = read_keytab(b"\x05\x02" + written)

    assert found.principal == "HTTP/host@LAB.TEST"
    assert (found.kvno, found.encryption_type, found.made_at) == (kvno, 18, 1_700_000_000)


def test_no_key_is_in_what_is_returned() -> None:
    found = read_keytab(b"\x05\x02" + entry("HTTP", "host", kvno=1, kvno_32=1, key=b"very secret key!"))

    assert "very secret" not in repr(found)


def test_a_cut_off_keytab_is_refused() -> None:
    whole = b"\x05\x02" + entry("HTTP", "host", kvno=1, kvno_32=1)

    with pytest.raises(ValueError, match="cut off"):
        read_keytab(whole[:20])
