"""Webhook: posts events to a URL of the operator, signed as Standard Webhooks specifies, so they can be verified."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping

from compat_auth.config import Settings
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.net.https_client import Endpoint

MIN_SECRET_BYTES = 24


class Webhook:
    """One receiver of events. Any thread may post.

    Args:
        endpoint: URL of the receiver.
        secret: Key of the signature.
        now: Seconds since the epoch.
    """

    def __init__(self, endpoint: Endpoint, secret: bytes, *, now: Callable[[], float] = time.time) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings) -> Webhook | None:
        """Return the webhook for `[personal_tokens] notice_url`, or None where that is not set.

        Raises:
            ConfigError: The URL is unusable, or the secret is too short.
        """
        section = settings.personal_tokens
        if not section.notice_url:
            return None
        secret = section.notice_secret.get_secret_value().encode()
        if len(secret) < MIN_SECRET_BYTES:
            raise ConfigError(
                f"personal_tokens.notice_secret: {len(secret)} bytes; needs at least {MIN_SECRET_BYTES}: "
                "make one with: openssl rand -base64 32"
            )
        where = "personal_tokens.notice_url"
        return cls(Endpoint.parse(section.notice_url, where=where, ca_file=section.ca_file), secret)

    def post(self, kind: str, data: Mapping[str, object], *, event_id: str = "") -> None:
        """Post an event.

        Args:
            kind: Type of the event, such as `personal_token.expiring`.
            data: Its data, without secrets.
            event_id: Id of the event, the same each time it is posted.

        Raises:
            BackendUnavailable: The receiver did not accept it; it may be posted again.
        """
        event_id = event_id or secrets.token_hex(16)
        now = int(self._now())
        timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        body = json.dumps({"type": kind, "timestamp": timestamp, "data": dict(data)}).encode()
        signed = f"{event_id}.{now}.".encode() + body
        signature = base64.b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode("ascii")
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{signature}",
        }
        answer = self._endpoint.post(body, headers)
        if not 200 <= answer.status < 300:
            raise BackendUnavailable(f"{self._endpoint.url}: answered {answer.status} to an event")
