"""The services of a keytab: what MIT's own tools wrote."""

import struct
from pathlib import Path

import pytest

from compat_auth.airflow.keytab import services_in
from compat_auth.errors import ConfigError
from support.airflow_stand_ins import keytab_entry


def written(folder: Path, content: bytes) -> Path:
    path = folder / "keytab"
    path.write_bytes(content)
    return path


def test_each_service_is_named_once_and_users_are_not(tmp_path: Path) -> None:
    keys = [
        keytab_entry("LAB", "HTTP", "localhost"),
        keytab_entry("LAB", "HTTP", "other"),
        keytab_entry("LAB", "alice"),
    ]

    found = services_in(written(tmp_path, b"\x05\x02" + b"".join([*keys, keytab_entry("LAB", "airflow", "localhost")])))

    assert found == ("HTTP", "airflow")


def test_a_key_that_was_taken_out_leaves_a_hole(tmp_path: Path) -> None:
    hole = struct.pack(">i", -12) + bytes(12)

    assert services_in(written(tmp_path, b"\x05\x02" + hole + keytab_entry("LAB", "HTTP", "localhost"))) == ("HTTP",)


@pytest.mark.parametrize("content", [b"", b"\x05\x01", b"[libdefaults]", b"\x05\x02\x00\x00\x00\x20\x00\x02"])
def test_what_is_no_keytab_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError, match="not a keytab"):
        services_in(written(tmp_path, content))


def test_a_keytab_that_is_not_there_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set kerberos__keytab"):
        services_in(tmp_path / "none")
