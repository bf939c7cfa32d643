"""Lines of the access log."""

from __future__ import annotations

import json

import pytest

from compat_auth.telemetry.access_log import AccessEntry, write_access

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def line(caplog: pytest.LogCaptureFixture, path: bytes) -> dict[str, object]:
    with caplog.at_level("INFO"):
        write_access(AccessEntry(b"an-id", "GET", path, "192.0.2.1", 200, 0.0123456, 5, "basic_auth", "alice"))
    content: dict[str, object] = json.loads(caplog.messages[0])
    return content


def test_a_line_says_who_asked_for_what_and_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    content = line(caplog, b"/api/v2/dags")

    assert content.pop("time")
    assert content == {
        "event": "request",
        "request_id": "an-id",
        "method": "GET",
        "path": "/api/v2/dags",
        "status": 200,
        "duration_ms": 12.346,
        "bytes": 5,
        "backend": "basic_auth",
        "username": "alice",
        "client": "192.0.2.1",
    }


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (b"/x?token=secret", "/x"),
        (b"/x/" + TOKEN.encode(), "/x/eyJ…"),
        (b"/x/%65%79%4a" + TOKEN[3:].replace(".", "%2e").encode(), "/x/eyJ…"),
        (b"/x/" + TOKEN.replace("a", "%61").encode(), "/x/eyJ…"),
        (b"/x/cat%5Fpat%5f" + b"a" * 50, "/x/cat_pat_aaaaaaaaaaaa…"),
        (b"/%41%2F%40%5B%7f%zz", "/A%2F%40%5B%7f%zz"),
        (b'/x"\n{"event": "forged"}', '/x"\n{"event": "forged"}'),
        (b"/\xff", "/\xff"),
        (b"/" + b"x" * 5000, "/" + "x" * 1023),
    ],
    ids=[
        "query",
        "jwt",
        "jwt-begins-encoded",
        "jwt-encoded",
        "token-encoded",
        "others-stay",
        "line-break",
        "bytes",
        "long",
    ],
)
def test_a_path_brings_no_secret_and_no_second_line(path: bytes, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    content = line(caplog, path)

    assert content["path"] == shown
    assert "\n" not in caplog.messages[0]
