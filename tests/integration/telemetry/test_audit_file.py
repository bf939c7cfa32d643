"""The file of the audit log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from compat_auth import audit
from compat_auth.audit.file import AuditFile, set_up_audit
from compat_auth.audit.losses import LOSSES, LogHandler
from compat_auth.errors import BackendUnavailable, ConfigError


@pytest.fixture(autouse=True)
def put_back() -> Generator[None]:
    """Leave the process without a file."""
    before = audit.logger.level
    yield
    set_up_audit(file="", event_format="json", chain_key="", may_refuse=False)
    audit.logger.setLevel(before)


def set_up(file: Path, chain_key: str = "") -> None:
    set_up_audit(file=str(file), event_format="json", chain_key=chain_key, may_refuse=False)


def record(username: str) -> None:
    audit.record(audit.AuditEvent("accept", "basic_auth", username, "", "GET", "/api/x", "192.0.2.1"))


def test_nothing_is_created_before_the_first_event(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"

    set_up(file)
    before = file.exists()
    record("alice")

    assert (before, file.exists(), file.stat().st_mode & 0o777) == (False, True, 0o600)
    assert json.loads(file.read_text())["username"] == "alice"


def test_the_file_has_every_event_whatever_the_level_of_the_log(tmp_path: Path) -> None:
    logging.getLogger("compat_auth.audit").setLevel(logging.ERROR)

    set_up(tmp_path / "audit.log")
    record("alice")

    assert "alice" in (tmp_path / "audit.log").read_text()


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    set_up(tmp_path / "one")
    record("alice")

    set_up(tmp_path / "two")
    record("bob")

    assert "bob" not in (tmp_path / "one").read_text()
    assert "bob" in (tmp_path / "two").read_text()


def test_an_event_that_cannot_be_written_is_counted_and_reported_later(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    handler = AuditFile(str(folder / "audit.log"))
    losses = handler._losses
    event = logging.LogRecord(audit.logger.name, logging.INFO, "", 0, "%s", ('{"event": "verdict"}',), None)
    folder.rename(tmp_path / "away")

    handler.emit(event)
    (tmp_path / "away").rename(folder)
    handler.emit(event)
    handler.close()

    lines = (folder / "audit.log").read_text().splitlines()
    assert losses.lost == 1
    assert [json.loads(line)["event"] for line in lines] == ["lost", "verdict"]


def test_requests_are_refused_while_the_file_fails_although_standard_error_works() -> None:
    root, standard_error = logging.getLogger(), LogHandler(io.StringIO())
    root.addHandler(standard_error)
    set_up_audit(file="/dev/full", event_format="json", chain_key="", may_refuse=True)

    try:
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="when_full"):
                record("alice")
            logging.getLogger("compat_auth.server").error("another line")

        assert LOSSES.is_failing
    finally:
        root.removeHandler(standard_error)


@pytest.mark.parametrize("name", ["", "missing/audit.log"], ids=["a-folder", "no-folder"])
def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"audit\.file: .*: cannot be written; name a file in a folder"):
        set_up(tmp_path / name)


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o606, 0o600), (0o640, 0o640), (0o600, 0o600)], ids=oct)
def test_a_file_that_everybody_could_read_is_for_its_owner_afterwards(tmp_path: Path, before: int, after: int) -> None:
    file = tmp_path / "audit.log"
    file.touch()
    file.chmod(before)

    set_up(file)
    record("alice")

    assert file.stat().st_mode & 0o777 == after


def test_a_file_of_another_user_that_everybody_can_read_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "audit.log"
    file.touch()
    file.chmod(0o646)
    monkeypatch.setattr("os.geteuid", lambda: 12345)

    with pytest.raises(ConfigError, match=r"everybody can read it.*; run chmod o= on it, or name another file"):
        set_up(file)


def test_a_folder_that_cannot_be_searched_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stat(_path: Path) -> None:
        raise PermissionError

    # Root may search every folder.
    monkeypatch.setattr(Path, "stat", stat)

    with pytest.raises(ConfigError, match=r"audit\.file: .*: cannot be written; name a file in a folder"):
        set_up(tmp_path / "audit.log")


@pytest.mark.parametrize("half", ['{"time": "2026-11', ""], ids=["torn", "empty"])
def test_a_new_process_does_not_write_behind_half_a_line(tmp_path: Path, half: str) -> None:
    file = tmp_path / "audit.log"
    file.write_text(half)

    set_up(file)
    record("alice")
    record("bob")

    *before, alice, bob = file.read_text().splitlines()
    assert before == ([half] if half else [])
    assert [json.loads(line)["username"] for line in (alice, bob)] == ["alice", "bob"]


def test_a_short_key_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.chain_key: 5 characters; needs at least 32: make one with"):
        set_up(tmp_path / "audit.log", "short")
