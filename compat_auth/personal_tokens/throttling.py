"""Who guesses at personal tokens has to wait, before the store is asked: by address, and by a token's public id.

A guess shuts out as few others as can be. A text that has worked in this process is looked at however many wrong ones
come from the same address. An id is no secret, so that wrong texts for it keep away only addresses that have sent some:
else whoever has read it in a log could lock its owner out.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

from cachetools import LRUCache

from compat_auth.concurrency.rate_limit import RateLimit, Tries, Try, network_of
from compat_auth.crypto.personal_token_format import TokenText

_REMEMBERED = 10_000
_TOO_MANY = "too many wrong personal tokens"


@dataclass(slots=True)
class Look:
    """What a look at a token has shown.

    Attributes:
        is_guess: There is no such token.
        is_dead: There is one, and it does not work: its neighbours at the address cannot help it.
    """

    is_guess: bool = False
    is_dead: bool = False


class TokenGuesses:
    """Counts of this process. Any thread may use it.

    Args:
        per_minute: Wrong tokens from one address, and for one id, before there is to be no more.
        now: Clock, in seconds, which no one may set back.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._of_client = Tries(per_minute, _TOO_MANY, now)
        self._of_id = Tries(per_minute, _TOO_MANY, now)
        self._of_both = RateLimit(1, now)
        self._lock = threading.Lock()
        # A key of this process: what is remembered is the digest of a secret.
        self._key = secrets.token_bytes(32)
        self._right: LRUCache[bytes, None] = LRUCache(_REMEMBERED)

    @contextmanager
    def look(self, text: TokenText, client: str) -> Generator[Look]:
        """Hold a place for the block, in which the store may be asked about a token; the block says what it found.

        Raises:
            TooManyRequests: Too many wrong ones came from the address, or for the id, and some of those from here.
            Overloaded: Those before it are still being looked at.
        """
        look, network = Look(), network_of(client)
        with self._lock:
            is_right = self._digest(text) in self._right
        if is_right:
            try:
                yield look
            finally:
                if look.is_guess:
                    self._of_client.fail(network)
                if look.is_guess or look.is_dead:
                    self._of_id.fail(text.id)
                    self._count(text, network)
            return
        with self._of_client.one(network) as of_client, self._look_at_id(text.id, network) as of_id:
            try:
                yield look
            finally:
                of_client.failed = look.is_guess
                of_id.failed = look.is_guess or look.is_dead
                if of_id.failed:
                    self._count(text, network)

    @contextmanager
    def _look_at_id(self, token_id: str, network: str) -> Generator[Try]:
        # An id is no secret: only who has sent a wrong token for it waits for the guesses of others.
        if self._of_both.wait_s(token_id, network):
            with self._of_id.one(token_id) as tried:
                yield tried
            return
        tried = Try()
        try:
            yield tried
        finally:
            if tried.failed:
                self._of_id.fail(token_id)

    def _count(self, text: TokenText, network: str) -> None:
        with self._lock:
            self._right.pop(self._digest(text), None)
        self._of_both.count(text.id, network)

    def remember(self, text: TokenText) -> None:
        """Remember that a token works."""
        with self._lock:
            self._right[self._digest(text)] = None

    def _digest(self, text: TokenText) -> bytes:
        return blake2b(text.value.encode("ascii"), key=self._key, digest_size=32).digest()
