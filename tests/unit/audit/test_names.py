"""A claimed user name in a log is a user name, or says nothing."""

from __future__ import annotations

import json
import logging

import pytest

from compat_auth import audit
from compat_auth.audit.log import AuditEvent
from compat_auth.audit.names import is_plausible, masked, shown_name

NAMES = (
    "alice",
    "zoë",
    "J.Doe",
    "jdoe2",
    "u123456",
    "x0y1z2",
    "anna-maria.example",
    "alice@EXAMPLE.ORG",
    "host/server01.example.org@EXAMPLE.ORG",
    "CORP\\alice",
    "svc_airflow_prod",
    "build-bot-2026",
    "HOST01$",
    "Anna Maria Example",
    "O'Neill",
    "o+tag@example.com",
    "airflow-worker-7f9c4",
    "山田太郎",
    "scheduler@my-project-123456.iam.gserviceaccount.com",
    "internationalization",
)
SECRETS = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0",
    "glpat-abcdefghij0123456789",
    "xoxb-1234567890-abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "sk-proj-abcdefghij",
    "hvs.CAESIJ",
    "cat_pat_abcdefghijkl",
    "Tr0ub4dor&3",
    "Tr0ub4dor",
    "Winter2026",
    "hunter2!",
    "pass:word",
    "correct horse battery staple",
    "d41d8cd98f00b204e9800998ecf8427e",
    "550e8400e29b41d4a716446655440000",
    "dGhpcyBpcyBhIHNlY3JldA==",
    "A1b2C3d4E5f6G7h8",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "12345678901234567890123456",
    "a" * 65,
    "$ecret",
    "Basic YWxpY2U6cHc=",
    "x\ny",
    " alice",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_user_name_is_shown_as_it_is(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_password_or_token_is_masked(secret: str) -> None:
    shown = shown_name(secret)

    assert shown == masked(secret)
    assert secret not in shown
    assert is_plausible(secret) is False


def test_the_mark_is_the_same_for_the_same_text_only() -> None:
    assert masked("Winter2026") == masked("Winter2026") != masked("Winter2027")


@pytest.mark.parametrize("result", ["reject", "challenge", "skip", "unavailable"])
def test_a_refusal_does_not_tell_what_was_typed_for_a_name(result: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    audit.record(AuditEvent(result, "basic_auth", "Winter2026", "wrong password", "GET", "/", ""))

    assert json.loads(caplog.messages[0])["username"] == masked("Winter2026")


def test_a_name_that_somebody_has_vouched_for_is_shown_whatever_it_looks_like(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    audit.record(AuditEvent("accept", "basic_auth", "Winter2026", "", "GET", "/", ""))

    assert json.loads(caplog.messages[0])["username"] == "Winter2026"


def test_a_name_that_no_source_knows_is_masked_whatever_it_looks_like(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compat_auth.audit")

    audit.record(AuditEvent("reject", "basic_auth", "hunter", "", "GET", "/", "", names_nobody=True))

    assert json.loads(caplog.messages[0])["username"] == masked("hunter")


def test_long_names_take_no_time() -> None:
    assert not is_plausible("aA1" * 20_000)
