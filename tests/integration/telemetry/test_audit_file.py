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


def test_a_short_key_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.chain_key: 5 characters; needs at least 32: make one with"):
        set_up(tmp_path / "audit.log", "short")
