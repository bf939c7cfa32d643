"""Tells in time that a personal token will end: in answers, in the log, and to a URL of the operator's."""

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
# Whoever has begun to give a notice has so long for it; then another may.
_LEASE_S = 120
_MAX_REPORTS = 1000
_log = logging.getLogger("compat_auth.token_notices")


def notice_stage(token: PersonalToken, now: float) -> int | None:
    """Return the notice that is due, as the days before the end, or None while the end is far."""
    left_s = token.expires - now
    return min((days for days in NOTICE_DAYS if left_s <= days * _DAY_S), default=None)


def expiry_headers(token: PersonalToken, now: float) -> tuple[tuple[str, str], ...]:
    """Return the response header that tells when a token ends, during its last 14 days."""
    if notice_stage(token, now) is None:
        return ()
    return ((HEADER, formatdate(token.expires, usegmt=True)),)


class TokenNotices:
    """Gives each notice once, whichever process does; to the receiver at least once. Any thread may use it.

    Args:
        rows: The tokens.
        webhook: The receiver, or None.
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
        """Have the tokens looked through now and then in this process."""
        self._sweeping.ensure()

    def report_leak(self, token: PersonalToken) -> None:
        """Tell that a token was found where everybody can read it; waits for nobody."""
        _log.warning("personal token %s (%r of %r) has leaked and is revoked", token.id, token.name, token.username)
        if self._webhook is not None:
            self._reports.append(token)
            self._sweeping.hurry()

    def sweep(self) -> None:
        """Give all notices that are due; what the receiver does not take now is posted again at the next sweep."""
        try:
            self._post_reports()
            now = int(self._now())
            for token, noticed in self._rows.expiring(now, before=now + max(NOTICE_DAYS) * _DAY_S + 1):
                stage = notice_stage(token, now)
                if stage is not None and (noticed is None or stage < noticed):
                    self._give(token, stage, now)
        except CompatAuthError as error:
            _log.warning("notices about personal tokens are given later: %s", error)

    def _post_reports(self) -> None:
        while self._webhook is not None and self._reports:
            # Taken before it is given: another sweep may be under way.
            try:
                token = self._reports.popleft()
            except IndexError:
                return
            try:
                self._webhook.post("personal_token.leaked", _about(token), event_id=f"{token.id}.leaked")
            except CompatAuthError:
                self._reports.appendleft(token)
                raise

    def _give(self, token: PersonalToken, stage: int, now: int) -> None:
        if not self._rows.lease_notice(token.id, now, until=now + _LEASE_S):
            return
        if self._webhook is not None:
            event_id = f"{token.id}.{token.expires}.{stage}"
            self._webhook.post("personal_token.expiring", {**_about(token), "days": stage}, event_id=event_id)
        self._rows.end_notice(token.id, stage)
        _log.warning(
            "personal token %s (%r of %r) ends within %d day(s), at %s",
            token.id,
            token.name,
            token.username,
            stage,
            _utc(token.expires),
        )


def _about(token: PersonalToken) -> dict[str, object]:
    return {"id": token.id, "name": token.name, "username": token.username, "expires_at": _utc(token.expires)}


def _utc(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
