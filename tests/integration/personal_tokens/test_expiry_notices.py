"""Notices before a personal token ends: in answers, in the log, and to a receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError
from compat_auth.personal_tokens.expiry_notices import TokenNotices, expiry_headers, notice_stage
from compat_auth.personal_tokens.webhook import Webhook
from compat_auth.store.migration import open_store
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows
from support.serving import served

DAY = 86400
NOW = 1_800_000_000
SECRET = "a-secret-of-the-receiver-0123456789"


def token(token_id: str, days: float, *, name: str = "etl") -> PersonalToken:
    return PersonalToken(
        token_id * 12, "alice", "", "", name, ("all",), NOW, "alice", int(NOW + days * DAY), digest=b"d" * 32,
        pepper_id="p",
    )  # fmt: skip


@dataclass
class Receiver:
    """A webhook's receiver that answers as told."""

    status: int = 204
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.status)
            self.end_headers()

    with served(Handler) as url:
        found.url = f"{url}/hook"
        yield found


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[PersonalTokenRows]:
    rows = PersonalTokenRows(open_store(f"sqlite:///{tmp_path / 'store.db'}"))
    yield rows
    rows.database.close()


def webhook(receiver: Receiver) -> Webhook:
    section = {"notice_url": receiver.url, "notice_secret": SECRET}
    found = Webhook.from_settings(parse_settings({"personal_tokens": section}, origin="test"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("days", "stage"), [(90, None), (14.01, None), (14, 14), (7.01, 14), (7, 7), (1.01, 7), (1, 1), (0.1, 1)]
)
def test_a_notice_is_due_14_7_and_1_days_before_the_end(days: float, stage: int | None) -> None:
    assert notice_stage(token("A", days), NOW) == stage


def test_an_answer_tells_the_end_in_the_last_14_days() -> None:
    assert expiry_headers(token("A", 15), NOW) == ()
    assert expiry_headers(token("A", 7), NOW) == (("Compat-Auth-Token-Expires", "Fri, 22 Jan 2027 08:00:00 GMT"),)


def test_each_notice_is_given_once_whichever_process_does(
    rows: PersonalTokenRows, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    rows.add(token("A", 14), limit=9)
    rows.add(token("B", 60, name="far"), limit=9)
    caplog.set_level(logging.WARNING)

    for days in (0, 0.5, 6, 7, 8, 12.9, 13, 13.5):
        for _ in range(2):
            TokenNotices(rows, webhook(receiver), now=lambda days=days: NOW + days * DAY).sweep()  # type: ignore[misc]

    told = [json.loads(body)["data"]["days"] for _, body in receiver.posts]
    assert told == [14, 7, 1]
    assert len([record for record in caplog.records if "personal token AAAAAAAAAAAA" in record.message]) == 3


def test_a_notice_is_signed_so_that_the_receiver_can_tell(rows: PersonalTokenRows, receiver: Receiver) -> None:
    rows.add(token("A", 7), limit=9)

    TokenNotices(rows, webhook(receiver), now=lambda: NOW).sweep()

    ((headers, body),) = receiver.posts
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    content = json.loads(body)
    assert content["type"] == "personal_token.expiring"
    assert content["data"] == {
        "id": "A" * 12,
        "name": "etl",
        "username": "alice",
        "expires_at": "2027-01-22T08:00:00Z",
        "days": 7,
    }


def test_a_notice_that_is_not_taken_is_given_again_under_the_same_id(
    rows: PersonalTokenRows, receiver: Receiver
) -> None:
    rows.add(token("A", 7), limit=9)
    receiver.status = 500
    TokenNotices(rows, webhook(receiver), now=lambda: NOW).sweep()
    receiver.status = 200

    TokenNotices(rows, webhook(receiver), now=lambda: NOW + 60).sweep()
    leased = len(receiver.posts)
    TokenNotices(rows, webhook(receiver), now=lambda: NOW + 300).sweep()
    TokenNotices(rows, webhook(receiver), now=lambda: NOW + 600).sweep()

    assert leased == 1
    assert len(receiver.posts) == 2
    assert len({headers["webhook-id"] for headers, _ in receiver.posts}) == 1


def test_a_refreshed_token_gets_its_notices_anew(rows: PersonalTokenRows, receiver: Receiver) -> None:
    before = token("A", 7)
    rows.add(before, limit=9)
    TokenNotices(rows, webhook(receiver), now=lambda: NOW).sweep()

    rows.refresh(before, replace(before, digest=b"e" * 32, expires=NOW + 20 * DAY))
    TokenNotices(rows, webhook(receiver), now=lambda: NOW + 13 * DAY).sweep()

    assert len(receiver.posts) == 2


def test_a_leak_is_reported_without_anybody_waiting(rows: PersonalTokenRows, receiver: Receiver) -> None:
    notices = TokenNotices(rows, webhook(receiver), now=lambda: NOW)

    notices.report_leak(token("A", 30))
    notices.sweep()

    for _ in range(200):
        if receiver.posts:
            break
        threading.Event().wait(0.02)
    assert json.loads(receiver.posts[0][1])["type"] == "personal_token.leaked"


def test_a_receiver_that_is_down_is_no_accident(rows: PersonalTokenRows, caplog: pytest.LogCaptureFixture) -> None:
    rows.add(token("A", 7), limit=9)
    down = Receiver(url="http://127.0.0.1:9/hook")

    TokenNotices(rows, webhook(down), now=lambda: NOW).sweep()

    assert "are sent later" in caplog.text


def test_a_receiver_without_a_secret_stops_the_start() -> None:
    settings = parse_settings({"personal_tokens": {"notice_url": "https://x.example/"}}, origin="test")

    with pytest.raises(ConfigError, match="notice_secret: 0 bytes; needs at least 24"):
        Webhook.from_settings(settings)
