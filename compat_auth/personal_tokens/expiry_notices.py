"""Expiry notices for personal tokens: in responses, in the log, and by webhook. Leaks are reported the same way."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate

from compat_auth.concurrency.background import PeriodicTask
from compat_auth.errors import CompatAuthError
from compat_auth.personal_tokens.webhook import Webhook
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows

HEADER = "Compat-Auth-Token-Expires"
NOTICE_DAYS = (14, 7, 1)
SWEEP_S = 300.0
_DAY_S = 86400
# A process that starts to send a notice holds a lease of this length; after that, another process may send it.
_LEASE_S = 120
_MAX_REPORTS = 1000
_log = logging.getLogger("compat_auth.token_notices")


def notice_stage(token: PersonalToken, now: float) -> int | None:
    """Return the notice that is due, as days before expiry, or None while expiry is far away."""
    left_s = token.expires - now
    return min((days for days in NOTICE_DAYS if left_s <= days * _DAY_S), default=None)


def expiry_headers(token: PersonalToken, now: float) -> tuple[tuple[str, str], ...]:
    """Return the response header that says when a token expires, during its last 14 days."""
    if notice_stage(token, now) is None:
        return ()
    return ((HEADER, formatdate(token.expires, usegmt=True)),)


class TokenNotices:
    """Sends each notice once, from whichever process; to the webhook at least once. Any thread may use it.

    Args:
        rows: The tokens.
        webhook: The webhook, or None.
        now: Seconds since the epoch.
    """

    def __init__(
        self, rows: PersonalTokenRows, webhook: Webhook | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        self._rows = rows
        self._webhook = webhook
        self._now = now
        self._reports: deque[PersonalToken] = deque(maxlen=_MAX_REPORTS)
        self._sweeping = PeriodicTask(self.sweep, pause_s=SWEEP_S, name="compat-auth-token-notices")

    def ensure(self) -> None:
        """Start the periodic search for expiring tokens in this process."""
        self._sweeping.ensure()

    def report_leak(self, token: PersonalToken) -> None:
        """Report that a token was found in public; returns at once."""
        _log.warning("personal token %s (%r of %r) has leaked and is revoked", token.id, token.name, token.username)
        if self._webhook is not None:
            self._reports.append(token)
            self._sweeping.hurry()

    def sweep(self) -> None:
        """Send all notices that are due; what the webhook refuses is posted again at the next sweep."""
        try:
            self._post_reports()
            now = int(self._now())
            for token, noticed in self._rows.expiring(now, before=now + max(NOTICE_DAYS) * _DAY_S + 1):
                stage = notice_stage(token, now)
                if stage is not None and (noticed is None or stage < noticed):
                    self._send(token, stage, now)
        except CompatAuthError as error:
            _log.warning("notices about personal tokens are sent later: %s", error)

    def _post_reports(self) -> None:
        while self._webhook is not None and self._reports:
            # Taken before it is posted, because another sweep may be running.
            try:
                token = self._reports.popleft()
            except IndexError:
                return
            try:
                self._webhook.post("personal_token.leaked", _about(token), event_id=f"{token.id}.leaked")
            except CompatAuthError:
                self._reports.appendleft(token)
                raise

    def _send(self, token: PersonalToken, stage: int, now: int) -> None:
        if not self._rows.lease_notice(token.id, now, until=now + _LEASE_S):
            return
        if self._webhook is not None:
            event_id = f"{token.id}.{token.expires}.{stage}"
            self._webhook.post("personal_token.expiring", {**_about(token), "days": stage}, event_id=event_id)
        self._rows.end_notice(token.id, stage)
        _log.warning(
            "personal token %s (%r of %r) expires within %d day(s), at %s",
            token.id,
            token.name,
            token.username,
            stage,
            _utc(token.expires),
        )


def _about(token: PersonalToken) -> dict[str, object]:
    return {"id": token.id, "name": token.name, "username": token.username, "expires_at": _utc(token.expires)}


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
