"""`compat-auth audit verify`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from compat_auth import audit
from compat_auth.audit.file import set_up_audit
from compat_auth.cli.audit.commands import BROKEN, verify

KEY = "a-key-of-the-audit-log-and-nobody-else"


def log_of(*names: str, file: Path) -> Path:
    level = audit.logger.level
    set_up_audit(file=str(file), event_format="json", chain_key=KEY, may_refuse=False)
    for name in names:
        audit.record(audit.AuditEvent("accept", "basic_auth", name, "", "GET", "/api/x", "192.0.2.1"))
    set_up_audit(file="", event_format="json", chain_key="", may_refuse=False)
    audit.logger.setLevel(level)
    return file


def run(*files: Path) -> Result:
    return CliRunner().invoke(verify, ["--key-file", str(key_of(files[0].parent)), *map(str, files)])


def key_of(folder: Path) -> Path:
    key = folder / "key"
    key.write_text(KEY)
    return key


def test_a_log_that_holds_is_counted(tmp_path: Path) -> None:
    result = run(log_of("alice", "bob", file=tmp_path / "audit.log"))

    assert (result.exit_code, result.output) == (0, "2 events in 1 chains hold\n")


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b'{"event": "verdict"}'), b"2026-11-22 08:40:11,000 INFO compat_auth.server stopping\n"],
    ids=["empty", "compressed", "another-log"],
)
def test_a_file_without_events_does_not_hold(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "audit.log"
    file.write_bytes(content)

    result = run(file)

    assert result.exit_code == BROKEN
    assert "no audit event was found" in result.output


def test_a_file_without_events_beside_others_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "audit.log.1"
    empty.touch()

    result = run(empty, log_of("alice", file=tmp_path / "audit.log"))

    assert result.exit_code == 0
    assert f"warning: {empty}: has no audit event" in result.output


def test_programs_get_the_counts_and_the_fault(tmp_path: Path) -> None:
    file = log_of("alice", "bob", file=tmp_path / "audit.log")
    before = CliRunner().invoke(verify, ["--json", "--key-file", str(key_of(tmp_path)), str(file)])
    file.write_text(file.read_text().replace("bob", "eve"))
    after = CliRunner().invoke(verify, ["--json", "--key-file", str(key_of(tmp_path)), str(file)])

    first, second = json.loads(before.stdout), json.loads(after.stdout)
    assert (before.exit_code, first["holds"], first["events"], first["keyed"]) == (0, True, 2, True)
    assert (after.exit_code, second["holds"], second["fault"]["line"]) == (BROKEN, False, 2)


def test_a_torn_line_is_named_and_the_rest_holds(tmp_path: Path) -> None:
    file = log_of("alice", file=tmp_path / "audit.log")
    with file.open("a") as log:
        log.write('{"time": "2026-11')
    log_of("bob", file=file)

    result = run(file)

    assert result.exit_code == 0
    assert f"warning: {file}:2: a torn line" in result.output
    assert "2 events in 2 chains hold" in result.output


def test_a_line_that_was_changed_is_named(tmp_path: Path) -> None:
    file = log_of("alice", "bob", file=tmp_path / "audit.log")
    file.write_text(file.read_text().replace("bob", "eve"))

    result = run(file)

    assert result.exit_code == BROKEN
    assert f"{file}:2: its hash is wrong" in result.output
