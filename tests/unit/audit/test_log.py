"""One event per verdict."""

from __future__ import annotations

import json
import logging

import pytest

from compat_auth import audit
from compat_auth.audit.log import AuditEvent


def test_a_verdict_is_one_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    audit.record(AuditEvent("reject", "basic_auth", "zoë", "wrong password", "GET", "/api/v2/dags", "192.0.2.1"))

    event = json.loads(caplog.messages[0])
    assert event.pop("time").endswith("Z")
    assert event == {
        "event": "verdict",
        "result": "reject",
        "backend": "basic_auth",
        "username": "zoë",
        "reason": "wrong password",
        "method": "GET",
        "path": "/api/v2/dags",
        "client": "192.0.2.1",
    }


def test_a_user_name_cannot_forge_a_line_or_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")
    name = 'x"}\n{"event": "verdict"\x1b[0m' + "a" * 10_000

    audit.record(AuditEvent("reject", "", name, name, "GET", "/" + name, ""))

    (line,) = caplog.messages
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 2000


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/x/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln", "/x/eyJ…"),
        ("/x/%65yJhbGciOiJIUzI1NiJ9%2EeyJzdWIiOiJhbGljZSJ9.c2ln", "/x/eyJ…"),
        ("/x/cat%5Fpat_" + "a" * 50, "/x/cat_pat_aaaaaaaaaaaa…"),
    ],
    ids=["jwt", "jwt-encoded", "personal-token-encoded"],
)
def test_a_token_in_a_path_is_cut(caplog: pytest.LogCaptureFixture, path: str, shown: str) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    audit.record(AuditEvent("accept", "basic_auth", "zoë", "", "GET", path, "192.0.2.1"))

    assert json.loads(caplog.messages[0])["path"] == shown


def test_nothing_is_written_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "compat_auth.audit")

    audit.record(AuditEvent("accept", "", "", "", "GET", "/", ""))

    assert not caplog.messages
