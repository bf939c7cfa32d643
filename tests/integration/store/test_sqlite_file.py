"""A store that was there is missed: when its file is gone, deleted while in use, or another one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from compat_auth.errors import BackendUnavailable
from compat_auth.store import sqlite_file
from compat_auth.store.migration import open_store
from compat_auth.store.sqlite_file import SqliteFile, witness_of
from compat_auth.store.tables.denylist import DenylistEntry, DenylistRows

DENIAL = DenylistEntry("jti", "a", 2_000_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "store.db"


@pytest.fixture
def rows(path: Path) -> DenylistRows:
    path.parent.mkdir()
    rows = rows_at(path)
    rows.revoke([DENIAL])
    return rows


def rows_at(path: Path, query: str = "") -> DenylistRows:
    return DenylistRows(open_store(f"sqlite:///{path}{query}"))


def start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows of files, as a new one does."""
    monkeypatch.setattr(sqlite_file, "_KNOWN", {})


def remove(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        if file != witness_of(path):
            file.unlink()


def test_a_store_that_was_deleted_in_use_neither_answers_nor_takes_anything(
    rows: DenylistRows, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remove(path)

    for store in (rows, rows_at(path)):
        with pytest.raises(BackendUnavailable, match="no longer exists"):
            store.read(-1)
        with pytest.raises(BackendUnavailable, match="no longer exists"):
            store.revoke([DENIAL])
        with pytest.raises(BackendUnavailable, match="no longer exists"):
            store.require_writable()
        assert store.is_there
    assert not path.exists()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_store_that_is_deleted_with_its_witness_is_missed_as_long_as_the_process_lives(
    rows: DenylistRows, path: Path
) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir()

    with pytest.raises(BackendUnavailable, match="no longer exists"):
        rows.read(-1)
    with pytest.raises(BackendUnavailable, match="no longer exists"):
        rows_at(path).revoke([DENIAL])


def test_a_write_to_a_file_that_is_deleted_meanwhile_is_no_success(path: Path) -> None:
    path.parent.mkdir()
    database = open_store(f"sqlite:///{path}")
    with database.write():
        pass

    with pytest.raises(BackendUnavailable, match="no longer exists"), database.write():
        remove(path)


def test_a_store_that_comes_back_is_used_again(
    rows: DenylistRows, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.rename(tmp_path / "away.db")
    with pytest.raises(BackendUnavailable):
        rows.read(-1)

    (tmp_path / "away.db").rename(path)

    assert rows.read(-1).found == [DENIAL]
    assert "available again" in caplog.text


def test_another_file_in_its_place_is_no_store(rows: DenylistRows, path: Path, tmp_path: Path) -> None:
    other = rows_at(tmp_path / "other.db")
    other.revoke([])
    remove(path)

    (tmp_path / "other.db").rename(path)

    with pytest.raises(BackendUnavailable, match="not the file that was opened"):
        rows.read(-1)


@pytest.mark.usefixtures("rows")
def test_a_store_that_is_not_there_at_the_start_is_missed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(path)
    start_anew(monkeypatch)

    found = rows_at(path)

    assert found.is_there
    with pytest.raises(BackendUnavailable, match=r"store\.db\.witness says that it did.*db accept"):
        found.read(-1)
    assert not path.exists()


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("content", ["another", "empty"])
def test_another_store_at_the_start_is_told_from_the_right_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    remove(path)
    if content == "another":
        rows_at(tmp_path / "other.db").revoke([DENIAL])
        open_store(f"sqlite:///{tmp_path / 'other.db'}").close()
    (tmp_path / "other.db").touch()
    shutil.copy(tmp_path / "other.db", path)
    start_anew(monkeypatch)

    with pytest.raises(BackendUnavailable, match="not the store of"):
        rows_at(path).read(-1)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"store": "1"}', b'{"store": []}', b"\xff"])
def test_a_witness_that_says_nothing_is_no_yes(path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    witness_of(path).write_bytes(content)
    start_anew(monkeypatch)

    with pytest.raises(BackendUnavailable, match="store"):
        rows_at(path).read(-1)


def test_a_store_from_before_there_were_witnesses_gets_one(
    rows: DenylistRows, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness_of(path).unlink()
    start_anew(monkeypatch)

    found = rows_at(path).read(-1).found

    assert found == [DENIAL]
    assert stat.S_IMODE(witness_of(path).stat().st_mode) == 0o600
    assert rows.read(-1).found == [DENIAL]


def test_a_store_that_never_was_is_none_until_it_is_used(tmp_path: Path) -> None:
    found = rows_at(tmp_path / "store.db")

    before = found.is_there
    found.revoke([DENIAL])

    assert (before, found.is_there) == (False, True)


def test_the_folder_of_a_missing_volume_is_no_new_store(tmp_path: Path) -> None:
    found = rows_at(tmp_path / "volume" / "store.db")

    assert found.is_there
    with pytest.raises(BackendUnavailable):
        found.read(-1)


def test_an_empty_folder_that_nobody_may_write_is_a_missing_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)

    empty = SqliteFile(tmp_path / "store.db").is_there
    (tmp_path / "airflow.cfg").touch()
    with_files = SqliteFile(tmp_path / "store.db").is_there

    assert (empty, with_files) == (True, False)


def test_a_url_with_mode_rw_makes_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"

    with pytest.raises(BackendUnavailable, match="mode=rw forbids creating it"):
        rows_at(path, "?mode=rw").read(-1)
    made = path.exists()
    rows_at(path).revoke([DENIAL])
    start_anew(monkeypatch)

    assert not made
    assert rows_at(path, "?mode=rw").read(-1).found == [DENIAL]


def test_processes_that_make_a_store_at_once_agree_on_its_witness(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    code = "import sys; from compat_auth.store.migration import open_store\nwith open_store(sys.argv[1]).read(): print('ok')"
    makers = [subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) for _ in range(4)]

    answers = [maker.communicate()[0] for maker in makers]

    assert answers == [b"ok\n"] * 4
