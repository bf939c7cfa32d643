"""Who guesses at personal tokens has to wait, before the store is asked: by address, and by a token's public id.

A guess shuts out as few others as can be. A text that has worked in this process is looked at however many wrong ones
come from the same address. An id is no secret, so that wrong texts for it keep away only addresses that have sent some:
else whoever has read it in a log could lock its owner out.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from hashlib import blake2b

from cachetools import LRUCache

from compat_auth.errors import TooManyRequests
from compat_auth.tally import Tally, network_of
from compat_auth.token_format import TokenText

_REMEMBERED = 10_000


class TokenGuesses:
    """Counts of this process. Any thread may use it.

    Args:
        per_minute: Wrong tokens from one address, and for one id, before there is to be no more.
        now: Clock, in seconds.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.time) -> None:
        self._of_client, self._of_id = Tally(per_minute, now), Tally(per_minute, now)
        self._of_both = Tally(1, now)
        self._lock = threading.Lock()
        # A key of this process: what is remembered is the digest of a secret.
        self._key = secrets.token_bytes(32)
        self._right: LRUCache[bytes, None] = LRUCache(_REMEMBERED)

    def require_patience(self, text: TokenText, client: str) -> None:
        """Return when the store may be asked about a token.

        Raises:
            TooManyRequests: Too many wrong ones came from the address, or for the id, and some of those from here.
        """
        with self._lock:
            if self._digest(text) in self._right:
                return
        network = network_of(client)
        wait_s = self._of_client.wait_s(network)
        if not wait_s and self._of_both.wait_s(text.id, network):
            wait_s = self._of_id.wait_s(text.id)
        if wait_s:
            raise TooManyRequests("too many wrong personal tokens", wait_s)

    def count_guess(self, text: TokenText, client: str) -> None:
        """Remember that there is no such token."""
        self._of_client.count(network_of(client))
        self.count_dead(text, client)

    def count_dead(self, text: TokenText, client: str) -> None:
        """Remember that a token which there is does not work: its neighbours at the address cannot help it."""
        with self._lock:
            self._right.pop(self._digest(text), None)
        self._of_id.count(text.id)
        self._of_both.count(text.id, network_of(client))

    def remember(self, text: TokenText) -> None:
        """Remember that a token works."""
        with self._lock:
            self._right[self._digest(text)] = None

    def _digest(self, text: TokenText) -> bytes:
        return blake2b(text.value.encode("ascii"), key=self._key, digest_size=32).digest()
