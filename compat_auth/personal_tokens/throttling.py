"""Throttling of wrong personal tokens, before the store is asked: by address, and by public token id.

A guess blocks as few others as possible. A token that has worked in this process is checked however many wrong ones
come from the same address. A token id is no secret, so wrong secrets for it block only addresses that have sent some:
otherwise anybody who reads an id in a log could lock out its owner.
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
class CheckResult:
    """The result of checking one token.

    Attributes:
        is_guess: There is no such token.
        is_inactive: The token exists but does not work: other tokens from the address do not change that.
    """

    is_guess: bool = False
    is_inactive: bool = False


class TokenThrottle:
    """Counters of this process. Any thread may use it.

    Args:
        per_minute: Wrong tokens from one address, and for one id, before the next one must wait.
        now: Monotonic clock, in seconds.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._of_client = Tries(per_minute, _TOO_MANY, now)
        self._of_id = Tries(per_minute, _TOO_MANY, now)
        self._of_both = RateLimit(1, now)
        self._lock = threading.Lock()
        # A key of this process only: the stored value is the digest of a secret.
        self._key = secrets.token_bytes(32)
        self._right: LRUCache[bytes, None] = LRUCache(_REMEMBERED)

    @contextmanager
    def check(self, text: TokenText, client: str) -> Generator[CheckResult]:
        """Take a slot for the block, which may ask the store about a token; the block sets the result.

        Raises:
            TooManyRequests: Too many wrong tokens came from the address, or for the id, some of them from this address.
            Overloaded: Earlier ones are still being checked.
        """
        result, network = CheckResult(), network_of(client)
        with self._lock:
            is_right = self._digest(text) in self._right
        if is_right:
            try:
                yield result
            finally:
                if result.is_guess:
                    self._of_client.fail(network)
                if result.is_guess or result.is_inactive:
                    self._of_id.fail(text.id)
                    self._count(text, network)
            return
        with self._of_client.one(network) as of_client, self._check_id(text.id, network) as of_id:
            try:
                yield result
            finally:
                of_client.failed = result.is_guess
                of_id.failed = result.is_guess or result.is_inactive
                if of_id.failed:
                    self._count(text, network)

    @contextmanager
    def _check_id(self, token_id: str, network: str) -> Generator[Try]:
        # A token id is no secret: only an address that has sent a wrong token for it waits because of others' guesses.
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
        """Remember that a token has worked."""
        with self._lock:
            self._right[self._digest(text)] = None

    def _digest(self, text: TokenText) -> bytes:
        return blake2b(text.value.encode("ascii"), key=self._key, digest_size=32).digest()
