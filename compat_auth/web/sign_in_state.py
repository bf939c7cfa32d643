"""A login attempt, stored in a cookie of the browser that began it, and completed at most once.

The cookie is encrypted and authenticated, so that nobody can forge one; on HTTPS no other host of the domain can set
one. A browser has one attempt at a time: the last.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import threading
import time
from dataclasses import dataclass

from cachetools import TTLCache
from flask import Response, request

from compat_auth.authn.session_cookie import new_secret
from compat_auth.config import Settings
from compat_auth.crypto.aead import SealedBoxes
from compat_auth.sign_in import Attempt
from compat_auth.web.page import own_cookie, set_cookie

LIFETIME_S = 600
_USED_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt, its way to log in, and its target.

    Attributes:
        attempt: The attempt.
        way: Name of the way to log in.
        target: Where the login leads; checked before.
    """

    attempt: Attempt
    way: str
    target: str


class AttemptCookie:
    """Stores attempts in a cookie. Any thread may use it.

    Args:
        settings: `[session]` must have a secret.
        name: Name of the cookie on plain HTTP.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        section = settings.session
        single = section.secret.get_secret_value()
        several = tuple(secret.get_secret_value() for secret in section.secrets)
        self._boxes = SealedBoxes((single,) if single else several, "attempt to sign in")
        self._name = name
        self._used: TTLCache[str, bool] = TTLCache(_USED_ENTRIES, LIFETIME_S, timer=time.monotonic)
        self._lock = threading.Lock()

    def begin(self, way: str, redirect_uri: str, target: str) -> Begun:
        """Return a new attempt."""
        return Begun(Attempt(redirect_uri, new_secret(), new_secret()), way, target)

    def keep(self, answer: Response, begun: Begun) -> None:
        """Set the cookie to an attempt, which replaces an earlier one."""
        attempt = begun.attempt
        content = [attempt.redirect_uri, attempt.state, attempt.secret, begun.way, begun.target, int(time.time())]
        name = own_cookie(self._name)
        box = self._boxes.seal(json.dumps(content).encode(), belongs_to=name.encode())
        set_cookie(answer, name, base64.urlsafe_b64encode(box).decode("ascii"), LIFETIME_S)

    def clear(self, answer: Response) -> None:
        """Clear the cookie."""
        set_cookie(answer, own_cookie(self._name), "", 0)

    def take(self, way: str, redirect_uri: str) -> Begun | None:
        """Return the attempt that the current request completes; None if it is not this browser's, or is over."""
        begun = self._open()
        states = request.args.getlist("state")
        if begun is None or len(states) != 1:
            return None
        attempt = begun.attempt
        same = hmac.compare_digest(states[0].encode("utf-8", "replace"), attempt.state.encode())
        # An answer for another provider may be that provider's attack (mix-up, RFC 9700 section 4.4).
        if not same or begun.way != way or attempt.redirect_uri != redirect_uri:
            return None
        with self._lock:
            if attempt.state in self._used:
                return None
            self._used[attempt.state] = True
        return begun

    def _open(self) -> Begun | None:
        name = own_cookie(self._name)
        values = request.cookies.getlist(name)
        if len(values) != 1:
            return None
        try:
            box = base64.b64decode(values[0], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        content = self._boxes.open(box, belongs_to=name.encode())
        if content is None:
            return None
        redirect_uri, state, secret, way, target, began = json.loads(content)
        if not 0 <= time.time() - began < LIFETIME_S:
            return None
        return Begun(Attempt(redirect_uri, state, secret), way, target)
